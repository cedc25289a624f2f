//! The PROXY protocol in front of HTTP.

use std::net::SocketAddr;

use sidegate::config::Listener;

use super::harness::{SOON, Server, listener_with};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

fn required() -> Listener {
    listener_with(|listener| {
        listener.proxy_protocol = true;
        listener.limits.header_read_timeout = SOON;
    })
}

fn server() -> Server {
    Server::start_trusting(required(), &["127.0.0.0/8"])
}

/// Version 2 with `command` and the source 192.0.2.7:4711.
fn version2(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 1]);
    header.extend([4711u16.to_be_bytes(), 80u16.to_be_bytes()].concat());
    header
}

async fn peer_after(header: &[u8]) -> (String, SocketAddr) {
    let server = server();
    let mut client = server.connect().await;
    client.send([header, GET].concat()).await;
    let answer = client.answer().await;
    let peer = answer.rsplit(" ").nth(1).unwrap().to_owned();
    (peer, client.stream.local_addr().unwrap())
}

#[tokio::test]
async fn both_versions_name_the_client() {
    let (peer, _) = peer_after(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n").await;
    assert_eq!(peer, "192.0.2.7:4711");
    let (peer, _) = peer_after(&version2(1)).await;
    assert_eq!(peer, "192.0.2.7:4711");
}

#[tokio::test]
async fn unknown_and_local_keep_the_direct_peer() {
    for header in [&b"PROXY UNKNOWN\r\n"[..], &version2(0)] {
        let (peer, local) = peer_after(header).await;
        assert_eq!(peer, local.to_string());
    }
}

#[tokio::test]
async fn without_a_header_or_with_garbage_the_connection_closes() {
    let server = server();
    for bytes in [GET, b"PROXY TCP4 one two 3 4\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut client = server.connect().await;
        client.send(bytes).await;
        assert!(client.rest().await.is_empty());
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn nobody_but_a_trusted_peer_may_name_a_client() {
    let server = Server::start_trusting(required(), &["192.0.2.0/24"]);
    let mut client = server.connect().await;
    client.send([b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n", GET].concat()).await;
    assert!(client.rest().await.is_empty());
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_slow_header_is_closed() {
    let server = server();
    for start in [&b"PROXY TCP4 192.0.2.7 "[..], &version2(1)[..20], b""] {
        let mut client = server.connect().await;
        client.send(start).await;
        assert!(client.rest().await.is_empty());
    }
}
