//! A client that refreshes: the authority must agree first, once.

use futures_util::future::join_all;
use serde_json::json;

use super::house::House;
use crate::oauth::house::{assert_refused, text};

#[tokio::test]
async fn a_refresh_of_the_client_renews_at_the_authority_once() {
    let house = House::new().await;
    let first = house.signed_in().await;
    let second = house.refreshed(&text(&first, "refresh_token")).await;
    assert_eq!(second.status, 200);
    assert_eq!(house.outside.refreshes(), 1);
    assert_eq!(house.get(&text(&second, "access_token")).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-2");
    // A retry of the same is answered from what is known.
    let again = house.refreshed(&text(&first, "refresh_token")).await;
    assert_eq!(text(&again, "refresh_token"), text(&second, "refresh_token"));
    assert_eq!(house.outside.refreshes(), 1);
    house.refreshed(&text(&second, "refresh_token")).await;
    assert_eq!(house.outside.refreshes(), 2);
}

#[tokio::test]
async fn many_workers_that_refresh_at_once_redeem_once_and_all_get_the_same_successor() {
    let house = House::new().await;
    let refresh = text(&house.signed_in().await, "refresh_token");
    let replies = join_all((0..32).map(|_| house.refreshed(&refresh))).await;
    let tokens: Vec<String> = replies.iter().map(|reply| text(reply, "refresh_token")).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(house.outside.refreshes(), 1);
}

#[tokio::test]
async fn while_the_authority_is_away_no_refresh_token_rotates() {
    let house = House::new().await;
    let refresh = text(&house.signed_in().await, "refresh_token");
    house.outside.broken(503, None, json!({}));
    let reply = house.refreshed(&refresh).await;
    assert_refused(&reply, 503, "temporarily_unavailable");
    assert!(reply.header("retry-after").is_some());
    house.sidegate.time.advance(120);
    house.outside.mended();
    let reply = house.refreshed(&refresh).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn what_the_authority_has_ended_cannot_be_refreshed() {
    let house = House::new().await;
    let first = house.signed_in().await;
    assert_eq!(house.get(&text(&first, "access_token")).await.status, 200);
    house.outside.forget();
    assert_refused(&house.refreshed(&text(&first, "refresh_token")).await, 400, "invalid_grant");
    assert_eq!(house.get(&text(&first, "access_token")).await.status, 401, "at once");
}
