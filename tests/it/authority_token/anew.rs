//! Sessions without a refresh token at the authority, whose credentials are at hand: they sign in anew.

use serde_json::json;

use super::house::{House, PASSWORD_THERE};
use crate::{
    oauth::house::{PASSWORD, assert_refused, text, user},
    support::issuer::scratch,
};

#[tokio::test]
async fn what_a_client_has_on_its_own_behalf_is_obtained_anew() {
    let house = House::new().await;
    house.outside.bare();
    let reply = house.token("grant_type=client_credentials").await;
    assert!(reply.json()["expires_in"].as_u64().unwrap() > 300, "it may outlive the authority's token");
    house.sidegate.time.advance(300);
    assert_eq!(house.get(&text(&reply, "access_token")).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-2");
    assert_eq!(house.outside.refreshes(), 0);
}

#[tokio::test]
async fn a_user_who_is_mapped_to_an_account_is_signed_in_there_anew() {
    let house = mapped().await;
    house.outside.bare();
    let first = house.token(&format!("grant_type=password&username=ana&password={PASSWORD}")).await;
    let token = text(&first, "access_token");
    house.sidegate.time.advance(300);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-2");
    let second = house.refreshed(&text(&first, "refresh_token")).await;
    assert_eq!(second.status, 200, "{}", second.text());
    assert_eq!(house.outside.asked().len(), 3);
    assert_eq!(house.outside.refreshes(), 0);
}

#[tokio::test]
async fn an_account_that_the_authority_refuses_is_a_fault_of_the_configuration_and_ends_no_session() {
    let house = mapped().await;
    house.outside.bare();
    let first = house.token(&format!("grant_type=password&username=ana&password={PASSWORD}")).await;
    let token = text(&first, "access_token");
    house.outside.broken(400, None, json!({"error": "invalid_grant"}));
    house.sidegate.time.advance(300);
    assert_eq!(house.get(&token).await.status, 503);
    assert_refused(&house.refreshed(&text(&first, "refresh_token")).await, 503, "temporarily_unavailable");
    house.outside.mended();
    house.sidegate.time.advance(2);
    assert_eq!(house.get(&token).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_renewed_ends_with_the_authority_s_token() {
    let house = House::new().await;
    house.outside.bare();
    let reply = house.signed_in().await;
    assert!((290..=300).contains(&reply.json()["expires_in"].as_u64().unwrap()));
    assert!(reply.json().get("refresh_token").is_none());
    house.sidegate.time.advance(285);
    assert_eq!(house.get(&text(&reply, "access_token")).await.status, 200, "what is good is used to its end");
    house.sidegate.time.advance(15);
    let late = house.get(&text(&reply, "access_token")).await;
    assert_eq!((late.status.as_u16(), late.code().as_str()), (401, "invalid_token"));
    assert_eq!(house.outside.asked().len(), 1);
}

/// `ana` proves herself here, and sidegate has her password there.
async fn mapped() -> House {
    let password = scratch("account").join("password");
    std::fs::write(&password, PASSWORD_THERE).unwrap();
    let account = format!("account: {{ username: ana-there, password_file: {} }}", password.display());
    let more = format!("  users:\n    - {}\nstore: {{ memory: {{}} }}\n", user("ana", &account));
    House::with(", accounts: mapped", &more).await
}
