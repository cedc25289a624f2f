//! `tokens: pass_through`: clients have the authority's own access tokens, and refresh tokens of ours.

use super::house::House;
use crate::{
    oauth::house::{as_app, form, introspect, is_active, text},
    support::{get, send},
};

async fn passing() -> House {
    House::with(", tokens: pass_through", "store: { memory: {} }\n").await
}

#[tokio::test]
async fn the_client_has_the_token_of_the_authority_and_a_refresh_token_of_ours() {
    let house = passing().await;
    let reply = house.signed_in().await;
    assert_eq!(text(&reply, "access_token"), "canary-at-1");
    assert!(text(&reply, "refresh_token").starts_with("sg1."));
    assert!(!reply.text().contains("canary-rt"));
    assert!((290..=300).contains(&reply.json()["expires_in"].as_u64().unwrap()));
    assert_eq!(house.get("canary-at-1").await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-1");
    assert_eq!(house.upstream.last().header("x-user"), Some("ana"));
    assert_eq!(get(house.sidegate.public, "/jwt", "canary-at-1").await.status, 200);
    assert!(house.shown().starts_with("Bearer ey"), "another credential is made of it");
    for unknown in ["canary-at-2", "canary-rt-1", "x.y.z"] {
        assert_eq!(house.get(unknown).await.status, 401, "{unknown}");
    }
}

#[tokio::test]
async fn the_newest_token_of_the_session_goes_upstream_whichever_one_came() {
    let house = passing().await;
    house.signed_in().await;
    house.sidegate.time.advance(280);
    house.until(async || house.get("canary-at-1").await.status == 200 && house.shown() == "Bearer canary-at-2").await;
    assert_eq!(get(house.sidegate.public, "/original", "canary-at-1").await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-1", "`original` is what came");
    house.sidegate.time.advance(20);
    assert_eq!(house.get("canary-at-1").await.status, 401, "each ends with its own time");
}

#[tokio::test]
async fn a_refresh_gives_the_next_token_and_leaves_the_last_one_its_time() {
    let house = passing().await;
    let first = house.signed_in().await;
    let second = house.refreshed(&text(&first, "refresh_token")).await;
    assert_eq!(text(&second, "access_token"), "canary-at-2");
    for token in ["canary-at-1", "canary-at-2"] {
        assert_eq!(house.get(token).await.status, 200);
        assert_eq!(house.shown(), "Bearer canary-at-2");
    }
}

#[tokio::test]
async fn no_more_than_sixteen_tokens_of_a_session_are_good_at_once() {
    let house = passing().await;
    let mut refresh = text(&house.signed_in().await, "refresh_token");
    for _ in 0..19 {
        refresh = text(&house.refreshed(&refresh).await, "refresh_token");
    }
    assert_eq!(house.get("canary-at-4").await.status, 401);
    assert_eq!(house.get("canary-at-5").await.status, 200);
    assert_eq!(house.get("canary-at-20").await.status, 200);
}

#[tokio::test]
async fn it_is_introspected_and_revoked_as_one_of_ours() {
    let house = passing().await;
    house.signed_in().await;
    assert_eq!(house.get("canary-at-1").await.status, 200);
    let told = introspect(&house.sidegate, "canary-at-1").await.json();
    assert_eq!((&told["active"], &told["sub"], &told["client_id"]), (&true.into(), &"ana".into(), &"app".into()));
    let revoked = send(house.sidegate.public, form("/oauth20/revoke", &as_app("token=canary-at-1"), &[])).await;
    assert_eq!(revoked.status, 200);
    assert_eq!(house.get("canary-at-1").await.status, 401, "at once");
    assert!(!is_active(&house.sidegate, "canary-at-1").await);
}
