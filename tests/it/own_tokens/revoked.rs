//! A revoked session: its tokens are refused from the next request on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;

use super::Setup;
use crate::{
    oauth::house::{SECRET, form, token},
    support::{client::collect, get, look::assert_invalid_token, request, send},
};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_opaque_token_is_refused_at_a_thousand_concurrent_clients() {
    revoked_at_a_thousand_clients("app").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_jwt_is_refused_at_a_thousand_concurrent_clients() {
    revoked_at_a_thousand_clients("app-jwt").await;
}

/// Every request that begins after the revocation was answered is refused, whoever asks.
async fn revoked_at_a_thousand_clients(client: &str) {
    const CLIENTS: usize = 1000;
    let setup = Setup::new().await;
    let identity = format!("client_id={client}&client_secret={SECRET}");
    let reply = token(&setup.sidegate, &format!("grant_type=client_credentials&{identity}")).await;
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    let (revoked, passed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(use_until_refused(setup.sidegate.public, token.clone(), revoked.clone(), passed.clone()));
    }
    // All of them are in, and at it.
    while passed.load(Ordering::SeqCst) < CLIENTS {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        if let Some(ended) = clients.try_join_next() {
            panic!("a client ended before its time: {ended:?}");
        }
    }
    let reply = send(setup.sidegate.public, form("/oauth20/revoke", &format!("token={token}&{identity}"), &[])).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    revoked.store(true, Ordering::SeqCst);
    while let Some(outcome) = clients.join_next().await {
        assert_eq!(outcome.unwrap(), Ok(()));
    }
}

/// One keep-alive client; its third refusal ends it.
async fn use_until_refused(
    public: std::net::SocketAddr,
    token: String,
    revoked: Arc<AtomicBool>,
    passed: Arc<AtomicUsize>,
) -> Result<(), &'static str> {
    let stream = tokio::net::TcpStream::connect(public).await.unwrap();
    let handshake = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let (mut good, mut refused) = (0, 0);
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
}
