//! Renewal ahead of time, which no request waits for.

use std::time::Duration;

use super::house::{By, House};
use crate::support::authority::Mood;

#[tokio::test]
async fn it_is_renewed_before_it_ends_without_any_request() {
    let house = House::new(By::ClientCredentials).await;
    house.kept(1).await;
    // A tenth of its life, and at most a minute.
    house.sidegate.time.advance(3500);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(house.authority.asked().len(), 1, "not before its time");
    house.sidegate.time.advance(41);
    house.kept(2).await;
    assert_eq!(house.shown().await, house.newest());
    for generation in 3..10 {
        house.sidegate.time.advance(3541);
        house.kept(generation).await;
    }
    assert_eq!(house.authority.asked().len(), 9);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn while_it_is_renewed_requests_go_on_with_the_token_that_is_there() {
    let house = House::new(By::ClientCredentials).await;
    let first = house.shown().await;
    house.authority.is(Mood::Hanging);
    house.sidegate.time.advance(3545);
    house.asked(2).await;
    for _ in 0..20 {
        assert_eq!(house.shown().await, first);
    }
    assert_eq!(house.authority.asked().len(), 2, "one at a time");
}

#[tokio::test]
async fn what_is_configured_decides_how_early() {
    let house = House::with(By::ClientCredentials, "refresh: { ahead: 10m }\n", |_| ()).await;
    house.kept(1).await;
    house.sidegate.time.advance(3001);
    house.kept(2).await;
}

#[tokio::test]
async fn a_refresh_token_is_redeemed_and_where_it_is_refused_the_token_is_got_anew_at_once() {
    let house = House::new(By::Password).await;
    house.kept(1).await;
    house.sidegate.time.advance(3541);
    house.kept(2).await;
    assert_eq!((house.authority.redeemed(), house.authority.asked().len()), (1, 2));
    house.authority.forget_everybody();
    house.sidegate.time.advance(3541);
    house.kept(3).await;
    let asked: Vec<bool> = house.authority.asked().iter().map(|asked| is_refresh(&asked.body)).collect();
    assert_eq!(asked, [false, true, true, false]);
    assert_eq!(house.shown().await, house.newest());
    let renewals = async |reason: &str| {
        let series = format!("sidegate_renewals_total{{kind=\"service\",reason=\"{reason}\",result=\"renewed\"}}");
        house.sidegate.series(&series).await
    };
    assert_eq!((renewals("refreshed").await, renewals("obtained").await), (1.0, 2.0));
}

#[tokio::test]
async fn a_refresh_token_whose_answer_was_lost_is_not_tried_twice() {
    let house = House::new(By::Password).await;
    house.kept(1).await;
    house.authority.is(Mood::Dead);
    house.sidegate.time.advance(3541);
    house.asked(2).await;
    house.authority.is(Mood::Good);
    house.sidegate.time.advance(2);
    house.kept(2).await;
    let asked: Vec<bool> = house.authority.asked().iter().map(|asked| is_refresh(&asked.body)).collect();
    assert_eq!(asked.iter().filter(|is_refresh| **is_refresh).count(), 1, "{asked:?}");
    assert!(!asked.last().unwrap());
}

fn is_refresh(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("grant_type=refresh_token")
}

#[tokio::test]
async fn a_clock_that_is_set_back_has_what_is_of_unknown_age_renewed_before_it_is_shown() {
    let house = House::new(By::ClientCredentials).await;
    house.kept(1).await;
    let keeper = house.sidegate.app.gate().proxy().auth().service(0).unwrap().clone();
    house.sidegate.time.advance(-3600);
    assert!(keeper.ready(Duration::ZERO, house.sidegate.time.now()).is_none());
    assert_eq!(keeper.wait(Duration::ZERO).await.unwrap().generation, 2);
}
