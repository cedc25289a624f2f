//! An authority that is away: what is good goes on, and nothing that is over is shown.

use std::{collections::BTreeMap, time::Duration};

use super::house::{By, House, IMPATIENT, dead};
use crate::support::authority::{Authority, Mood, Speech};

#[tokio::test]
async fn an_outage_longer_than_the_token_lives_ends_in_503_and_then_everything_goes_on() {
    let house = House::with(By::ClientCredentials, IMPATIENT, |_| ()).await;
    let first = house.shown().await;
    house.authority.is(Mood::Dead);
    house.sidegate.time.advance(3541);
    house.asked(2).await;
    house.sidegate.time.advance(50);
    assert_eq!(house.shown().await, first, "what is good is used to its end");
    house.sidegate.time.advance(9);
    let before = house.upstream.count();
    for _ in 0..3 {
        let refused = house.get("/").await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "temporarily_unavailable"));
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(refused.header("www-authenticate"), None);
        house.sidegate.time.advance(600);
    }
    assert_eq!(house.upstream.count(), before, "nothing that is over is shown");
    house.authority.is(Mood::Good);
    house.sidegate.time.advance(31);
    house.kept(2).await;
    assert_eq!(house.shown().await, house.newest());
}

#[tokio::test]
async fn the_first_requests_wait_for_the_first_token_also_if_that_takes_a_second_attempt() {
    let house = House::with(By::ClientCredentials, "", dead).await;
    house.asked(1).await;
    let comes = async {
        house.authority.is(Mood::Good);
        house.sidegate.time.advance(2);
    };
    let (one, other, ()) = tokio::join!(house.get("/"), house.get("/"), comes);
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
    assert_eq!(house.authority.asked().len(), 2);
}

#[tokio::test]
async fn a_request_waits_no_longer_than_is_configured() {
    let house = House::with(By::ClientCredentials, IMPATIENT, |authority| authority.is(Mood::Hanging)).await;
    house.asked(1).await;
    let refused = house.get("/").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn a_start_without_the_authority_is_made_up_for_as_soon_as_it_is_there() {
    let house = House::with(By::ClientCredentials, IMPATIENT, dead).await;
    house.asked(1).await;
    assert_eq!(house.get("/").await.status, 503);
    house.authority.is(Mood::Good);
    house.sidegate.time.advance(31);
    house.kept(1).await;
    assert_eq!(house.shown().await, house.newest());
}

#[tokio::test]
async fn an_authority_in_trouble_is_not_flooded_whatever_is_asked_of_sidegate() {
    let house = House::with(By::ClientCredentials, IMPATIENT, |authority| authority.is(Mood::TooMany(120))).await;
    house.asked(1).await;
    for _ in 0..20 {
        let refused = house.get("/").await;
        assert_eq!(refused.status, 503);
    }
    house.sidegate.time.advance(60);
    let told: u64 = house.get("/").await.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=61).contains(&told), "{told}");
    assert_eq!(house.authority.asked().len(), 1, "it said when to come again");
    house.authority.is(Mood::Good);
    house.sidegate.time.advance(61);
    house.kept(1).await;
    assert_eq!(house.get("/").await.status, 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_waits_takes_nothing_with_it() {
    let authority = Authority::start(Speech::OAuth2).await;
    authority.is(Mood::Hanging);
    let service = format!("{}, timeout: 300ms", By::ClientCredentials.yaml(&authority));
    let house = House::before(authority, &service, "").await;
    house.asked(1).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), house.get("/")).await.is_err());
    house.authority.is(Mood::Good);
    house.until(async || !house.status().await["last_error"].is_null()).await;
    house.sidegate.time.advance(2);
    house.kept(1).await;
    assert_eq!(house.get("/").await.status, 200);
}

#[tokio::test]
async fn however_an_authority_flaps_no_upstream_sees_a_token_that_is_over_and_everything_goes_on_in_the_end() {
    const LIFE: u64 = 60;
    let house =
        House::with(By::Password, IMPATIENT, |authority| authority.script(|script| script.lifetime = LIFE)).await;
    house.kept(1).await;
    let moods =
        [Mood::Good, Mood::Dead, Mood::Good, Mood::Status(500), Mood::Garbage, Mood::TooMany(20), Mood::InvalidClient];
    let (mut shown, mut refused, mut given) = (0, 0, BTreeMap::new());
    for step in 0..300_usize {
        house.authority.is(moods[step * 7 % 11 % moods.len()].clone());
        if step % 9 == 0 {
            house.authority.forget_everybody();
        }
        let before = house.sidegate.time.now();
        given.entry(house.newest()).or_insert(before);
        house.sidegate.time.advance(i64::try_from(step * 5 % 23).unwrap());
        match house.get("/").await.status.as_u16() {
            200 => {
                shown += 1;
                let now = house.sidegate.time.now();
                let token = house.upstream.last().header("authorization").unwrap().to_owned();
                let age = given.entry(token).or_insert(now).until(now).as_secs();
                assert!(age <= LIFE, "step {step}: {age}");
            }
            503 => refused += 1,
            other => panic!("step {step}: {other}"),
        }
    }
    assert!(shown > 100 && refused > 10, "{shown} {refused}");
    assert_eq!(house.upstream.count(), shown);
    house.authority.is(Mood::Good);
    house.sidegate.time.advance(301);
    house.until(async || house.get("/").await.status == 200).await;
}
