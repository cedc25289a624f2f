use std::{io::Write, net, sync::mpsc, time::Duration};

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::*;

#[tokio::test]
async fn a_connection_is_used_again() {
    let origin = origin(polite).await;
    let upstream = upstream(origin.address);
    for _ in 0..10 {
        assert_eq!(fetch(&upstream, get()).await, (StatusCode::OK, Bytes::from("hello")));
    }
    assert_eq!(origin.connections(), 1);
    let seen = upstream.snapshot();
    assert_eq!((seen.open, seen.idle, seen.opened, seen.reused, seen.broken), (1, 1, 1, 9, 0));
}

#[tokio::test]
async fn chunked_and_empty_answers_give_the_connection_back_too() {
    let origin = origin(|mut wire| async move {
        let answers = [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ];
        for answer in answers {
            wire.head().await.unwrap();
            wire.write(answer).await;
        }
    })
    .await;
    let upstream = upstream(origin.address);
    for expected in ["hello", "", "", "", "ok"] {
        assert_eq!(fetch(&upstream, get()).await.1, expected);
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_connection_returns_only_when_its_body_has_ended() {
    let origin = origin(polite).await;
    let upstream = upstream(origin.address);
    let first = send(&upstream, get()).await.unwrap();
    assert_eq!(upstream.snapshot().idle, 0);
    fetch(&upstream, get()).await;
    assert_eq!((origin.connections(), upstream.snapshot().idle), (2, 1));
    first.into_body().collect().await.unwrap();
    assert_eq!(upstream.snapshot().idle, 2);
}

#[tokio::test]
async fn no_more_connections_are_kept_than_allowed() {
    let origin = origin(polite).await;
    let upstream = upstream(origin.address);
    let mut responses = Vec::new();
    for _ in 0..6 {
        responses.push(send(&upstream, get()).await.unwrap());
    }
    for response in responses {
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(upstream.snapshot().idle, 4);
    until(|| upstream.snapshot().open == 4).await;
}

#[tokio::test]
async fn an_old_connection_is_replaced() {
    let origin = origin(polite).await;
    let mut settings = settings(tcp(origin.address));
    settings.connections.idle_timeout = Duration::from_secs(3600);
    let upstream = Upstream::new(settings, 1).unwrap();
    fetch(&upstream, get()).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(299)).await;
    tokio::time::resume();
    fetch(&upstream, get()).await;
    assert_eq!(origin.connections(), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    fetch(&upstream, get()).await;
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let (closed, seen) = oneshot::channel();
    let closed = Mutex::new(Some(closed));
    let origin = origin(move |mut wire| {
        let closed = closed.lock().unwrap().take();
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            if wire.is_closed_by_peer().await {
                closed.unwrap().send(()).unwrap();
            }
        }
    })
    .await;
    let upstream = upstream(origin.address);
    fetch(&upstream, get()).await;
    assert_eq!(upstream.snapshot().idle, 1);
    tokio::time::pause();
    seen.await.unwrap();
    assert_eq!((upstream.snapshot().idle, upstream.snapshot().open), (0, 0));
}

#[tokio::test]
async fn an_idle_connection_that_the_upstream_closes_is_let_go_at_once() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let upstream = upstream(origin.address);
    fetch(&upstream, get()).await;
    until(|| upstream.snapshot().open == 0).await;
    assert_eq!(upstream.snapshot().idle, 0);
    fetch(&upstream, get()).await;
    assert_eq!(upstream.snapshot().retried, 0);
}

#[tokio::test]
async fn a_get_survives_the_death_of_a_pooled_connection() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        if wire.number == 1 {
            // Reads the second request and closes without a word.
            wire.head().await;
        }
    })
    .await;
    let upstream = upstream(origin.address);
    fetch(&upstream, get()).await;
    assert_eq!(fetch(&upstream, get()).await.1, "hello");
    assert_eq!((origin.connections(), origin.requests(), upstream.snapshot().retried), (2, 3, 1));
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        wire.head().await;
    })
    .await;
    let upstream = upstream(origin.address);
    fetch(&upstream, get()).await;
    let error = send(&upstream, request(Method::POST, "money")).await.err().unwrap();
    assert_eq!((error.code(), error.status()), ("upstream_closed", StatusCode::BAD_GATEWAY));
    assert_eq!((origin.connections(), origin.requests()), (1, 2));
}

#[tokio::test]
async fn a_get_on_a_new_connection_that_dies_is_not_repeated() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
    })
    .await;
    let upstream = upstream(origin.address);
    assert_eq!(send(&upstream, get()).await.err().unwrap().code(), "upstream_closed");
    assert_eq!(origin.requests(), 1);
}

/// The upstream is a thread: it closes while this runtime stands still, so nobody has looked at the connection when it is
/// wanted again.
#[tokio::test]
async fn a_post_of_which_nothing_was_sent_goes_out_on_another_connection() {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (close, closing) = mpsc::channel::<()>();
    let (closed, has_closed) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let answer = |stream: &mut net::TcpStream| {
            let mut buffer = [0; 4096];
            let read = std::io::Read::read(stream, &mut buffer).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8_lossy(&buffer[..read]).into_owned()
        };
        let (mut first, _) = listener.accept().unwrap();
        answer(&mut first);
        closing.recv().unwrap();
        drop(first);
        closed.send(()).unwrap();
        let (mut second, _) = listener.accept().unwrap();
        answer(&mut second)
    });
    let upstream = upstream(address);
    fetch(&upstream, get()).await;
    // One turn of the reactor finds the end of the connection and the end of the sleep; this task runs first.
    let mut sleep = std::pin::pin!(tokio::time::sleep(Duration::from_millis(1)));
    assert!(futures_util::future::poll_immediate(sleep.as_mut()).await.is_none());
    close.send(()).unwrap();
    has_closed.recv().unwrap();
    std::thread::sleep(Duration::from_millis(3));
    sleep.await;
    assert_eq!(upstream.snapshot().idle, 1);
    assert_eq!(fetch(&upstream, request(Method::POST, "")).await.0, StatusCode::OK);
    assert!(thread.join().unwrap().starts_with("POST /path?query HTTP/1.1\r\n"));
    assert_eq!(upstream.snapshot().retried, 0, "it was not even begun on the other one");
}

