//! A token that the upstream does not take although it is good by its time.

use std::time::Duration;

use sidegate::refresh::service::NoToken;

use super::house::{By, House, IMPATIENT};
use crate::support::authority::Mood;

async fn forced(house: &House, seen: u64) -> Result<u64, NoToken> {
    let keeper = house.sidegate.app.gate().proxy().auth().service(0).unwrap().clone();
    keeper.renew_forced(seen, Duration::ZERO).await.map(|shown| shown.generation)
}

#[tokio::test]
async fn it_is_renewed_once_whoever_asks_and_not_again_within_30_seconds() {
    let house = House::new(By::ClientCredentials).await;
    house.kept(1).await;
    let (one, other) = tokio::join!(forced(&house, 1), forced(&house, 1));
    assert_eq!((one, other), (Ok(2), Ok(2)));
    assert_eq!(forced(&house, 1).await, Ok(2), "who has seen an older one is given the newer one");
    assert_eq!(forced(&house, 2).await, Err(NoToken::TooSoon));
    house.sidegate.time.advance(25);
    assert_eq!(forced(&house, 2).await, Err(NoToken::TooSoon));
    assert_eq!(house.authority.asked().len(), 2);
    house.sidegate.time.advance(6);
    assert_eq!(forced(&house, 2).await, Ok(3));
    assert_eq!(house.shown().await, house.newest());
}

#[tokio::test]
async fn where_it_fails_the_token_that_is_there_goes_on_being_used() {
    let house = House::with(By::ClientCredentials, IMPATIENT, |_| ()).await;
    let first = house.shown().await;
    house.authority.is(Mood::Status(500));
    assert!(matches!(forced(&house, 1).await, Err(NoToken::Unavailable { .. })));
    assert!(matches!(forced(&house, 1).await, Err(NoToken::Unavailable { .. })), "nothing is asked while it rests");
    assert_eq!(house.shown().await, first);
    // It is tried again, since somebody does not take the one that is there.
    house.authority.is(Mood::Good);
    house.sidegate.time.advance(3);
    house.kept(2).await;
}
