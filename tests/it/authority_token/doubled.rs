//! `tokens: pass_through` before an authority that gives one access token to several.

use super::house::{House, PASSWORD_THERE};
use crate::{
    oauth::house::{SECRET, form, text},
    support::{Reply, send},
};

async fn doubling() -> House {
    let house = House::with(", tokens: pass_through", "store: { memory: {} }\n").await;
    house.outside.same();
    house
}

async fn asks(house: &House, client: &str, grant: &str) -> Reply {
    let body = format!("{grant}&client_id={client}&client_secret={SECRET}");
    send(house.sidegate.public, form("/oauth20/token", &body, &[])).await
}

fn of(user: &str) -> String {
    format!("grant_type=password&username={user}&password={PASSWORD_THERE}")
}

#[tokio::test]
async fn a_token_that_the_authority_gave_to_another_client_is_not_handed_out_again() {
    let house = doubling().await;
    assert_eq!(asks(&house, "app", &of("ana")).await.status, 200);
    for (client, grant) in
        [("other", of("ana")), ("app", of("bob")), ("app", "grant_type=client_credentials".to_owned())]
    {
        let refused = asks(&house, client, &grant).await;
        assert_eq!((refused.status.as_u16(), text(&refused, "error").as_str()), (503, "temporarily_unavailable"));
        assert!(!refused.text().contains("canary-at"), "{client} {grant}");
    }
    assert_eq!(house.get("canary-at-1").await.status, 200);
    assert_eq!(house.upstream.last().header("x-user"), Some("ana"), "it stays who had it first");
}

#[tokio::test]
async fn whoever_has_the_token_already_may_have_it_again() {
    let house = doubling().await;
    let first = asks(&house, "app", &of("ana")).await;
    assert_eq!(asks(&house, "app", &of("ana")).await.status, 200);
    let refreshed = house.refreshed(&text(&first, "refresh_token")).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert_eq!(text(&refreshed, "access_token"), "canary-at-1");
}

#[tokio::test]
async fn a_refresh_that_brings_the_token_of_somebody_else_gives_nothing() {
    let house = House::with(", tokens: pass_through", "store: { memory: {} }\n").await;
    asks(&house, "app", &of("ana")).await;
    let bob = asks(&house, "app", &of("bob")).await;
    house.outside.same();
    let refused = house.refreshed(&text(&bob, "refresh_token")).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(house.get("canary-at-1").await.status, 200);
    assert_eq!(house.upstream.last().header("x-user"), Some("ana"));
}
