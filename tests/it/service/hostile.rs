//! Answers that nobody can use: none of them is shown to an upstream, and the next good one mends everything.

use bytes::Bytes;
use serde_json::json;

use super::house::{By, House, IMPATIENT};
use crate::support::authority::Mood;

#[tokio::test]
async fn whatever_an_authority_answers_no_token_is_made_of_it_that_is_none() {
    let saying = |status, body: serde_json::Value| Mood::Saying(status, Bytes::from(body.to_string()));
    for mood in [
        Mood::Garbage,
        Mood::Status(200),
        Mood::Status(301),
        Mood::Status(401),
        Mood::Status(500),
        Mood::InvalidClient,
        saying(200, json!({"access_token": "at\r\nx-injected: 1", "expires_in": 300})),
        saying(200, json!({"access_token": "at-\u{e9}\u{1f600}\u{0}", "expires_in": 300})),
        saying(200, json!({"access_token": "", "expires_in": 300})),
        saying(200, json!({"access_token": ["at"], "expires_in": 300})),
        saying(200, json!({"access_token": "at", "token_type": "mac", "expires_in": 300})),
        saying(200, json!({"error": "invalid_grant"})),
        saying(400, json!({"error": "invalid_grant"})),
        saying(200, json!({"access_token": "x".repeat(300_000), "expires_in": 300})),
    ] {
        let house = House::with(By::ClientCredentials, IMPATIENT, |authority| authority.is(mood.clone())).await;
        house.asked(1).await;
        let refused = house.get("/").await;
        assert_eq!(refused.status, 503, "{mood:?}");
        assert_eq!(house.upstream.count(), 0, "{mood:?}");
        assert_eq!(house.status().await["valid"], false, "{mood:?}");
        house.authority.is(Mood::Good);
        house.sidegate.time.advance(31);
        house.kept(1).await;
        assert_eq!(house.shown().await, house.newest(), "{mood:?}");
    }
}

#[tokio::test]
async fn lifetimes_that_make_no_sense_are_bounded() {
    for (expires_in, least, most) in [
        (json!(0), 50, 60),
        (json!(-5), 50, 60),
        (json!("never"), 50, 60),
        (json!(null), 50, 60),
        (json!(1e300), 50, 366 * 86_400),
        (json!(u64::MAX), 3600, 366 * 86_400),
    ] {
        let body = json!({"access_token": "at-bounded", "expires_in": expires_in}).to_string();
        let house = House::with(By::ClientCredentials, IMPATIENT, |authority| {
            authority.is(Mood::Saying(200, Bytes::from(body)));
        })
        .await;
        assert_eq!(house.shown().await, "Bearer at-bounded");
        let left = house.status().await["expires_in"].as_u64().unwrap();
        assert!((least..=most).contains(&left), "{expires_in}: {left}");
    }
}

#[tokio::test]
async fn tokens_that_live_for_a_second_are_not_asked_for_without_a_pause() {
    let house = House::with(By::ClientCredentials, IMPATIENT, |authority| {
        authority.script(|script| script.lifetime = 1);
    })
    .await;
    house.kept(1).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(house.authority.asked().len() <= 3, "{}", house.authority.asked().len());
}
