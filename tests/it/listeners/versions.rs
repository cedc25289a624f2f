//! HTTP/1.1 and HTTP/2 on plain sockets.

use std::{fs, os::unix::fs::PermissionsExt};

use sidegate::{
    config::{Address, Protocols},
    server::PlainServer,
};
use tokio::net::{TcpStream, UnixStream};

use super::harness::{DRAIN, Raw, Server, body, folder, h2, listener, listener_with, must, request};

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = Server::start(listener());
    let mut client = server.connect().await;
    for _ in 0..3 {
        assert!(client.get("/").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(server.listeners.stats()[0].accepted(), 1);
    assert_eq!(server.listeners.stats()[0].open(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_a_begun_one_holds_nothing_back() {
    let server = Server::start(listener());
    let mut client = server.connect().await;
    let echo = |body: &str| format!("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\n{body}");
    client.send(echo("1") + &echo("2") + "GET / HT").await;
    assert!(client.answer().await.ends_with("1"));
    assert!(client.answer().await.ends_with("2"));
    client.send("TP/1.1\r\nhost: test\r\n\r\n").await;
    assert!(client.answer().await.ends_with(" plain"));
}

#[tokio::test]
async fn http2_is_spoken_with_prior_knowledge() {
    let server = Server::start(listener());
    let (mut client, _connection) = h2(TcpStream::connect(server.address()).await.unwrap()).await;
    for _ in 0..3 {
        let response = must(client.send_request(request("/"))).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert!(body(response).await.ends_with(" plain"));
    }
}

#[tokio::test]
async fn the_first_bytes_may_come_one_by_one() {
    let server = Server::start(listener());
    let mut client = server.connect().await;
    for byte in b"PRI / HTTP/1.1\r\nhost: test\r\n\r\n" {
        client.send([*byte]).await;
    }
    assert!(client.answer().await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_version_that_is_switched_off_is_not_spoken() {
    let no_h2 = Server::start(listener_with(|listener| listener.protocols = Protocols { http1: true, http2: false }));
    let mut client = no_h2.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = String::from_utf8(client.rest().await).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");

    let no_h1 = Server::start(listener_with(|listener| listener.protocols = Protocols { http1: false, http2: true }));
    let mut client = no_h1.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    client.rest().await;
    assert_eq!(no_h2.requests() + no_h1.requests(), 0);
}

#[tokio::test]
async fn a_unix_socket_is_for_its_group_and_goes_away_at_the_end() {
    let path = folder().join("s");
    // What a killed process leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Server::start(listener_with(|listener| listener.address = Address::Unix(path.clone())));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut client = Raw::new(UnixStream::connect(&path).await.unwrap());
    assert!(client.get("/").await.ends_with("ok unix plain"));
    server.shutdown.begin(DRAIN);
    drop(client);
    server.ended().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_unix_socket_on_which_somebody_answers_is_left_alone() {
    let path = folder().join("s");
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let taken = listener_with(|listener| listener.address = Address::Unix(path.clone()));
    assert!(sidegate::server::Listeners::bind(&[taken], &[]).is_err());
    assert!(path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_never_removed() {
    let path = folder().join("s");
    fs::write(&path, "precious").unwrap();
    let taken = listener_with(|listener| listener.address = Address::Unix(path.clone()));
    assert!(sidegate::server::Listeners::bind(&[taken], &[]).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn a_panic_answers_500_and_the_connection_lives_on() {
    let server = Server::start(listener());
    let mut client = server.connect().await;
    assert!(client.get("/panic").await.starts_with("HTTP/1.1 500 "));
    assert!(client.get("/").await.starts_with("HTTP/1.1 200 "));

    let (mut client, _connection) = h2(TcpStream::connect(server.address()).await.unwrap()).await;
    assert_eq!(must(client.send_request(request("/panic"))).await.unwrap().status(), 500);
    assert_eq!(must(client.send_request(request("/"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_small_server_answers_on_the_callers_runtime() {
    let server = PlainServer::bind("health", Some(&listener().address)).unwrap();
    let Some(Address::Tcp(address)) = server.address() else { panic!("a port was asked for") };
    let probe = Server::start(listener()).probe.clone();
    let serving = tokio::spawn(server.serve(probe));
    let mut client = Raw::new(TcpStream::connect(address).await.unwrap());
    assert!(client.get("/").await.starts_with("HTTP/1.1 200 "));
    serving.abort();
}