#[tokio::test]
async fn a_dropped_response_closes_the_connection() {
    let (closed, seen) = oneshot::channel();
    let closed = Mutex::new(Some(closed));
    let origin = origin(move |mut wire| {
        let closed = closed.lock().unwrap().take().unwrap();
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nhello").await;
            closed.send(wire.is_closed_by_peer().await).unwrap();
        }
    })
    .await;
    let upstream = upstream(origin.address);
    drop(send(&upstream, get()).await.unwrap());
    assert!(seen.await.unwrap());
    assert_eq!((upstream.snapshot().idle, upstream.snapshot().broken), (0, 1));
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_closes_the_connection() {
    let (arrived, has_arrived) = oneshot::channel();
    let (closed, seen) = oneshot::channel();
    let scripts = Mutex::new(Some((arrived, closed)));
    let origin = origin(move |mut wire| {
        let (arrived, closed) = scripts.lock().unwrap().take().unwrap();
        async move {
            wire.head().await;
            arrived.send(()).unwrap();
            closed.send(wire.is_closed_by_peer().await).unwrap();
        }
    })
    .await;
    let upstream = upstream(origin.address);
    tokio::select! {
        _ = send(&upstream, get()) => panic!("answered"),
        _ = has_arrived => {}
    }
    assert!(seen.await.unwrap());
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_unavailable() {
    let address = net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstream = upstream(address);
    let error = send(&upstream, get()).await.err().unwrap();
    assert_eq!((error.code(), error.status()), ("upstream_unavailable", StatusCode::SERVICE_UNAVAILABLE));
    assert!(upstream.snapshot().errors.contains(&("upstream_unavailable", 1)));
}

#[tokio::test]
async fn a_unix_socket_carries_requests() {
    let path = std::env::temp_dir().join(format!("sidegate-upstream-{}.sock", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix").await.unwrap();
    });
    let upstream = Upstream::new(settings(config::Target::Unix(path.clone())), 1).unwrap();
    let fetched = fetch(&upstream, get()).await;
    std::fs::remove_file(path).unwrap();
    assert_eq!(fetched, (StatusCode::OK, Bytes::from("unix")));
}

#[tokio::test]
async fn the_target_is_sent_in_origin_form() {
    let origin = origin(polite).await;
    let upstream = upstream(origin.address);
    let mut request = get();
    *request.uri_mut() = "http://app.example/a%20b?c".parse().unwrap();
    *request.version_mut() = http::Version::HTTP_2;
    fetch(&upstream, request).await;
    let head = origin.heads.lock().unwrap()[0].clone();
    assert_eq!(head, "GET /a%20b?c HTTP/1.1\r\nhost: app.example\r\n\r\n");
    let mut connect = get();
    *connect.method_mut() = Method::CONNECT;
    assert_eq!(send(&upstream, connect).await.err().unwrap().code(), "connect_not_forwarded");
}

/// `localhost` is ::1 as well, where nobody listens.
#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let origin = origin(polite).await;
    let target = config::Target::Http { host: "localhost".to_owned(), port: origin.address.port() };
    let upstream = Upstream::new(settings(target), 1).unwrap();
    assert_eq!(fetch(&upstream, get()).await.1, "hello");
    let target = config::Target::Http { host: "no-such-name.invalid".to_owned(), port: 80 };
    let error = send(&Upstream::new(settings(target), 1).unwrap(), get()).await.err().unwrap();
    assert_eq!((error.code(), error.status()), ("upstream_unresolved", StatusCode::BAD_GATEWAY));
}

#[tokio::test]
async fn each_worker_has_connections_of_its_own() {
    let origin = origin(polite).await;
    let upstream = Upstream::new(settings(tcp(origin.address)), 2).unwrap();
    let timeouts = upstream.settings().timeouts;
    for worker in [0, 1, 0, 1] {
        let response =
            upstream.send(worker, get(), &timeouts, None, tokio::time::Instant::now()).await.unwrap().response;
        response.into_body().collect().await.unwrap();
    }
    assert_eq!((origin.connections(), upstream.snapshot().idle), (2, 2));
}

#[tokio::test]
async fn an_upstream_that_is_replaced_takes_its_idle_connections_with_it_and_lets_the_others_finish() {
    let (closed, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let origin = origin(move |mut wire| {
        let closed = closed.clone();
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
            closed.send(wire.is_closed_by_peer().await).unwrap();
        }
    })
    .await;
    let upstream = upstream(origin.address);
    let under_way = send(&upstream, get()).await.unwrap();
    fetch(&upstream, get()).await;
    drop(upstream);
    assert_eq!(seen.recv().await, Some(true));
    assert_eq!(under_way.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(seen.recv().await, Some(true));
}

#[tokio::test]
async fn the_future_of_a_request_stays_small() {
    let upstream = upstream("127.0.0.1:1".parse().unwrap());
    let timeouts = upstream.settings().timeouts;
    let size = size_of_val(&upstream.send(0, get(), &timeouts, None, tokio::time::Instant::now()));
    assert!(size <= 1536, "{size} bytes");
}
