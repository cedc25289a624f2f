//! A forwarded request, from a client's bytes to the upstream's.

use serde_json::json;

use crate::support::{Issuer, Sidegate, Upstream, get};

#[tokio::test]
async fn a_good_token_is_forwarded_and_the_upstream_never_sees_it() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;

    let reply = get(sidegate.public, "/orders/7?a=b", &issuer.token()).await;

    assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello"));
    let seen = upstream.last();
    assert_eq!(seen.target, "/orders/7?a=b");
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("x-request-id"), reply.header("x-request-id"));
}

#[tokio::test]
async fn without_a_token_the_answer_is_401_and_the_upstream_hears_nothing() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;

    let reply = get(sidegate.public, "/orders", "").await;

    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"sidegate\""));
    assert_eq!(reply.code(), "token_missing");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_token_expires_by_the_clock_even_when_it_is_cached() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;
    let token = issuer.token_with(json!({"exp": crate::support::issuer::now() + 60}));

    assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
    sidegate.time.advance(60 + 31);

    let reply = get(sidegate.public, "/", &token).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (401, "invalid_token"));
    assert_eq!(upstream.count(), 1);
}
