//! What is still on its way when the 401 comes, and what goes wrong the second time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::{HELLO, REFUSAL, Wired, before, refusal};
use crate::support::{Wire, client::request, issuer::now, send};

#[tokio::test]
async fn the_rest_of_a_body_that_is_on_its_way_is_waited_for() {
    let mut wired = Wired::new("", "").await;
    wired.say("POST /", "content-length: 10\r\n", "01234").await;
    let mut upstream = wired.upstream.next().await;
    upstream.until("01234").await;
    // Its own body comes to no end, so that the next request needs another connection.
    upstream.say("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nn").await;
    assert!(wired.client.is_silent().await);
    wired.client.say("56789").await;
    let mut second = wired.upstream.next().await;
    assert!(second.until("0123456789").await.contains("content-length: 10\r\n"));
    second.say(HELLO).await;
    assert!(wired.client.until("hello").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_does_not_send_it_gets_the_401() {
    let mut wired = Wired::new("", "").await;
    wired.say("POST /", "content-length: 10\r\n", "01234").await;
    let mut upstream = wired.upstream.next().await;
    upstream.until("01234").await;
    upstream.say("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno").await;
    assert!(wired.client.until("no").await.starts_with("HTTP/1.1 401"));
    assert!(wired.upstream.is_untouched().await);
}

#[tokio::test]
async fn an_upstream_that_does_not_read_the_body_has_its_401_passed_on_at_once() {
    let mut wired = Wired::new("", "").await;
    wired.say("POST /", "content-length: 10\r\n", "01234").await;
    let mut upstream = wired.upstream.next().await;
    upstream.until("01234").await;
    upstream.say(REFUSAL).await;
    drop(upstream);
    assert!(wired.client.until("no").await.starts_with("HTTP/1.1 401"));
    assert!(wired.upstream.is_untouched().await);
}

#[tokio::test]
async fn an_upstream_that_resets_the_rest_of_a_stream_has_its_401_passed_on() {
    let (address, count) = hasty().await;
    let (issuer, sidegate) = before(address, ", protocol: http2", "").await;
    let mut client = Wire::connect(sidegate.public).await;
    let token = issuer.token();
    client
        .say(format!("POST / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: 10\r\n\r\n01234"))
        .await;
    assert!(client.until("who are you?").await.starts_with("HTTP/1.1 401"));
    assert_eq!(count.load(SeqCst), 1);
    let reply = send(sidegate.public, request("POST", "/", &token).map(|_| Full::new("0123456789".into()))).await;
    assert_eq!((reply.text(), count.load(SeqCst)), ("0123456789", 2), "for the next it is renewed");
}

/// Answers the head of its first request with 401 and wants none of the body; then it echoes.
async fn hasty() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counting = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let count = counting.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let is_first = count.fetch_add(1, SeqCst) == 0;
                async move {
                    if is_first {
                        return Ok::<_, hyper::Error>(refusal());
                    }
                    Ok(Response::new(Full::new(request.into_body().collect().await?.to_bytes())))
                }
            });
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_client_that_waits_for_100_keeps_its_body_if_the_upstream_says_401_first() {
    let mut wired = Wired::new("", "").await;
    wired.say("POST /", "content-length: 5\r\nexpect: 100-continue\r\n", "").await;
    let mut upstream = wired.upstream.next().await;
    upstream.head().await;
    upstream.say(REFUSAL).await;
    assert!(wired.client.until("no").await.starts_with("HTTP/1.1 401"));
    assert!(wired.upstream.is_untouched().await);
}

#[tokio::test]
async fn what_was_sent_after_100_is_sent_once_more_without_asking_again() {
    let mut wired = Wired::new("", "").await;
    wired.say("POST /", "content-length: 5\r\nexpect: 100-continue\r\n", "").await;
    let mut upstream = wired.upstream.next().await;
    assert!(upstream.head().await.contains("expect: 100-continue"));
    upstream.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(wired.client.head().await.starts_with("HTTP/1.1 100"));
    wired.client.say("abcde").await;
    upstream.until("abcde").await;
    upstream.say(REFUSAL).await;
    let mut second = wired.upstream.next().await;
    assert!(!second.until("abcde").await.contains("expect"));
    second.say(HELLO).await;
    assert!(wired.client.until("hello").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_repetition_that_is_not_answered_is_an_error_like_any_other() {
    for (upstream_more, status) in [("", "502"), (", timeouts: { first_byte: 300ms }", "504")] {
        let mut wired = Wired::new(upstream_more, "").await;
        wired.say("GET /", "", "").await;
        let mut upstream = wired.upstream.next().await;
        upstream.head().await;
        upstream.say(REFUSAL).await;
        let mut second = wired.upstream.next().await;
        second.head().await;
        if status == "502" {
            drop(second);
            assert!(wired.client.head().await.starts_with("HTTP/1.1 502"));
        } else {
            assert!(wired.client.head().await.starts_with("HTTP/1.1 504"));
        }
        let failed = "sidegate_replays_total{result=\"failed\",route=\"all\"}";
        assert_eq!(wired.sidegate.series(failed).await, 1.0);
    }
}

#[tokio::test]
async fn the_connection_of_the_refused_request_goes_on() {
    let mut wired = Wired::new("", "").await;
    wired.say("GET /", "", "").await;
    let mut first = wired.upstream.next().await;
    first.head().await;
    first.say("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n").await;
    // The rest of what nobody reads comes later.
    let mut second = wired.upstream.next().await;
    second.head().await;
    first.say("no").await;
    second.say(HELLO).await;
    wired.client.until("hello").await;
    wired.say("GET /next", "", "").await;
    assert!(first.head().await.starts_with("GET /next"));
    first.say(HELLO).await;
    wired.client.until("hello").await;
}

#[tokio::test]
async fn an_endless_401_is_let_go_once_it_is_not_wanted_any_more() {
    let mut wired = Wired::new("", "").await;
    wired.say("GET /", "", "").await;
    let mut first = wired.upstream.next().await;
    first.head().await;
    first.say("HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n5\r\nagain\r\n").await;
    let mut second = wired.upstream.next().await;
    second.head().await;
    second.say(HELLO).await;
    wired.client.until("hello").await;
    first.rest().await;
}

#[tokio::test]
async fn a_token_that_has_expired_while_the_upstream_was_busy_is_not_used_again() {
    let mut wired = Wired::new("", "").await;
    let token = wired.issuer.token_with(serde_json::json!({"exp": now() + 60}));
    wired.client.say(format!("GET / HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n\r\n")).await;
    let mut upstream = wired.upstream.next().await;
    upstream.head().await;
    wired.sidegate.time.advance(600);
    upstream.say(REFUSAL).await;
    assert!(wired.client.until("no").await.starts_with("HTTP/1.1 401"));
    assert!(wired.upstream.is_untouched().await);
}
