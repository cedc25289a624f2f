//! The orderly end.

use std::time::Duration;

use sidegate::{
    config::Drain,
    server::{Phase, Summary},
};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{
    frames::{GET_HOLD, GOAWAY, HEADERS, PREFACE, SETTINGS, frame},
    harness::{DRAIN, Raw, SOON, Server, listener, listener_with, must},
};

/// Waits until nobody listens on the server's port.
async fn refused(address: std::net::SocketAddr) {
    let refused = async {
        while let Ok(stream) = TcpStream::connect(address).await {
            drop(stream);
            tokio::task::yield_now().await;
        }
    };
    must(refused).await;
}

#[tokio::test]
async fn a_drain_waits_for_a_request_in_flight_and_refuses_new_connections() {
    let server = Server::start(listener());
    let address = server.address();
    let mut client = server.connect().await;
    client.send("GET /hold HTTP/1.1\r\nhost: test\r\n\r\n").await;
    server.held().await;
    server.shutdown.begin(DRAIN);
    refused(address).await;
    server.release();
    let answer = client.answer().await;
    // Whether it says `connection: close` depends on who is first, the answer or the drain; that it closes does not.
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(client.rest().await.is_empty());
    let summary = server.ended().await;
    assert_eq!(summary.cut, 0);
    assert!(summary.finished >= 1);
}

#[tokio::test]
async fn an_idle_connection_closes_at_once() {
    let server = Server::start(listener());
    let mut client = server.connect().await;
    client.get("/").await;
    server.shutdown.begin(DRAIN);
    assert!(client.rest().await.is_empty());
    assert_eq!(server.ended().await, Summary { finished: 1, cut: 0 });
}

#[tokio::test]
async fn what_is_left_is_cut_at_the_timeout() {
    let server = Server::start(listener());
    let mut client = server.connect().await;
    client.send("GET /hold HTTP/1.1\r\nhost: test\r\n\r\n").await;
    server.held().await;
    server.shutdown.begin(Drain { delay: Duration::ZERO, timeout: SOON });
    assert!(client.rest().await.is_empty());
    assert_eq!(server.ended().await, Summary { finished: 0, cut: 1 });
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let server = Server::start(listener());
    let mut client = server.connect().await;
    client.send("GET /hold HTTP/1.1\r\nhost: test\r\n\r\n").await;
    server.held().await;
    server.shutdown.begin(DRAIN);
    refused(client.stream.peer_addr().unwrap()).await;
    server.shutdown.abort();
    assert!(client.rest().await.is_empty());
    // Those that only came to see whether somebody listens may be among them.
    assert!(server.ended().await.cut >= 1);
}

#[tokio::test]
async fn during_the_delay_connections_are_still_accepted() {
    let server = Server::start(listener());
    server.shutdown.begin(Drain { delay: Duration::from_secs(3600), timeout: SOON });
    assert!(matches!(server.shutdown.phase(), Phase::Draining(_)));
    assert!(server.connect().await.get("/").await.starts_with("HTTP/1.1 200 "));
    server.shutdown.abort();
    server.ended().await;
}

#[tokio::test]
async fn an_http2_client_sees_goaway_and_its_request_finishes() {
    let server = Server::start(listener());
    let mut client = server.connect().await;
    client.send([PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 5, 1, GET_HOLD)].concat()).await;
    server.held().await;
    server.shutdown.begin(DRAIN);
    let mut seen = Vec::new();
    while !seen.iter().any(|(kind, _)| *kind == GOAWAY) {
        seen.push(client.frame().await);
    }
    assert!(!seen.iter().any(|(kind, _)| *kind == HEADERS));
    server.release();
    seen.extend(client.rest_of_frames().await);
    assert!(seen.iter().any(|(kind, _)| *kind == HEADERS));
    let (_, last) = seen.iter().rfind(|(kind, _)| *kind == GOAWAY).unwrap();
    assert_eq!(last[..8], [0, 0, 0, 1, 0, 0, 0, 0], "stream 1 was the last, and there is no error");
    assert_eq!(server.ended().await, Summary { finished: 1, cut: 0 });
}

#[tokio::test]
async fn what_waits_in_the_backlog_is_served_before_the_listener_closes() {
    let server = Server::start(listener_with(|listener| listener.limits.connections = 10));
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        clients.push(client);
    }
    server.shutdown.begin(DRAIN);
    for client in &mut clients {
        assert!(client.answer().await.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(server.ended().await.cut, 0);
}

#[tokio::test]
async fn a_drain_that_begins_before_the_workers_run_still_serves_the_backlog() {
    let server = Server::start(listener());
    // A blocking connect: nothing else runs on this thread in between, so the server has not started.
    let stream = std::net::TcpStream::connect(server.address()).unwrap();
    stream.set_nonblocking(true).unwrap();
    server.shutdown.begin(DRAIN);
    let mut client = Raw::new(TcpStream::from_std(stream).unwrap());
    assert!(client.get("/").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.ended().await.cut, 0);
}

#[tokio::test]
async fn a_tracked_tunnel_is_waited_for() {
    let server = Server::start(listener());
    let tunnel = server.shutdown.track();
    server.shutdown.begin(DRAIN);
    must(server.shutdown.draining()).await;
    drop(tunnel);
    assert_eq!(server.ended().await.cut, 0);
}

/// A client whose connection has become a tunnel.
async fn tunnel(server: &Server) -> Raw<TcpStream> {
    let mut client = server.connect().await;
    client.send("GET /tunnel HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: t\r\n\r\n").await;
    assert!(client.answer().await.starts_with("HTTP/1.1 101 "));
    client.send("a").await;
    assert_eq!(must(client.stream.read_u8()).await.unwrap(), b'a');
    client
}

#[tokio::test]
async fn an_upgraded_connection_counts_until_it_ends_and_a_drain_waits_for_it() {
    let server = Server::start(listener_with(|listener| listener.limits.idle_timeout = SOON));
    let mut client = tunnel(&server).await;
    server.shutdown.begin(DRAIN);
    refused(client.stream.peer_addr().unwrap()).await;
    assert!(server.shutdown.open() >= 1);
    client.send("b").await;
    assert_eq!(must(client.stream.read_u8()).await.unwrap(), b'b');
    drop(client);
    assert_eq!(server.ended().await.cut, 0);
}

#[tokio::test]
async fn a_tunnel_is_cut_at_the_timeout() {
    let server = Server::start(listener());
    let mut client = tunnel(&server).await;
    server.shutdown.begin(Drain { delay: Duration::ZERO, timeout: SOON });
    assert!(client.rest().await.is_empty());
    assert_eq!(server.ended().await, Summary { finished: 0, cut: 1 });
}
