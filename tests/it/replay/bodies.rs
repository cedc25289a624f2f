//! Bodies that are sent once more, byte for byte, and those that are not.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

use super::{HELLO, REFUSAL, Setup, Wired, apart};
use crate::support::{client, h2, request, send};

fn post(token: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    request("POST", "/", token).map(|_| Full::new(Bytes::from(body)))
}

#[tokio::test]
async fn a_body_with_a_length_is_sent_once_more_byte_for_byte() {
    let mut wired = Wired::new("", "").await;
    let body = "0123456789\r\n\0é";
    wired.say("POST /a?b", &format!("content-length: {}\r\nx-own: 1\r\n", body.len()), body).await;
    let mut heads = Vec::new();
    for answer in [REFUSAL, HELLO] {
        let mut upstream = wired.upstream.next().await;
        heads.push(upstream.head().await);
        assert_eq!(upstream.until("é").await, body);
        upstream.say(answer).await;
    }
    assert!(wired.client.until("hello").await.starts_with("HTTP/1.1 200"));
    let (first, second) = (apart(&heads[0]), apart(&heads[1]));
    assert_eq!(first.0, second.0);
    assert_ne!(first.1, second.1);
    assert!(first.0.contains(&format!("content-length: {}", body.len())), "{first:?}");
}

#[tokio::test]
async fn a_body_in_chunks_is_sent_once_more_in_chunks_with_its_trailers() {
    let mut wired = Wired::new("", "").await;
    let headers = "transfer-encoding: chunked\r\nte: trailers\r\ntrailer: x-sum\r\n";
    wired.say("POST /", headers, "3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\nauthorization: evil\r\n\r\n").await;
    let mut heads = Vec::new();
    for answer in [REFUSAL, HELLO] {
        let mut upstream = wired.upstream.next().await;
        heads.push(apart(&upstream.head().await));
        let body = upstream.until("x-sum: 5\r\n\r\n").await;
        let data: String = body.split("\r\n").filter(|part| part.starts_with(['a', 'd'])).collect();
        assert!(data == "abcde" && body.contains("\r\n0\r\n"), "{body:?}");
        upstream.say(answer).await;
    }
    assert_eq!(heads[0].0, heads[1].0);
    assert!(heads[0].0.contains(&"transfer-encoding: chunked".to_owned()), "{heads:?}");
    wired.client.until("hello").await;
}

#[tokio::test]
async fn an_empty_body_in_chunks_stays_one() {
    let mut wired = Wired::new("", "").await;
    wired.say("POST /", "transfer-encoding: chunked\r\n", "0\r\n\r\n").await;
    for answer in [REFUSAL, HELLO] {
        let mut upstream = wired.upstream.next().await;
        let head = upstream.head().await;
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert_eq!(upstream.until("0\r\n\r\n").await, "0\r\n\r\n");
        upstream.say(answer).await;
    }
    wired.client.until("hello").await;
}

#[tokio::test]
async fn a_body_up_to_the_bound_is_sent_once_more_and_a_longer_one_is_not() {
    for http2 in [false, true] {
        for (length, attempts) in [(1, 2), (1000, 2), (1001, 1)] {
            let route = ", replay: { max_body_bytes: 1000B }";
            let setup = if http2 { Setup::http2(route).await } else { Setup::new(route).await };
            let body: Vec<u8> = (0..length).map(|at: usize| (at * 7) as u8).collect();
            let reply = send(setup.sidegate.public, post(&setup.issuer.token(), body.clone())).await;
            assert_eq!(reply.status, if attempts == 2 { 200 } else { 401 }, "{length}");
            assert_eq!(setup.upstream.count(), attempts);
            assert!(setup.upstream.seen().iter().all(|seen| seen.body == body));
            // Renewed it is all the same: whoever comes next goes through.
            let reply = send(setup.sidegate.public, post(&setup.issuer.token(), body)).await;
            assert_eq!((reply.status.as_u16(), setup.upstream.count()), (200, attempts + 1));
        }
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_dropped_from_memory_once_it_is_over_the_bound() {
    let setup = Setup::new(", replay: { max_body_bytes: 1000B }").await;
    for (pieces, status) in [(11, 401), (10, 200)] {
        let setup = if pieces == 11 { &setup } else { &Setup::new(", replay: { max_body_bytes: 1000B }").await };
        let frames = (0..pieces).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'x'; 100]))));
        let body = StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>()));
        let token = setup.issuer.token();
        let stream = hyper_util::rt::TokioIo::new(tokio::net::TcpStream::connect(setup.sidegate.public).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let sent = sender.send_request(request("POST", "/", &token).map(|_| body)).await.unwrap();
        assert_eq!(sent.status(), status, "{pieces}");
        assert_eq!(setup.upstream.last().body.len(), pieces * 100);
    }
    assert_eq!(setup.replays("not_kept").await, 1.0);
}

#[tokio::test]
async fn with_a_bound_of_0_only_requests_without_a_body_are_sent_once_more() {
    let setup = Setup::new(", replay: { max_body_bytes: 0 }").await;
    let token = setup.issuer.token();
    assert_eq!(send(setup.sidegate.public, post(&token, b"x".to_vec())).await.status, 401);
    assert_eq!(setup.upstream.count(), 1);
    let setup = Setup::new(", replay: { max_body_bytes: 0 }").await;
    assert_eq!(send(setup.sidegate.public, post(&setup.issuer.token(), Vec::new())).await.status, 200);
}

#[tokio::test]
async fn from_http2_to_http2_bodies_and_trailers_are_the_same_both_times() {
    let setup = Setup::http2("").await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("5"));
    let frames =
        [Frame::data(Bytes::from_static(b"abc")), Frame::data(Bytes::from_static(b"de")), Frame::trailers(trailers)];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, std::io::Error>)));
    let mut sender = h2(setup.sidegate.public).await;
    let request = Request::post(format!("http://{}/", setup.sidegate.public))
        .header("authorization", format!("Bearer {}", setup.issuer.token()))
        .header("te", "trailers")
        .body(BodyExt::boxed(body))
        .unwrap();
    let reply = client::collect(sender.send_request(request).await.unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello"));
    let seen = setup.upstream.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!((&seen.body[..], seen.header("content-length")), (&b"abcde"[..], None));
        assert_eq!(seen.trailers.unwrap()["x-sum"], "5");
    }
}
