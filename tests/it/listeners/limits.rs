//! Every limit of a listener, run into.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    frames::{GET, GET_HOLD, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame, frames},
    harness::{Raw, SOON, Server, h2, listener, listener_with, must, request},
};

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_until_another_closes() {
    let server = Server::start(listener_with(|listener| listener.limits.connections = 1));
    let mut first = server.connect().await;
    first.get("/").await;
    let mut second = server.connect().await;
    second.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    // The first is served while the second waits in the backlog.
    first.get("/").await;
    assert_eq!((server.requests(), server.listeners.stats()[0].accepted()), (2, 1));
    drop(first);
    assert!(second.answer().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_head_with_too_many_bytes_is_refused_with_a_body() {
    let server = Server::start(listener());
    let limit = server.probe.limits.header_bytes;
    let head = |bytes: usize| {
        let rest = "GET / HTTP/1.1\r\nhost: test\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n", "y".repeat(bytes - rest))
    };
    let mut client = server.connect().await;
    client.send(head(limit)).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 200 "));
    client.send(head(limit + 1)).await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(answer.ends_with("more than 16384 bytes of request line and headers"), "{answer}");
}

#[tokio::test]
async fn an_endless_head_is_refused_before_it_is_whole() {
    let server = Server::start(listener());
    let mut client = server.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(server.probe.limits.header_bytes + 8192))).await;
    let answer = client.rest().await;
    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{:?}", String::from_utf8_lossy(&answer));
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn one_header_too_many_is_refused_with_a_body_and_more_without() {
    let server = Server::start(listener());
    let head = |count: usize| format!("GET / HTTP/1.1\r\nhost: test\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
    let mut client = server.connect().await;
    client.send(head(50)).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 200 "));
    client.send(head(51)).await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.ends_with("more than 50 headers"), "{answer}");
    client.send(head(52)).await;
    assert!(client.rest().await.starts_with(b"HTTP/1.1 431 "));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn an_http2_head_with_too_many_bytes_is_refused() {
    let server = Server::start(listener());
    let (mut client, _connection) = h2(TcpStream::connect(server.address()).await.unwrap()).await;
    for (bytes, reached) in [(16 * 1024, 1), (60 * 1024, 1)] {
        let mut large = request("/");
        large.headers_mut().insert("x", "y".repeat(bytes).parse().unwrap());
        // The second is larger than what SETTINGS_MAX_HEADER_LIST_SIZE advertises: a stream error or a 431.
        if let Ok(response) = must(client.send_request(large)).await {
            assert_eq!(response.status(), 431);
        }
        assert_eq!(server.requests(), reached);
    }
}

#[tokio::test]
async fn a_slow_head_is_closed_and_an_idle_connection_is_not() {
    let server = Server::start(listener_with(|listener| listener.limits.header_read_timeout = SOON));
    let mut idle = server.connect().await;
    idle.get("/").await;
    let mut slow = server.connect().await;
    slow.get("/").await;
    slow.send("GET / HTTP/1.1\r\nhost:").await;
    assert!(slow.rest().await.is_empty());
    // By now the idle one is older than the limit of a head.
    assert!(idle.get("/").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn a_slow_first_head_is_closed_too() {
    let server = Server::start(listener_with(|listener| listener.limits.header_read_timeout = SOON));
    for start in ["PRI * HT", "GET / HTTP/1.1\r\nhost: t"] {
        let mut client = server.connect().await;
        client.send(start).await;
        assert!(client.rest().await.is_empty());
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_whether_it_spoke_or_not() {
    let server = Server::start(listener_with(|listener| listener.limits.idle_timeout = SOON));
    let mut silent = server.connect().await;
    assert!(silent.rest().await.is_empty());
    let mut spoke = server.connect().await;
    spoke.get("/").await;
    assert!(spoke.rest().await.is_empty());
}

#[tokio::test]
async fn a_request_in_hand_is_not_idle() {
    let server = Server::start(listener_with(|listener| listener.limits.idle_timeout = SOON));
    let mut held = server.connect().await;
    held.send("GET /hold HTTP/1.1\r\nhost: test\r\n\r\n").await;
    server.held().await;
    // Another connection lives and dies by the limit meanwhile.
    server.connect().await.rest().await;
    server.release();
    assert!(held.answer().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_idle_http2_connection_is_told_to_go_away() {
    let server = Server::start(listener_with(|listener| listener.limits.idle_timeout = SOON));
    let mut client = server.connect().await;
    client.send([PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 5, 1, GET)].concat()).await;
    let frames = client.rest_of_frames().await;
    assert!(frames.iter().any(|(kind, _)| *kind == HEADERS));
    assert!(frames.iter().any(|(kind, _)| *kind == GOAWAY));
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_cut() {
    let server = Server::start(listener_with(|listener| listener.limits.idle_timeout = SOON));
    let mut client = server.connect().await;
    // More than all the buffers between: it fills up as soon as the client does not read.
    let size = 32 * 1024 * 1024;
    client.send(format!("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: {size}\r\n\r\n")).await;
    client.send(vec![b'x'; size]).await;
    while server.listeners.stats()[0].open() > 0 {
        must(tokio::task::yield_now()).await;
    }
    assert!(client.rest().await.len() < size);
}

#[tokio::test]
async fn no_more_streams_at_once_than_allowed() {
    let server = Server::start(listener_with(|listener| listener.limits.http2_streams = 2));
    let mut client = server.connect().await;
    // A client that does not wait to be told the limit.
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for stream in [1, 3, 5] {
        bytes.extend(frame(HEADERS, 5, stream, GET_HOLD));
    }
    client.send(bytes).await;
    server.held().await;
    server.held().await;
    server.release();
    server.release();
    server.shutdown.begin(super::harness::DRAIN);
    let frames = client.rest_of_frames().await;
    let refused = frames.iter().filter(|(kind, _)| *kind == RST_STREAM).map(|(_, payload)| payload[3]);
    assert_eq!(refused.collect::<Vec<_>>(), [7], "REFUSED_STREAM, once");
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let server = Server::start(listener());
    let mut other = server.connect().await;
    other.get("/").await;
    let mut flood = Raw::new(TcpStream::connect(server.address()).await.unwrap());
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for stream in (1..4000).step_by(2) {
        bytes.extend(frame(HEADERS, 5, stream, GET));
        bytes.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    }
    let reading = async {
        // The server may close while we still write.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut flood.stream, &bytes).await;
        flood.rest().await
    };
    let frames = frames(&must(reading).await);
    let goaway = frames.iter().find(|(kind, _)| *kind == GOAWAY);
    if let Some((_, payload)) = goaway {
        assert_eq!(payload[4..8], 11u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    }
    assert!(server.requests() < 2000, "{}", server.requests());
    assert!(other.get("/").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn certificates_and_limits_change_without_closing_the_listener() {
    let server = Server::start(listener());
    let address = server.address();
    let mut before = server.connect().await;
    before.get("/").await;
    let smaller = listener_with(|listener| listener.limits.idle_timeout = SOON);
    server.listeners.rebind(&[smaller], &[]).unwrap();
    assert_eq!(server.address(), address);
    // The new limit holds for new connections.
    server.connect().await.rest().await;
    assert!(before.get("/").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_reload_opens_and_closes_listeners_and_keeps_their_connections() {
    let server = Server::start(listener());
    let old = server.address();
    let mut before = server.connect().await;
    before.get("/").await;
    let other = listener_with(|listener| {
        listener.name = "other".into();
        listener.address = sidegate::config::Address::Tcp("127.0.0.2:0".parse().unwrap());
    });
    server.listeners.rebind(&[other], &[]).unwrap();
    assert!(server.connect().await.get("/").await.starts_with("HTTP/1.1 200 "));
    assert!(before.get("/").await.starts_with("HTTP/1.1 200 "));
    let refused = async {
        while let Ok(stream) = TcpStream::connect(old).await {
            drop(stream);
            tokio::task::yield_now().await;
        }
    };
    must(refused).await;
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing() {
    let server = Server::start(listener());
    let address = server.address();
    let broken = listener_with(|listener| {
        listener.address = sidegate::config::Address::Unix("/nowhere/at/all".into());
    });
    assert!(server.listeners.rebind(&[listener(), broken], &[]).is_err());
    assert_eq!(server.address(), address);
    assert_eq!(server.listeners.addresses().len(), 1);
    assert!(server.connect().await.get("/").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_http2_answer_whose_window_never_opens_is_cut() {
    let server = Server::start(listener_with(|listener| listener.limits.idle_timeout = SOON));
    let mut client = server.connect().await;
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    client.send([PREFACE, &no_window, &frame(HEADERS, 5, 1, GET)].concat()).await;
    let frames = client.rest_of_frames().await;
    assert!(frames.iter().any(|(kind, _)| *kind == HEADERS));
    while server.listeners.stats()[0].open() > 0 {
        must(tokio::task::yield_now()).await;
    }
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_http2_connection() {
    let server = Server::start(listener_with(|listener| listener.limits.idle_timeout = SOON));
    let mut client = TcpStream::connect(server.address()).await.unwrap();
    client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let pinging = async {
        while server.listeners.stats()[0].accepted() == 0 || server.listeners.stats()[0].open() > 0 {
            // It fails once the server has closed.
            let _ = client.write_all(&frame(PING, 0, 0, &[7; 8])).await;
            tokio::time::sleep(SOON / 4).await;
        }
    };
    must(pinging).await;
}
