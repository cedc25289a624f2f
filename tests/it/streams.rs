//! What flows: bodies both ways, events, tunnels, trailers, and what happens when one side goes away.

mod outlived;

use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{self, BoxStream},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::mpsc, time::timeout};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::support::{Issuer, Scripted, Sidegate, Upstream, Wire, client, get, h2, must, request, send};

fn behind(upstream: std::net::SocketAddr, issuer: &Issuer, upstream_more: &str, route: &str) -> String {
    format!(
        "{}upstreams:\n  - name: app\n    url: http://{upstream}\n{upstream_more}routes:\n  - name: all\n    \
         paths: [/, \"/*\"]\n    upstream: app\n    policy: {{ audiences: [orders-api] }}\n{route}",
        issuer.yaml(),
    )
}

async fn scripted(route: &str) -> (Scripted, Issuer, Sidegate) {
    let (upstream, issuer) = (Scripted::start().await, Issuer::new());
    let sidegate = Sidegate::start(&behind(upstream.address, &issuer, "", route)).await;
    (upstream, issuer, sidegate)
}

/// A request head with a good token, without its empty line.
fn head(issuer: &Issuer, line: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {}\r\n", issuer.token())
}

/// Writes until nobody takes a byte for a moment; returns how many were taken.
async fn fill(wire: &mut Wire) -> usize {
    let (block, mut written) = (vec![b'x'; 64 * 1024], 0);
    while let Ok(Ok(count)) = timeout(std::time::Duration::from_millis(300), wire.stream.write(&block)).await {
        written += count;
        assert!(written < 64 * 1024 * 1024, "nothing holds the sender back");
    }
    written
}

#[tokio::test]
async fn a_slow_upstream_holds_the_uploading_client_back() {
    let (upstream, issuer, sidegate) = scripted("    max_body_bytes: 0B\n").await;
    let mut wire = Wire::connect(sidegate.public).await;
    let total = 256 * 1024 * 1024_usize;
    wire.say(format!("{}content-length: {total}\r\n\r\n", head(&issuer, "POST /"))).await;
    let mut answering = upstream.next().await;
    answering.head().await;

    let written = fill(&mut wire).await;
    assert!(written > 0);
    drop(answering);
}

