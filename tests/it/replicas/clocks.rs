//! What ends at a moment ends at that moment, whichever replica is asked, and whatever its clock says.

use super::house::Replicas;
use crate::oauth::house::{assert_refused, code, redeem, refresh, text, token};

#[tokio::test]
async fn the_window_of_a_lost_answer_is_the_same_at_each_replica() {
    let replicas = Replicas::start().await;
    for (began, asked) in [(0, 1), (1, 0)] {
        let first = text(&replicas.sign_in(began, "app").await, "refresh_token");
        let lost = text(&refresh(replicas.at(began), &first).await, "refresh_token");
        replicas.time.advance(57);
        let again = refresh(replicas.at(asked), &first).await;
        assert_eq!(text(&again, "refresh_token"), lost);
        replicas.time.advance(6);
        assert_refused(&refresh(replicas.at(asked), &first).await, 400, "invalid_grant");
        assert_refused(&refresh(replicas.at(began), &lost).await, 400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_code_is_good_for_a_minute_at_each_replica() {
    let replicas = Replicas::start().await;
    for (began, asked) in [(0, 1), (1, 0)] {
        let (good, late) = (code(replicas.at(began), |_| {}).await, code(replicas.at(began), |_| {}).await);
        replicas.time.advance(55);
        let granted = token(replicas.at(asked), &redeem(&good)).await;
        assert_eq!(granted.status, 200, "{}", granted.text());
        replicas.assert_served(&text(&granted, "access_token")).await;
        replicas.time.advance(10);
        assert_refused(&token(replicas.at(asked), &redeem(&late)).await, 400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_client_is_told_the_same_life_of_its_token_by_each_replica() {
    let replicas = Replicas::start().await;
    let mut granted = replicas.sign_in(0, "app").await;
    let life = granted.json()["expires_in"].clone();
    for number in 1..6 {
        granted = refresh(replicas.at(number), &text(&granted, "refresh_token")).await;
        assert_eq!(granted.json()["expires_in"], life);
    }
}

#[tokio::test]
async fn each_replica_tells_how_far_its_clock_is_off() {
    let replicas = Replicas::start().await;
    let mut ahead = Vec::new();
    for sidegate in replicas.all() {
        ahead.push(sidegate.series("sidegate_session_store_clock_ahead_seconds{store=\"redis\"}").await);
        assert_eq!(sidegate.series("sidegate_session_news_heard{store=\"redis\"}").await, 1.0);
    }
    for (ahead, expected) in ahead.into_iter().zip([-45.0_f64, 45.0, 0.0]) {
        assert!((ahead - expected).abs() <= 1.0, "{ahead}");
    }
}
