//! A route that needs the token to last.

use super::house::{By, House, IMPATIENT};
use crate::support::authority::Mood;

#[tokio::test]
async fn a_request_never_starts_with_less_than_its_route_needs() {
    let house = House::with(By::ClientCredentials, IMPATIENT, |authority| {
        authority.script(|script| script.lifetime = 300);
    })
    .await;
    let first = house.shown().await;
    house.sidegate.time.advance(245);
    assert_eq!(house.shown().await, first, "good enough for others");
    assert_eq!(house.get("/lasting").await.status, 200);
    assert_eq!(
        house.upstream.last().header("authorization"),
        Some("Bearer at-canary-2.~+/_=="),
        "the request has waited"
    );
    assert_eq!(house.authority.asked().len(), 2);

    house.sidegate.time.advance(245);
    house.authority.is(Mood::Dead);
    assert_eq!(house.get("/lasting").await.status, 503);
    assert_eq!(house.shown().await, "Bearer at-canary-2.~+/_==");
}

#[tokio::test]
async fn an_authority_whose_tokens_never_last_so_long_is_not_flooded_for_better_ones() {
    let house = House::with(By::ClientCredentials, IMPATIENT, |authority| {
        authority.script(|script| script.lifetime = 50);
    })
    .await;
    house.kept(1).await;
    for _ in 0..10 {
        let refused = house.get("/lasting").await;
        assert_eq!(refused.status, 503);
    }
    assert_eq!((house.authority.asked().len(), house.upstream.count()), (1, 0));
    assert_eq!(house.get("/").await.status, 200);
}

#[tokio::test]
async fn what_the_client_s_own_token_has_left_does_not_matter() {
    let house = House::new(By::ClientCredentials).await;
    let short = house.issuer.token_with(serde_json::json!({"exp": crate::support::issuer::now() + 30}));
    assert_eq!(crate::support::get(house.sidegate.public, "/lasting", &short).await.status, 200);
}
