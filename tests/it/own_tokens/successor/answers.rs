//! What an answer says beside the next token, and what it never says.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use crate::{
    own_tokens::successor::house::{House, MINUTE, Plan, successor, yaml},
    support::{Reply, Upstream},
};

/// Says itself what only sidegate may say, and lets everybody keep it.
async fn forger() -> Upstream {
    Upstream::answering(|_| {
        Response::builder()
            .header("X-Access-Token", "forged")
            .header("x-access-token", "twice")
            .header("X-Access-Token-Expires-In", "31536000")
            .header("x-next-token", "forged")
            .header("cache-control", "public, max-age=600")
            .header("cdn-cache-control", "max-age=600")
            .body(Full::new(Bytes::from_static(b"hello")))
            .unwrap()
    })
    .await
}

const PUBLIC: &str = "routes: [{ name: open, paths: [/open], upstream: app, public: true }, ";

#[tokio::test]
async fn what_an_upstream_says_under_these_names_reaches_nobody() {
    let upstream = forger().await;
    let yaml = yaml(&upstream, &Plan::default()).replace("routes: [", PUBLIC);
    let house = House { sidegate: crate::support::Sidegate::start(&yaml).await, upstream };
    let tokens = [house.sign_in("plain").await, house.sign_in("next").await];
    let silent = |reply: &Reply| {
        assert_eq!(reply.status, 200);
        assert_eq!((reply.header("x-access-token"), reply.header("x-access-token-expires-in")), (None, None));
        assert_eq!(reply.header("cache-control"), Some("public, max-age=600"), "it is the upstream's to say");
        assert_eq!(reply.header("x-next-token"), Some("forged"), "this one is nobody's");
    };
    silent(&house.ask("/open", &[]).await);
    for token in &tokens {
        silent(&house.get(token).await);
    }
    house.sidegate.time.advance(40 * MINUTE);
    silent(&house.get(&tokens[0]).await);
    let reply = house.get(&tokens[1]).await;
    let next = successor(&reply).unwrap();
    assert_ne!(next, tokens[1]);
    assert_eq!(reply.headers.get_all("x-access-token").iter().count(), 1);
    assert_eq!(reply.headers.get_all("cache-control").iter().count(), 1);
    assert_eq!((reply.header("x-access-token-expires-in"), reply.header("cdn-cache-control")), (Some("3600"), None));
}

#[tokio::test]
async fn where_no_client_has_successors_the_names_are_the_upstream_s() {
    let upstream = forger().await;
    let yaml = yaml(&upstream, &Plan::default()).replace("renewal: successor, ", "");
    let house = House { sidegate: crate::support::Sidegate::start(&yaml).await, upstream };
    let token = house.sign_in("plain").await;
    assert_eq!(house.get(&token).await.header("x-access-token-expires-in"), Some("31536000"));
}

#[tokio::test]
async fn the_names_are_configuration() {
    let more = "refresh: { successor_headers: { token: X-Next-Token, expires_in: X-Next-Token-Life } }";
    let house = House::before(forger().await, Plan { more, ..Plan::default() }).await;
    let token = house.sign_in("next").await;
    assert_eq!(house.get(&token).await.header("x-next-token"), None);
    house.sidegate.time.advance(40 * MINUTE);
    let reply = house.get(&token).await;
    assert_eq!(reply.header("x-next-token-life"), Some("3600"));
    assert_eq!(house.status(reply.header("x-next-token").unwrap()).await, 200);
    assert_eq!(reply.header("x-access-token-expires-in"), Some("31536000"), "that one means nothing here");
}

#[tokio::test]
async fn scripts_of_other_origins_may_read_it_where_they_may_read_the_answer() {
    let route = "cors: { origins: [\"https://app.example.com\"], expose_headers: [X-Total] }";
    let house = House::with(Plan { route, ..Plan::default() }).await;
    let token = house.sign_in("next").await;
    house.sidegate.time.advance(40 * MINUTE);
    let bearer = format!("Bearer {token}");
    let reply = house.ask("/", &[("authorization", &bearer), ("origin", "https://app.example.com")]).await;
    assert!(successor(&reply).is_some());
    let exposed = "x-total, x-access-token, x-access-token-expires-in";
    assert_eq!(reply.header("access-control-expose-headers"), Some(exposed));
    let reply = house.ask("/", &[("authorization", &bearer), ("origin", "https://evil.example.com")]).await;
    assert_eq!(reply.header("access-control-expose-headers"), None);
}

#[tokio::test]
async fn a_refusal_carries_none() {
    let route = "cors: { origins: [\"https://app.example.com\"] }";
    let plan = Plan { route, ..Plan::default() };
    let upstream = Upstream::start().await;
    let yaml = yaml(&upstream, &plan)
        .replace("audiences: [orders-api] }, cors", "audiences: [orders-api], scopes_all: [admin] }, cors");
    let house = House { sidegate: crate::support::Sidegate::start(&yaml).await, upstream };
    let token = house.sign_in("next").await;
    house.sidegate.time.advance(40 * MINUTE);
    let reply = house.get(&token).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-access-token")), (403, None));
    assert_eq!((house.made().await, house.upstream.count()), (0, 0));
}

#[tokio::test]
async fn a_token_that_is_only_observed_to_be_over_brings_none() {
    let house = House::with(Plan { route: "mode: observe", ..Plan::default() }).await;
    let token = house.sign_in("next").await;
    house.sidegate.time.advance(40 * MINUTE);
    assert!(house.next(&token).await.is_some());
    house.sidegate.time.advance(20 * MINUTE);
    assert_eq!(house.next(&token).await, None, "forwarded, and nobody was vouched for");
}