#[tokio::test]
async fn a_slow_client_holds_the_downloading_upstream_back() {
    let (upstream, issuer, sidegate) = scripted("").await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say(format!("{}\r\n", head(&issuer, "GET /"))).await;
    let mut answering = upstream.next().await;
    answering.head().await;
    answering.say("HTTP/1.1 200 OK\r\ncontent-length: 268435456\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));

    assert!(fill(&mut answering).await > 0);
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (upstream, issuer, sidegate) = scripted("").await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say(format!("{}accept: text/event-stream\r\n\r\n", head(&issuer, "GET /events"))).await;
    let mut answering = upstream.next().await;
    answering.head().await;
    answering.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert!(wire.head().await.contains("text/event-stream"));
    for event in 0..5 {
        // The next is written only after this one was read at the other end.
        answering.say(format!("9\r\ndata: {event}\n\n\r\n")).await;
        wire.until(&format!("data: {event}\n\n")).await;
    }
}

#[tokio::test]
async fn a_chunked_request_arrives_whole_and_in_parts() {
    let (upstream, issuer, sidegate) = scripted("").await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say(format!("{}transfer-encoding: chunked\r\n\r\n3\r\none\r\n", head(&issuer, "POST /"))).await;
    let mut answering = upstream.next().await;
    assert!(answering.head().await.to_lowercase().contains("transfer-encoding: chunked"));
    answering.until("one").await;
    wire.say("3\r\ntwo\r\n0\r\n\r\n").await;
    answering.until("two").await;
    answering.until("0\r\n\r\n").await;
    answering.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    wire.until("ok").await;
    wire.until("0\r\n\r\n").await;
}

/// What a gRPC server does: reads messages, answers each, ends with trailers.
async fn grpc_like(
    request: Request<Incoming>,
) -> Response<StreamBody<BoxStream<'static, Result<Frame<Bytes>, hyper::Error>>>> {
    assert_eq!(request.headers()["te"], "trailers");
    let data = request.into_body().into_data_stream().map(|part| part.map(Frame::data));
    let end = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = StreamBody::new(data.chain(stream::iter([Ok(Frame::trailers(end))])).boxed());
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

#[tokio::test]
async fn a_grpc_call_goes_through_message_by_message_with_its_trailers() {
    let issuer = Issuer::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(async |request| Ok::<_, hyper::Error>(grpc_like(request).await));
            let executor = hyper_util::rt::TokioExecutor::new();
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service));
        }
    });
    let sidegate = Sidegate::start(&behind(address, &issuer, "    protocol: http2\n", "")).await;

    let mut sender = h2(sidegate.public).await;
    let (messages, stream) = by_hand();
    let asked = Request::post("http://api.test/orders.Orders/Watch")
        .header("authorization", format!("Bearer {}", issuer.token()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(stream)
        .unwrap();
    let response = must(sender.send_request(asked)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let mut body = response.into_body();
    for text in ["one", "two", "three"] {
        messages.send(text).await.unwrap();
        assert_eq!(must(body.frame()).await.unwrap().unwrap().into_data().unwrap(), text);
    }
    drop(messages);
    let trailers = must(body.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(sidegate.series("sidegate_grpc_responses_total{grpc_code=\"OK\",route=\"all\"}").await, 1.0);
    assert_eq!(sidegate.series("sidegate_grpc_responses_total{grpc_code=\"none\",route=\"all\"}").await, 0.0);
}

#[tokio::test]
async fn calls_of_grpc_are_counted_by_the_status_that_they_ended_with() {
    let upstream = Upstream::http2(|seen| {
        let answer = Response::builder();
        match seen.target.strip_prefix("/orders.Orders/") {
            Some("None") => answer.header("content-type", "application/grpc"),
            // What is no answer of a gRPC service may say what it likes.
            Some("Page") => answer.header("content-type", "text/html").header("grpc-status", "5"),
            status => answer.header("content-type", "application/grpc+proto").header("grpc-status", status.unwrap()),
        }
        .body(Full::default())
        .unwrap()
    })
    .await;
    let issuer = Issuer::new();
    let sidegate = Sidegate::start(&behind(upstream.address, &issuer, "    protocol: http2\n", "")).await;
    for (ending, code) in [
        ("14", Some("UNAVAILABLE")),
        ("16", Some("UNAUTHENTICATED")),
        ("17", Some("UNKNOWN")),
        ("none", Some("UNKNOWN")),
        ("None", Some("none")),
        ("Page", None),
    ] {
        let before = grpc(&sidegate).await;
        let reply = get(sidegate.public, &format!("/orders.Orders/{ending}"), &issuer.token()).await;
        assert_eq!(reply.status, 200);
        let mut grown = grpc(&sidegate).await;
        grown.retain(|series| !before.contains(series));
        let wanted = code.map(|code| format!("{{grpc_code=\"{code}\",route=\"all\"}}"));
        assert_eq!(grown.len(), usize::from(code.is_some()), "{ending}: {grown:?}");
        assert!(wanted.is_none_or(|wanted| grown[0].contains(&wanted)), "{ending}: {grown:?}");
    }
}

/// What is counted of gRPC, with its values.
async fn grpc(sidegate: &Sidegate) -> Vec<String> {
    let page = sidegate.health("/metrics").await;
    page.text().lines().filter(|line| line.starts_with("sidegate_grpc_responses_total{")).map(str::to_owned).collect()
}

type Streamed = StreamBody<BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>>;

/// A body whose parts the test writes one by one; it ends with the sender.
fn by_hand() -> (mpsc::Sender<&'static str>, Streamed) {
    let (sender, receiver) = mpsc::channel(1);
    let stream = stream::unfold(receiver, |mut receiver: mpsc::Receiver<&'static str>| async {
        let part = receiver.recv().await?;
        Some((Ok(Frame::data(Bytes::from_static(part.as_bytes()))), receiver))
    });
    (sender, StreamBody::new(stream.boxed()))
}

#[tokio::test]
async fn a_websocket_goes_through_with_a_token() {
    let issuer = Issuer::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidegate = Sidegate::start(&behind(listener.local_addr().unwrap(), &issuer, "", "")).await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        socket.send(Message::text("welcome")).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(_) | Message::Binary(_) => socket.send(message).await.unwrap(),
                Message::Close(frame) => return frame.map(|frame| frame.reason.to_string()),
                _ => {}
            }
        }
        None
    });

    let mut asked = format!("ws://{}/chat", sidegate.public).into_client_request().unwrap();
    asked.headers_mut().insert("authorization", format!("Bearer {}", issuer.token()).parse().unwrap());
    let stream = tokio::net::TcpStream::connect(sidegate.public).await.unwrap();
    let (mut socket, response) = tokio_tungstenite::client_async(asked, stream).await.unwrap();
    assert_eq!(response.status(), 101);
    assert!(response.headers().contains_key("x-request-id"));
    let open = async || sidegate.series("sidegate_upgrades_open{route=\"all\"}").await;
    assert_eq!(open().await, 1.0);

    assert_eq!(must(socket.next()).await.unwrap().unwrap(), Message::text("welcome"));
    for message in [Message::text("hello"), Message::binary(vec![7; 200_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(must(socket.next()).await.unwrap().unwrap(), message);
    }
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(must(socket.next()).await.unwrap().unwrap(), Message::Pong("are you there".into()));
    let bye = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 1000.into(), reason: "bye".into() };
    socket.close(Some(bye)).await.unwrap();
    while let Some(Ok(_)) = must(socket.next()).await {}
    assert_eq!(must(server).await.unwrap().as_deref(), Some("bye"));
    drop(socket);
    must(async { while open().await > 0.0 {} }).await;
}

