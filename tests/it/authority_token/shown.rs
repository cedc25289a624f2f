//! What the upstream sees, and when it is renewed.

use futures_util::future::join_all;
use serde_json::json;

use super::house::House;
use crate::support::Reply;

#[tokio::test]
async fn the_upstream_sees_the_token_of_the_authority_and_never_the_client_s() {
    let house = House::new().await;
    let token = house.access().await;
    assert!(token.starts_with("sga1_"));
    let reply = house.get(&token).await;
    assert_eq!(reply.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-1");
    assert_eq!(house.upstream.last().header("x-user"), Some("ana"), "identity headers go with it");
    let values = house.upstream.last().headers;
    assert!(values.values().all(|value| !value.to_str().unwrap().contains(&token)));
    assert_eq!(house.outside.asked().len(), 1, "as long as it is fresh nobody is asked");
}

#[tokio::test]
async fn a_token_that_is_over_soon_is_used_and_renewed_beside_the_request() {
    let house = House::new().await;
    let token = house.access().await;
    house.outside.hold(true);
    house.sidegate.time.advance(280);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-1", "the request does not wait");
    house.outside.hold(false);
    house.until(async || house.get(&token).await.status == 200 && house.shown() == "Bearer canary-at-2").await;
    assert_eq!(house.outside.refreshes(), 1);
}

#[tokio::test]
async fn a_request_whose_token_is_over_waits_for_the_next_one() {
    let house = House::new().await;
    let token = house.access().await;
    house.sidegate.time.advance(400);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-2");
}

#[tokio::test]
async fn many_workers_that_cross_the_end_at_once_redeem_once_and_none_sends_what_is_over() {
    let house = House::new().await;
    let token = house.access().await;
    house.sidegate.time.advance(300);
    let replies = join_all((0..64).map(|_| house.get(&token))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(house.outside.refreshes(), 1);
    let seen = house.upstream.seen();
    assert_eq!(seen.len(), 64);
    assert!(seen.iter().all(|seen| seen.header("authorization") == Some("Bearer canary-at-2")));
}

#[tokio::test]
async fn while_the_authority_is_away_what_is_good_is_used_and_then_503_until_it_is_back() {
    let house = House::new().await;
    let token = house.access().await;
    house.outside.broken(500, None, json!({}));
    house.sidegate.time.advance(290);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-1");
    house.sidegate.time.advance(10);
    let reply = house.get(&token).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "temporarily_unavailable"));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(reply.header("www-authenticate"), None, "it would make clients throw a good token away");
    assert_eq!(house.upstream.count(), 1);
    house.outside.mended();
    house.sidegate.time.advance(60);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-2");
}

#[tokio::test]
async fn what_the_authority_says_of_trying_again_is_passed_on() {
    let house = House::new().await;
    let token = house.access().await;
    house.outside.broken(429, Some("7"), json!({}));
    house.sidegate.time.advance(300);
    let retry_after = |reply: &Reply| reply.header("retry-after").unwrap().parse::<u64>().unwrap();
    let reply = house.get(&token).await;
    // The clock goes on as well.
    assert_eq!((reply.status.as_u16(), (6..=7).contains(&retry_after(&reply))), (503, true));
    house.sidegate.time.advance(4);
    let reply = house.get(&token).await;
    assert_eq!((reply.status.as_u16(), (1..=3).contains(&retry_after(&reply))), (503, true));
    assert_eq!(house.outside.refreshes(), 1);
}

#[tokio::test]
async fn a_session_that_the_authority_has_ended_is_over_here_too() {
    let house = House::new().await;
    let token = house.access().await;
    house.outside.forget();
    house.sidegate.time.advance(300);
    let reply = house.get(&token).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (401, "invalid_token"));
    assert!(reply.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    assert_eq!(house.get(&token).await.status, 401);
    assert_eq!(house.outside.refreshes(), 1, "nobody asks for a session that is over");
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn a_clock_that_is_set_back_has_what_is_of_unknown_age_renewed_before_it_is_shown() {
    let house = House::new().await;
    let token = house.access().await;
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-1");
    house.sidegate.time.advance(-3600);
    for _ in 0..2 {
        assert_eq!(house.get(&token).await.status, 200);
        assert_eq!((house.shown().as_str(), house.outside.refreshes()), ("Bearer canary-at-2", 1));
    }
}
