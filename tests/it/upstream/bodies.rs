use std::sync::atomic::AtomicU64;

use http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::*;

#[tokio::test]
async fn trailers_pass_both_ways_and_forbidden_ones_do_not() {
    let (body, received) = oneshot::channel();
    let body = Mutex::new(Some(body));
    let origin = origin(move |mut wire| {
        let body = body.lock().unwrap().take().unwrap();
        async move {
            wire.head().await;
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                read.push(wire.stream.read_u8().await.unwrap());
            }
            body.send(String::from_utf8(read).unwrap()).unwrap();
            wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n").await;
            wire.write("2\r\nhi\r\n0\r\nx-sum: down\r\n\r\n").await;
        }
    })
    .await;
    let gateway = gateway(&upstream(origin.address), None).await;
    let answer = talk(
        gateway,
        "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         trailer: x-sum, x-forwarded-user\r\n\r\n\
         3\r\nabc\r\n0\r\nx-sum: up\r\nx-forwarded-user: root\r\n\r\n",
    )
    .await;
    assert_eq!(received.await.unwrap(), "3\r\nabc\r\n0\r\nx-sum: up\r\n\r\n");
    assert!(answer.ends_with("2\r\nhi\r\n0\r\nx-sum: down\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_has_ended() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
        for _ in 0..2 {
            let mut half = [0; 5];
            wire.stream.read_exact(&mut half).await.unwrap();
            wire.stream.write_all(&half).await.unwrap();
        }
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let upstream = upstream(origin.address);
    let gateway = gateway(&upstream, None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234").await.unwrap();
    read_head(&mut client).await.unwrap();
    let mut half = [0; 5];
    client.read_exact(&mut half).await.unwrap();
    assert_eq!(&half, b"01234");
    client.write_all(b"56789").await.unwrap();
    client.read_exact(&mut half).await.unwrap();
    assert_eq!(&half, b"56789");
    until(|| upstream.snapshot().idle == 1).await;
    fetch(&upstream, get()).await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_upload_goes_on_while_nobody_takes_the_answer() {
    const LONG: usize = 8 << 20;
    let origin = origin(|mut wire| async move {
        wire.head().await;
        let (mut read, mut write) = tokio::io::split(wire.stream);
        let answer = tokio::spawn(async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n");
            write.write_all(head.as_bytes()).await.unwrap();
            write.write_all(&vec![b'a'; LONG]).await.unwrap();
            write
        });
        read.read_exact(&mut vec![0; LONG]).await.unwrap();
        answer.await.unwrap();
    })
    .await;
    let gateway = gateway(&upstream(origin.address), None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LONG}\r\n\r\n").as_bytes()).await.unwrap();
    client.write_all(&vec![b'b'; LONG]).await.unwrap();
    assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    client.read_exact(&mut vec![0; LONG]).await.unwrap();
}

#[tokio::test]
async fn an_answer_in_full_before_the_request_has_ended_keeps_the_connection_out_of_the_pool_until_then() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        wire.stream.read_exact(&mut [0; 10]).await.unwrap();
        polite(wire).await;
    })
    .await;
    let upstream = upstream(origin.address);
    let gateway = gateway(&upstream, None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234").await.unwrap();
    read_head(&mut client).await.unwrap();
    client.read_exact(&mut [0; 2]).await.unwrap();
    assert_eq!(upstream.snapshot().idle, 0);
    client.write_all(b"56789").await.unwrap();
    until(|| upstream.snapshot().idle == 1).await;
    assert_eq!(fetch(&upstream, get()).await.1, "hello");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_as_broken() {
    let origin = origin(|mut wire| async move {
        let head = wire.head().await.unwrap();
        if head.starts_with("GET /chunked") {
            wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        } else {
            wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
        }
    })
    .await;
    let upstream = upstream(origin.address);
    let gateway = gateway(&upstream, None).await;
    let answer = talk(gateway, "GET /chunked HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.ends_with("5\r\nhello\r\n"), "{answer}");
    let answer = talk(gateway, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.contains("content-length: 10\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert_eq!((upstream.snapshot().broken, upstream.snapshot().idle), (2, 0));
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.0 200 OK\r\n\r\nhello").await;
    })
    .await;
    let upstream = upstream(origin.address);
    assert_eq!(fetch(&upstream, get()).await.1, "hello");
    assert_eq!((upstream.snapshot().broken, upstream.snapshot().idle), (0, 0));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_cut_off_and_refused() {
    let (end, seen) = oneshot::channel();
    let end = Mutex::new(Some(end));
    let origin = origin(move |mut wire| {
        let end = end.lock().unwrap().take().unwrap();
        async move {
            wire.head().await;
            let mut read = Vec::new();
            let _ = wire.stream.read_to_end(&mut read).await;
            end.send(String::from_utf8(read).unwrap()).unwrap();
        }
    })
    .await;
    let gateway = gateway(&upstream(origin.address), Some(8)).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n").await.unwrap();
    client.write_all(b"5\r\nfghij\r\n0\r\n\r\n").await.unwrap();
    let head = read_head(&mut client).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    let sent = seen.await.unwrap();
    assert!(!sent.contains("fghij") && !sent.ends_with("0\r\n\r\n"), "{sent}");
}

#[tokio::test]
async fn a_client_that_breaks_off_its_body_closes_the_upstream_connection() {
    let (end, seen) = oneshot::channel();
    let end = Mutex::new(Some(end));
    let origin = origin(move |mut wire| {
        let end = end.lock().unwrap().take().unwrap();
        async move {
            wire.head().await;
            let mut read = Vec::new();
            let _ = wire.stream.read_to_end(&mut read).await;
            end.send(read.len()).unwrap();
        }
    })
    .await;
    let upstream = upstream(origin.address);
    let gateway = gateway(&upstream, None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234").await.unwrap();
    until(|| origin.requests() == 1).await;
    drop(client);
    assert!(seen.await.unwrap() <= 5);
}

#[tokio::test]
async fn a_refused_expectation_never_asks_the_client_for_its_body() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno").await;
        assert!(wire.is_closed_by_peer().await);
    })
    .await;
    let upstream = upstream(origin.address);
    let gateway = gateway(&upstream, None).await;
    let answer = talk(gateway, "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 417 ") && answer.ends_with("no"), "{answer}");
    assert_eq!(upstream.snapshot().idle, 0);
    until(|| upstream.snapshot().open == 0).await;
}

