//! Two workers, and connections that stay.

use tokio::net::{TcpStream, UnixStream};

use super::harness::{DRAIN, Raw, Server, body, folder, h2, listener, listener_with, must, request};
use sidegate::config::Address;

#[tokio::test]
async fn a_few_long_http2_connections_are_spread_over_the_workers() {
    let server = Server::start(listener());
    let mut clients = Vec::new();
    for _ in 0..8 {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let (mut client, connection) = h2(stream).await;
        let worker = body(must(client.send_request(request("/worker"))).await.unwrap()).await;
        clients.push((client, connection, worker));
    }
    for worker in ["0", "1"] {
        let served = clients.iter().filter(|(.., by)| by == worker).count();
        // Not always four: on a machine that does something else a worker may look busy.
        assert!((3..=5).contains(&served), "worker {worker} serves {served} of 8");
    }
    // And they stay there.
    for (client, _, worker) in &mut clients {
        assert_eq!(&body(must(client.send_request(request("/worker"))).await.unwrap()).await, worker);
    }
    assert_eq!(server.listeners.stats()[0].open(), 8);
}

#[tokio::test]
async fn connections_of_a_unix_socket_are_spread_as_well() {
    let path = folder().join("s");
    let _server = Server::start(listener_with(|listener| listener.address = Address::Unix(path.clone())));
    let (mut clients, mut workers) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let mut client = Raw::new(UnixStream::connect(&path).await.unwrap());
        workers.push(client.get("/worker").await.pop().unwrap());
        clients.push(client);
    }
    let first = workers.iter().filter(|worker| **worker == '0').count();
    assert!((3..=5).contains(&first), "{workers:?}");
}

#[tokio::test]
async fn a_drain_waits_for_connections_wherever_they_are_served() {
    let server = Server::start(listener());
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = server.connect().await;
        client.send("GET /hold HTTP/1.1\r\nhost: test\r\n\r\n").await;
        server.held().await;
        clients.push(client);
    }
    server.shutdown.begin(DRAIN);
    for _ in &clients {
        server.release();
    }
    for client in &mut clients {
        assert!(client.answer().await.ends_with(" plain"));
    }
    let summary = server.ended().await;
    assert_eq!((summary.finished, summary.cut), (6, 0));
}
