use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::TokioExecutor;

use super::*;

/// An upstream that speaks HTTP/2 by prior knowledge; the script gets each connection.
async fn origin2<F, R>(script: F) -> Origin
where
    F: Fn(h2::server::Connection<TcpStream, Bytes>, usize) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    origin(move |wire| {
        let script = script.clone();
        async move {
            let number = wire.number;
            script(h2::server::handshake(wire.stream).await.unwrap(), number).await;
        }
    })
    .await
}

fn upstream2(address: SocketAddr) -> Arc<Upstream> {
    let mut settings = settings(tcp(address));
    settings.http2 = true;
    Arc::new(Upstream::new(settings, 1).unwrap())
}

fn answer(mut respond: h2::server::SendResponse<Bytes>, text: &'static str) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(text.as_bytes()), true).unwrap();
}

async fn polite2(mut connection: h2::server::Connection<TcpStream, Bytes>, _number: usize) {
    while let Some(Ok((request, respond))) = connection.accept().await {
        assert_eq!(request.uri(), "http://app.example/path?query");
        assert!(request.headers().is_empty(), "{:?}", request.headers());
        answer(respond, "hello");
    }
}

#[tokio::test]
async fn requests_share_a_connection() {
    let origin = origin2(polite2).await;
    let upstream = upstream2(origin.address);
    let (one, two, three) = tokio::join!(fetch(&upstream, get()), fetch(&upstream, get()), fetch(&upstream, get()));
    assert_eq!((one.1.as_ref(), two.1.as_ref(), three.1.as_ref()), (&b"hello"[..], &b"hello"[..], &b"hello"[..]));
    assert_eq!((origin.connections(), upstream.snapshot().idle), (1, 1));
}

#[tokio::test]
async fn host_becomes_the_authority_and_connection_headers_go() {
    let origin = origin2(polite2).await;
    let mut request = get();
    for (name, value) in [("connection", "upgrade"), ("upgrade", "echo"), ("te", "gzip"), ("expect", "100-continue")] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(fetch(&upstream2(origin.address), request).await.1, "hello");
    let mut request = get();
    request.headers_mut().insert("host", HeaderValue::from_static("a/b"));
    let error = send(&upstream2(origin.address), request).await.err().unwrap();
    assert_eq!((error.code(), error.status()), ("invalid_host", StatusCode::BAD_REQUEST));
}

#[tokio::test]
async fn a_call_with_trailers_passes_through_http2_on_both_sides() {
    let origin = origin2(|mut connection, _| async move {
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.headers()["te"], "trailers");
            tokio::spawn(async move {
                // Answers before the request has ended, echoes each message, ends with its status.
                let mut down = respond.send_response(Response::new(()), false).unwrap();
                let mut up = request.into_body();
                while let Some(data) = up.data().await {
                    let data = data.unwrap();
                    up.flow_control().release_capacity(data.len()).unwrap();
                    down.send_data(data, false).unwrap();
                }
                let mut trailers = up.trailers().await.unwrap().unwrap();
                assert_eq!(trailers.len(), 1);
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                down.send_trailers(trailers).unwrap();
            });
        }
    })
    .await;
    let gateway = gateway_http2(&upstream2(origin.address)).await;
    let socket = TokioIo::new(TcpStream::connect(gateway).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), socket).await.unwrap();
    tokio::spawn(connection);
    let (frames, body) = tokio::sync::mpsc::unbounded_channel::<Frame<Bytes>>();
    let body = StreamBody::new(Box::pin(futures_util::stream::unfold(body, |mut body| async move {
        body.recv().await.map(|frame| (Ok::<_, Infallible>(frame), body))
    })));
    let request = Request::post("http://app.example/grpc").header("te", "trailers").body(body).unwrap();
    let mut response = client.send_request(request).await.unwrap().into_body();
    for message in ["one", "two"] {
        frames.send(Frame::data(message.into())).unwrap();
        assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), message);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("6"));
    trailers.insert("x-forwarded-user", HeaderValue::from_static("root"));
    frames.send(Frame::trailers(trailers)).unwrap();
    drop(frames);
    let trailers = response.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-sum"]),
        (&HeaderValue::from_static("0"), &HeaderValue::from_static("6"))
    );
}

#[tokio::test]
async fn a_refused_stream_is_sent_again() {
    let origin = origin2(|mut connection, _| async move {
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_reset(h2::Reason::REFUSED_STREAM);
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.method(), "POST");
        answer(respond, "hello");
        while connection.accept().await.is_some() {}
    })
    .await;
    let upstream = upstream2(origin.address);
    assert_eq!(fetch(&upstream, request(Method::POST, "once")).await.1, "hello");
    assert_eq!((origin.connections(), upstream.snapshot().retried), (1, 1));
}

#[tokio::test]
async fn a_reset_post_is_never_sent_twice() {
    let origin = origin2(|mut connection, _| async move {
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_reset(h2::Reason::INTERNAL_ERROR);
        assert!(connection.accept().await.is_none());
    })
    .await;
    let upstream = upstream2(origin.address);
    assert_eq!(send(&upstream, request(Method::POST, "once")).await.err().unwrap().code(), "upstream_closed");
    assert_eq!(upstream.snapshot().retried, 0);
}

#[tokio::test]
async fn after_goaway_a_new_connection_is_made() {
    let origin = origin2(|mut connection, number| async move {
        let (_, respond) = connection.accept().await.unwrap().unwrap();
        answer(respond, "hello");
        if number == 1 {
            connection.graceful_shutdown();
        }
        while connection.accept().await.is_some() {}
    })
    .await;
    let upstream = upstream2(origin.address);
    for _ in 0..2 {
        assert_eq!(fetch(&upstream, request(Method::POST, "once")).await.1, "hello");
        until(|| origin.connections() == 2 || upstream.snapshot().open == 0).await;
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn no_more_streams_are_opened_than_the_upstream_allows() {
    let origin = origin(|wire| async move {
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(2);
        let mut connection = builder.handshake::<_, Bytes>(wire.stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let _open = respond.send_response(Response::new(()), false).unwrap();
                std::future::pending::<()>().await;
            });
        }
    })
    .await;
    let upstream = upstream2(origin.address);
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(send(&upstream, get()).await.unwrap());
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn old_and_idle_connections_go() {
    let origin = origin2(polite2).await;
    let upstream = upstream2(origin.address);
    fetch(&upstream, get()).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(301)).await;
    tokio::time::resume();
    until(|| upstream.snapshot().open == 0).await;
    fetch(&upstream, get()).await;
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn an_upstream_without_http2_is_no_silent_failure() {
    let origin = origin(polite).await;
    let error = send(&upstream2(origin.address), get()).await.err().unwrap();
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_dropped_response_resets_its_stream() {
    let (reset, seen) = tokio::sync::mpsc::unbounded_channel();
    let origin = origin2(move |mut connection, _| {
        let reset = reset.clone();
        async move {
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let reset = reset.clone();
                tokio::spawn(async move {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
                    reset.send(reason).unwrap();
                });
            }
        }
    })
    .await;
    let upstream = upstream2(origin.address);
    let mut seen = seen;
    drop(send(&upstream, get()).await.unwrap());
    assert_eq!(seen.recv().await, Some(h2::Reason::CANCEL));
    assert_eq!((upstream.snapshot().open, upstream.snapshot().broken), (1, 1));
}

/// A gateway that speaks HTTP/2 by prior knowledge.
async fn gateway_http2(upstream: &Arc<Upstream>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = Arc::clone(upstream);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request| forward(Arc::clone(&upstream), None, request));
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    });
    address
}