#[tokio::test]
async fn an_expectation_is_met_when_the_upstream_says_so() {
    let (go, gone) = oneshot::channel();
    let gone = Mutex::new(Some(gone));
    let origin = origin(move |mut wire| {
        let gone = gone.lock().unwrap().take().unwrap();
        async move {
            let head = wire.head().await.unwrap();
            assert!(head.contains("expect: 100-continue\r\n"));
            let () = gone.await.unwrap();
            wire.write("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
            let mut body = [0; 5];
            wire.stream.read_exact(&mut body).await.unwrap();
            wire.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
            wire.stream.write_all(&body).await.unwrap();
        }
    })
    .await;
    let gateway = gateway(&upstream(origin.address), None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    until(|| origin.requests() == 1).await;
    assert_eq!(client.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    go.send(()).unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.unwrap();
    assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    let mut body = [0; 5];
    client.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"hello");
}

#[tokio::test]
async fn an_upstream_that_knows_no_expectations_gets_the_body_all_the_same() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.stream.read_exact(&mut [0; 5]).await.unwrap();
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let gateway = gateway(&upstream(origin.address), None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    until(|| origin.requests() == 1).await;
    tokio::time::pause();
    assert_eq!(read_head(&mut client).await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    tokio::time::resume();
    client.write_all(b"hello").await.unwrap();
    assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn answers_without_a_body_keep_their_framing() {
    let origin = origin(|mut wire| async move {
        while let Some(head) = wire.head().await {
            wire.write(match head.split(' ').nth(1).unwrap() {
                "/length" => "HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n",
                "/chunked" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\netag: \"x\"\r\n\r\n",
                _ => "HTTP/1.1 204 No Content\r\n\r\n",
            })
            .await;
        }
    })
    .await;
    let gateway = gateway(&upstream(origin.address), None).await;
    let ask = async |line: &str| {
        let answer = talk(gateway, &format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        answer
    };
    assert!(ask("HEAD /length").await.contains("content-length: 77\r\n"));
    assert!(!ask("HEAD /chunked").await.contains("content-length"));
    let not_modified = ask("GET /304").await;
    assert!(not_modified.contains("etag: \"x\"\r\n") && !not_modified.contains("content-length: 0"), "{not_modified}");
    let none = ask("GET /204").await;
    assert!(!none.contains("content-length") && !none.contains("transfer-encoding"), "{none}");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn nonsense_from_the_upstream_is_a_bad_gateway() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    })
    .await;
    let error = send(&upstream(origin.address), get()).await.err().unwrap();
    assert_eq!((error.code(), error.status()), ("upstream_protocol", StatusCode::BAD_GATEWAY));
}

#[tokio::test]
async fn an_endless_head_is_a_bad_gateway() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\nx: ").await;
        while wire.stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    })
    .await;
    assert_eq!(send(&upstream(origin.address), get()).await.err().unwrap().code(), "upstream_protocol");
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_the_client_back() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = gateway(&upstream(origin.address), None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client
        .write_all(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {TOTAL}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let (chunk, mut written, mut refused) = (vec![7; 64 * 1024], 0, 0);
    while refused < 2000 {
        match client.try_write(&chunk) {
            Ok(bytes) => (written, refused) = (written + bytes, 0),
            Err(_) => refused += 1,
        }
        tokio::task::yield_now().await;
    }
    assert!(written < 32 * 1024 * 1024, "{written} bytes on the way");
}

/// A quarter of a gigabyte to a client that does not read, then does: the upstream is held back.
#[tokio::test]
async fn a_slow_reader_holds_the_upstream_back() {
    let written = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&written);
    let origin = origin(move |mut wire| {
        let counter = Arc::clone(&counter);
        async move {
            wire.head().await;
            wire.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n")).await;
            let chunk = vec![7; 64 * 1024];
            while counter.load(SeqCst) < TOTAL {
                wire.stream.write_all(&chunk).await.unwrap();
                counter.fetch_add(chunk.len() as u64, SeqCst);
            }
        }
    })
    .await;
    let upstream = upstream(origin.address);
    let response = send(&upstream, get()).await.unwrap();
    // Until nothing moves any more.
    let mut seen = (0, 0);
    while seen.1 < 2000 {
        tokio::task::yield_now().await;
        let now = written.load(SeqCst);
        seen = if now == seen.0 { (now, seen.1 + 1) } else { (now, 0) };
    }
    // The sockets' buffers are the kernel's; the rest is ours.
    assert!(seen.0 < 16 * 1024 * 1024, "{} bytes on the way", seen.0);
    let mut body = response.into_body();
    let (mut read, mut largest) = (0, 0);
    while let Some(frame) = body.frame().await {
        let length = frame.unwrap().into_data().unwrap().len();
        (read, largest) = (read + length as u64, largest.max(length));
    }
    assert_eq!(read, TOTAL);
    assert!(largest <= 256 * 1024, "{largest} bytes in one piece");
}

const TOTAL: u64 = 256 * 1024 * 1024;
