use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use sidegate::proxy::upstream::BodyError;

use super::*;

/// Once the upstream is silent nothing but the clock is left to move.
async fn silent(mut wire: Wire) {
    wire.head().await;
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn an_answer_that_does_not_begin_is_given_up() {
    let origin = origin(silent).await;
    let upstream = upstream(origin.address);
    let (pending, clock) = (send(&upstream, get()), async {
        until(|| origin.requests() == 1).await;
        tokio::time::pause();
    });
    let error = tokio::join!(pending, clock).0.err().unwrap();
    assert_eq!((error.code(), error.status()), ("upstream_first_byte_timeout", StatusCode::GATEWAY_TIMEOUT));
    until(|| upstream.snapshot().open == 0).await;
}

#[tokio::test]
async fn an_answer_that_stops_is_broken_off() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
        std::future::pending::<()>().await;
    })
    .await;
    let upstream = upstream(origin.address);
    let mut body = send(&upstream, get()).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    assert!(matches!(body.frame().await, Some(Err(BodyError::Idle))));
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(60) && waited < Duration::from_secs(61), "{waited:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_held_against_the_upstream() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
        wire.head().await;
    })
    .await;
    let upstream = upstream(origin.address);
    let mut body = send(&upstream, get()).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    // Only now is the upstream asked for more: its time begins.
    let start = tokio::time::Instant::now();
    assert!(matches!(body.frame().await, Some(Err(BodyError::Idle))));
    assert!(start.elapsed() >= Duration::from_secs(60));
}

#[tokio::test]
async fn a_stream_without_an_idle_limit_may_be_silent() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        wire.write("5\r\nhello\r\n0\r\n\r\n").await;
    })
    .await;
    let mut settings = settings(tcp(origin.address));
    settings.timeouts.idle = Duration::ZERO;
    settings.timeouts.first_byte = Duration::from_secs(1);
    let upstream = Upstream::new(settings, 1).unwrap();
    let body = send(&upstream, get()).await.unwrap().into_body();
    tokio::time::pause();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn an_upload_that_makes_progress_is_not_cut_off_and_the_wait_begins_at_its_end() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.stream.read_exact(&mut [0; 10]).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = gateway(&upstream(origin.address), None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n").await.unwrap();
    until(|| origin.requests() == 1).await;
    for _ in 0..10 {
        // Each byte within `idle` (60 s), all of them far beyond `first_byte` (30 s).
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(50)).await;
        tokio::time::resume();
        client.write_all(b"x").await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 504 "));
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(29) && waited < Duration::from_secs(31), "{waited:?}");
}

#[tokio::test]
async fn a_client_that_stops_sending_is_told_so() {
    let origin = origin(silent).await;
    let gateway = gateway(&upstream(origin.address), None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234").await.unwrap();
    until(|| origin.requests() == 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 408 "));
}

/// The listener's queue is full, so the kernel answers no further SYN.
#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_given_up() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        match tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
            Ok(stream) => waiting.push(stream.unwrap()),
            Err(_) => break,
        }
    }
    let mut settings = settings(tcp(address));
    settings.timeouts.connect = Duration::from_millis(20);
    let upstream = Upstream::new(settings, 1).unwrap();
    let error = send(&upstream, get()).await.err().unwrap();
    assert_eq!((error.code(), error.status()), ("upstream_connect_timeout", StatusCode::GATEWAY_TIMEOUT));
}