#[tokio::test]
async fn a_websocket_without_a_token_is_refused_and_the_upstream_untouched() {
    let (upstream, _, sidegate) = scripted("").await;
    let asked = format!("ws://{}/chat", sidegate.public).into_client_request().unwrap();
    let stream = tokio::net::TcpStream::connect(sidegate.public).await.unwrap();
    match tokio_tungstenite::client_async(asked, stream).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => assert_eq!(response.status(), 401),
        other => panic!("{other:?}"),
    }
    assert!(upstream.is_untouched().await);
}

#[tokio::test]
async fn a_body_that_waits_for_100_is_refused_before_it_is_sent() {
    let (upstream, _, sidegate) = scripted("").await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 401"));
    assert!(upstream.is_untouched().await);
}

#[tokio::test]
async fn a_body_that_waits_for_100_is_sent_once_the_upstream_wants_it() {
    let (upstream, issuer, sidegate) = scripted("").await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say(format!("{}content-length: 5\r\nexpect: 100-continue\r\n\r\n", head(&issuer, "POST /"))).await;
    let mut answering = upstream.next().await;
    assert!(answering.head().await.to_lowercase().contains("expect: 100-continue"));
    assert!(wire.is_silent().await);
    answering.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 100"));
    wire.say("hello").await;
    answering.until("hello").await;
    answering.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    let upstream = Upstream::answering(|seen| {
        let status = seen.target.trim_start_matches('/').parse().unwrap_or(200);
        let mut response = Response::builder().status(status).header("etag", "\"1\"");
        if seen.method == "HEAD" {
            response = response.header("content-length", 5);
        }
        response.body(Full::default()).unwrap()
    })
    .await;
    let issuer = Issuer::new();
    let sidegate = Sidegate::start(&behind(upstream.address, &issuer, "", "")).await;
    let mut wire = Wire::connect(sidegate.public).await;
    for (line, status) in [("HEAD /", 200), ("GET /204", 204), ("GET /304", 304), ("HEAD /404", 404), ("GET /", 200)] {
        wire.say(format!("{}\r\n", head(&issuer, line))).await;
        let answer = wire.head().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {answer}");
        assert!(answer.contains("etag"), "{answer}");
        assert!(!answer.contains("transfer-encoding"), "{line}: {answer}");
    }
    assert_eq!(upstream.count(), 5);
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_over() {
    let (upstream, issuer, sidegate) = scripted("").await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say(format!("{}content-length: 100\r\n\r\nfirst", head(&issuer, "POST /"))).await;
    let mut answering = upstream.next().await;
    answering.until("first").await;
    answering.say("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 403"));
    wire.until("no").await;
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_the_upstreams_request_with_it() {
    let (upstream, issuer, sidegate) = scripted("").await;
    for answered in [false, true] {
        let mut wire = Wire::connect(sidegate.public).await;
        wire.say(format!("{}\r\n", head(&issuer, "GET /"))).await;
        let mut answering = upstream.next().await;
        answering.head().await;
        if answered {
            answering.say("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome").await;
            wire.until("some").await;
        }
        drop(wire);
        answering.rest().await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_silent_longer_than_the_route_waits_gets_504() {
    let (upstream, issuer, sidegate) = scripted("    timeouts: { first_byte: 200ms }\n").await;
    let token = issuer.token();
    let public = sidegate.public;
    let asked = tokio::spawn(async move { get(public, "/", &token).await });
    let mut answering = upstream.next().await;
    answering.head().await;
    let reply = must(asked).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (504, "upstream_first_byte_timeout"));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(reply.json()["request_id"].as_str(), reply.header("x-request-id"));
    answering.rest().await;
}

#[tokio::test]
async fn an_upstream_that_does_not_listen_gets_503_with_retry_after() {
    let (upstream, issuer, sidegate) = scripted("").await;
    drop(upstream);
    let reply = get(sidegate.public, "/", &issuer.token()).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "upstream_unavailable"));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(reply.json()["request_id"].as_str(), reply.header("x-request-id"));
    assert_eq!(
        sidegate.series("sidegate_upstream_errors_total{reason=\"upstream_unavailable\",upstream=\"app\"}").await,
        1.0
    );
}

