//! A revoked session: its tokens are refused from the next request on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;

use super::Setup;
use crate::support::{client::collect, get, look::assert_invalid_token, request};

#[tokio::test]
async fn a_revoked_token_is_refused_on_the_next_request() {
    let setup = Setup::new().await;
    for (id, token) in [setup.opaque().await, setup.jwt().await] {
        assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
        setup.revoke(id).await;
        for _ in 0..3 {
            assert_invalid_token(&get(setup.sidegate.public, "/", &token).await);
        }
    }
    assert_eq!(setup.sidegate.decisions("all", "token_revoked").await, 6);
}

#[tokio::test]
async fn only_the_tokens_of_the_revoked_session_are_refused() {
    let setup = Setup::new().await;
    let (id, gone) = setup.opaque().await;
    let (_, stays) = setup.opaque().await;
    for token in [&gone, &stays] {
        assert_eq!(get(setup.sidegate.public, "/", token).await.status, 200);
    }
    setup.revoke(id).await;
    assert_eq!(get(setup.sidegate.public, "/", &stays).await.status, 200);
    assert_invalid_token(&get(setup.sidegate.public, "/", &gone).await);
}

/// Every request that begins after the revocation was answered is refused, whoever asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_refused_at_a_thousand_concurrent_clients() {
    const CLIENTS: usize = 1000;
    let setup = Setup::new().await;
    let (id, token) = setup.opaque().await;
    let (revoked, passed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (public, token) = (setup.sidegate.public, token.clone());
        let (revoked, passed) = (revoked.clone(), passed.clone());
        clients.spawn(async move {
            let stream = tokio::net::TcpStream::connect(public).await.unwrap();
            let handshake = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            let mut refused = 0;
            let mut good = 0;
            while refused < 3 {
                sender.ready().await.unwrap();
                // Before the request is written.
                let after = revoked.load(Ordering::SeqCst);
                let reply = collect(sender.send_request(request("GET", "/", &token)).await.unwrap()).await;
                match reply.status.as_u16() {
                    200 if after => return Err("a request that began after the revocation was forwarded"),
                    200 => {
                        good += 1;
                        if good == 1 {
                            passed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    401 => refused += 1,
                    _ => return Err("another answer"),
                }
            }
            if good == 0 { Err("it was never let in") } else { Ok(()) }
        });
    }
    // All of them are in, and at it.
    while passed.load(Ordering::SeqCst) < CLIENTS && !clients.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    setup.revoke(id).await;
    revoked.store(true, Ordering::SeqCst);
    while let Some(outcome) = clients.join_next().await {
        assert_eq!(outcome.unwrap(), Ok(()));
    }
}
