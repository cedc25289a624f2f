use http::StatusCode;
use tokio::sync::oneshot;

use super::*;

const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways_until_both_sides_end() {
    let origin = origin(|mut wire| async move {
        let head = wire.head().await.unwrap();
        assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: echo\r\n"), "{head}");
        // The first bytes of the new protocol come in one piece with the head.
        wire.write(&format!("{SWITCH}welcome")).await;
        let mut read = Vec::new();
        wire.stream.read_to_end(&mut read).await.unwrap();
        // The client's end was passed on; this direction is still open.
        wire.stream.write_all(&read).await.unwrap();
    })
    .await;
    let upstream = upstream(origin.address);
    let gateway = gateway(&upstream, None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(HANDSHAKE).await.unwrap();
    let head = read_head(&mut client).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: echo\r\n"), "{head}");
    let mut welcome = [0; 7];
    client.read_exact(&mut welcome).await.unwrap();
    assert_eq!((&welcome, upstream.snapshot().open), (b"welcome", 1));
    client.write_all(b"ping").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!((rest.as_str(), upstream.snapshot().idle, upstream.snapshot().broken), ("ping", 0, 0));
    until(|| upstream.snapshot().open == 0).await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer_like_any_other() {
    let origin = origin(polite).await;
    let upstream = upstream(origin.address);
    let gateway = gateway(&upstream, None).await;
    let mut client = TcpStream::connect(gateway).await.unwrap();
    client.write_all(HANDSHAKE).await.unwrap();
    assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 200 "));
    client.read_exact(&mut [0; 5]).await.unwrap();
    until(|| upstream.snapshot().idle == 1).await;
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_refused() {
    let origin = origin(|mut wire| async move {
        wire.head().await;
        wire.write(SWITCH).await;
        assert!(wire.is_closed_by_peer().await);
    })
    .await;
    let error = send(&upstream(origin.address), get()).await.err().unwrap();
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_tunnel_can_be_closed_from_outside() {
    let (closed, seen) = oneshot::channel();
    let closed = Mutex::new(Some(closed));
    let origin = origin(move |mut wire| {
        let closed = closed.lock().unwrap().take().unwrap();
        async move {
            wire.head().await;
            wire.write(SWITCH).await;
            closed.send(wire.is_closed_by_peer().await).unwrap();
        }
    })
    .await;
    let upstream = upstream(origin.address);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (close, closing) = oneshot::channel::<()>();
    let closing = Arc::new(Mutex::new(Some(closing)));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let (upstream, closing) = (Arc::clone(&upstream), closing.lock().unwrap().take().unwrap());
            async move {
                let request = request.map(|body| RequestBody::streamed(body, None, None));
                let mut response = send(&upstream, request).await.unwrap();
                let tunnel = response.extensions_mut().remove::<Tunnel>().unwrap();
                tokio::spawn(tunnel.run(async move { drop(closing.await) }));
                Ok::<_, Infallible>(response)
            }
        });
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(HANDSHAKE).await.unwrap();
    read_head(&mut client).await.unwrap();
    close.send(()).unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert!(seen.await.unwrap());
}