#[tokio::test]
async fn an_upstream_that_talks_nonsense_gets_502() {
    let (upstream, issuer, sidegate) = scripted("").await;
    for nonsense in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 99999 x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    ] {
        let (public, asked) = (sidegate.public, request("POST", "/", &issuer.token()));
        let asked = tokio::spawn(async move { send(public, asked).await });
        let mut answering = upstream.next().await;
        answering.head().await;
        answering.say(nonsense).await;
        let reply = must(asked).await.unwrap();
        assert_eq!(reply.status, 502, "{nonsense:?}");
        assert!(["upstream_protocol", "upstream_closed"].contains(&reply.code().as_str()), "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_at_the_upstream_is_seen_broken_by_the_client() {
    let (upstream, issuer, sidegate) = scripted("").await;
    for framing in ["content-length: 100", "transfer-encoding: chunked"] {
        let mut wire = Wire::connect(sidegate.public).await;
        wire.say(format!("{}\r\n", head(&issuer, "GET /"))).await;
        let mut answering = upstream.next().await;
        answering.head().await;
        answering.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\nhalf\r\n")).await;
        wire.until("half").await;
        drop(answering);
        assert!(!wire.rest().await.contains("0\r\n\r\n"), "{framing}: ended as if it were whole");
    }

    let mut sender = h2::<Full<Bytes>>(sidegate.public).await;
    let asked = Request::get("http://api.test/").header("authorization", format!("Bearer {}", issuer.token()));
    let asked = asked.body(Full::default()).unwrap();
    let response = tokio::spawn(async move { sender.send_request(asked).await.unwrap() });
    let mut answering = upstream.next().await;
    answering.head().await;
    answering.say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let body = must(response).await.unwrap().into_body();
    drop(answering);
    assert!(must(body.collect()).await.is_err());
}

#[tokio::test]
async fn a_large_body_arrives_as_it_was_sent() {
    let upstream = Upstream::answering(|seen| Response::new(Full::new(seen.body.clone()))).await;
    let issuer = Issuer::new();
    let sidegate = Sidegate::start(&behind(upstream.address, &issuer, "", "")).await;
    let sent: Bytes = (0..8 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect::<Vec<u8>>().into();
    let asked = request("POST", "/", &issuer.token()).map(|_| Full::new(sent.clone()));
    assert!(send(sidegate.public, asked).await.body == sent);
    let mut sender = h2(sidegate.public).await;
    let asked = Request::post("http://api.test/").header("authorization", format!("Bearer {}", issuer.token()));
    let reply = client::collect(sender.send_request(asked.body(Full::new(sent.clone())).unwrap()).await.unwrap()).await;
    assert!(reply.body == sent);
}
