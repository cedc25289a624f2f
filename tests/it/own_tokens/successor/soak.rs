//! Clients that never refresh, for as long as their sessions may last.

use crate::{
    own_tokens::successor::house::{DAY, HOUR, House, MINUTE, Plan, claims, successor},
    support::{issuer::scratch, look::assert_invalid_token},
};

/// Takes the next token from the answers, once in 25 minutes: never so late that no request falls into the second half of
/// a life.
async fn thirty_days(house: House) {
    let mut token = house.sign_in("next").await;
    let began = claims(&token)["iat"].as_u64().unwrap();
    let mut taken = 0;
    for step in 1..=(30 * DAY - 1) / (25 * MINUTE) {
        house.sidegate.time.advance(25 * MINUTE);
        let reply = house.get(&token).await;
        assert_eq!(reply.status, 200, "request {step}: {}", reply.text());
        if let Some(next) = successor(&reply) {
            let (old, new) = (claims(&token), claims(&next));
            for same in ["sid", "sub", "scope", "aud", "client_id", "iss", "auth_time"] {
                assert_eq!(old[same], new[same]);
            }
            assert!(new["exp"].as_u64() > old["exp"].as_u64());
            assert!(new["exp"].as_u64().unwrap() <= began + 30 * DAY as u64);
            (token, taken) = (next, taken + 1);
        }
    }
    assert!(taken > 800, "{taken}");
    house.sidegate.time.advance(25 * MINUTE);
    for _ in 0..3 {
        assert_invalid_token(&house.get(&token).await);
    }
    assert_eq!(house.made().await, taken);
}

#[tokio::test]
async fn a_client_that_takes_the_next_token_is_served_for_thirty_days_and_then_no_more() {
    thirty_days(House::new().await).await;
}

#[tokio::test]
async fn so_it_is_with_sessions_on_disk() {
    let folder = scratch("successors");
    let store = format!("redb: {{ path: {} }}", folder.join("sessions.redb").display());
    let keys = format!("keys: {{ master_file: {}, generate: true }}", folder.join("master.keys").display());
    thirty_days(House::with(Plan { store: &store, more: &keys, ..Plan::default() }).await).await;
}

#[tokio::test]
async fn a_client_without_renewal_is_refused_when_its_token_is_over() {
    let house = House::with(Plan { more: "refresh: { accept_expired_for: 8h }", ..Plan::default() }).await;
    let token = house.sign_in("plain").await;
    for _ in 0..59 {
        house.sidegate.time.advance(MINUTE);
        assert_eq!(house.next(&token).await, None);
    }
    house.sidegate.time.advance(MINUTE);
    assert_invalid_token(&house.get(&token).await);
    assert_eq!(house.made().await, 0);
}

#[tokio::test]
async fn a_client_that_takes_no_notice_is_refused_when_its_token_is_over() {
    let house = House::new().await;
    let token = house.sign_in("next").await;
    for minutes in [40, 10, 9] {
        house.sidegate.time.advance(minutes * MINUTE);
        assert!(house.next(&token).await.is_some());
    }
    assert_eq!(house.made().await, 1, "one is offered, again and again");
    house.sidegate.time.advance(MINUTE);
    assert_invalid_token(&house.get(&token).await);
}

#[tokio::test]
async fn a_token_that_is_over_is_taken_and_succeeded_as_long_as_that_is_accepted() {
    let house = House::with(Plan { more: "refresh: { accept_expired_for: 8h }", ..Plan::default() }).await;
    let token = house.sign_in("next").await;
    house.sidegate.time.advance(HOUR);
    // Nobody has asked before: many at once wait for one successor.
    let many = futures_util::future::join_all((0..20).map(|_| house.next(&token))).await;
    assert!(many.iter().all(|next| next.is_some() && *next == many[0]), "{}", many.len());
    assert_eq!(house.made().await, 1);
    // It is offered again without a look at the store, until it is itself in the second half of its life.
    let looked = house.finds().await;
    house.sidegate.time.advance(29 * MINUTE);
    assert_eq!(house.next(&token).await, many[0]);
    assert_eq!((house.finds().await, house.made().await), (looked, 1));
    house.sidegate.time.advance(MINUTE);
    let second = house.next(&token).await;
    assert!(second.is_some() && second != many[0]);
    house.sidegate.time.advance(7 * HOUR + 29 * MINUTE);
    assert!(house.next(&token).await.is_some());
    house.sidegate.time.advance(MINUTE);
    assert_invalid_token(&house.get(&token).await);
    // The last one lives in its own right.
    assert_eq!(house.made().await, 3);
}
