//! A route that needs a credential to last: what has less left is renewed first, or the request refused.

use serde_json::json;

use super::house::{House, Outside, yaml};
use crate::{
    oauth::house::text,
    support::{Sidegate, Upstream, get},
};

/// Where the route called `route` needs `need`.
async fn house(route: &str, need: &str) -> House {
    let (outside, upstream) = (Outside::start().await, Upstream::start().await);
    let yaml = yaml(&outside, &upstream, "", "store: { memory: {} }\n");
    let yaml = yaml.replace(&format!("name: {route}, "), &format!("name: {route}, min_life: {need}, "));
    let sidegate = Sidegate::start(&yaml).await;
    House { outside, upstream, sidegate }
}

#[tokio::test]
async fn a_request_never_starts_with_less_of_the_authority_s_token_than_its_route_needs() {
    let house = house("all", "60s").await;
    let token = house.access().await;
    house.sidegate.time.advance(235);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-1");
    house.sidegate.time.advance(10);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-2", "the request has waited");
    assert_eq!(house.outside.refreshes(), 1);
}

#[tokio::test]
async fn while_the_authority_is_away_a_token_that_is_good_but_too_short_is_not_sent() {
    let house = house("all", "60s").await;
    let token = house.access().await;
    house.sidegate.time.advance(245);
    house.outside.broken(503, None, json!({}));
    let refused = house.get(&token).await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(house.upstream.count(), 0);
    house.outside.mended();
    house.sidegate.time.advance(2);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-2");
}

#[tokio::test]
async fn what_cannot_be_renewed_is_refused_once_it_has_less_than_is_needed() {
    let house = house("all", "60s").await;
    house.outside.bare();
    let token = house.access().await;
    assert_eq!(house.get(&token).await.status, 200);
    house.sidegate.time.advance(245);
    let refused = house.get(&token).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "invalid_token"));
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn an_authority_whose_tokens_never_last_so_long_is_not_flooded_for_better_ones() {
    let house = house("all", "10m").await;
    let token = house.access().await;
    for _ in 0..5 {
        assert_eq!(house.get(&token).await.status, 503);
        house.sidegate.time.advance(2);
    }
    assert_eq!((house.outside.refreshes(), house.upstream.count()), (0, 0));
}

#[tokio::test]
async fn an_internal_jwt_is_minted_anew_when_it_has_less_than_is_needed() {
    let house = house("jwt", "110s").await;
    let token = house.access().await;
    let shown = async || {
        assert_eq!(get(house.sidegate.public, "/jwt", &token).await.status, 200);
        house.shown()
    };
    let first = shown().await;
    assert_eq!(shown().await, first);
    house.sidegate.time.advance(15);
    assert_ne!(shown().await, first);
}

#[tokio::test]
async fn a_client_s_own_token_is_refused_where_less_of_it_is_left_than_its_route_needs() {
    for (route, path) in [("original", "/original"), ("jwt", "/jwt")] {
        let house = house(route, "60s").await;
        let reply = house.signed_in().await;
        let token = text(&reply, "access_token");
        let life = reply.json()["expires_in"].as_i64().unwrap();
        house.sidegate.time.advance(life - 70);
        assert_eq!(get(house.sidegate.public, path, &token).await.status, 200);
        house.sidegate.time.advance(20);
        let refused = get(house.sidegate.public, path, &token).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "invalid_token"), "{path}");
        assert_eq!(house.upstream.count(), 1);
    }
}
