//! The whole way, from the client's request to a forwarded call.

use serde_json::json;

use super::{APP, CALLBACK, House, assert_guarded, assert_page, assert_told, provider::sent};
use crate::{
    oauth::{
        browser::answer,
        house::{ISSUER, text},
    },
    support::keys::part,
};

#[tokio::test]
async fn a_user_signs_in_at_the_provider_and_the_upstream_sees_the_provider_s_token() {
    let house = House::new().await;
    let browser = house.browser();
    let reply = browser.get(&format!("{APP}&scope=orders+openid&nonce=n-1")).await;
    assert_guarded(&reply);
    let (place, sent) = sent(&reply);
    assert_eq!(place, format!("{}/auth", house.provider.issuer));
    assert_eq!(sent["tenant"], "t1", "the query of the endpoint stays");
    assert_eq!(sent["response_type"], "code");
    assert_eq!(sent["client_id"], "sidegate");
    assert_eq!(sent["redirect_uri"], format!("{ISSUER}{CALLBACK}"));
    assert_eq!(sent["scope"], "openid offline_access", "what is configured, never what the client asks");
    assert_eq!(sent["code_challenge_method"], "S256");
    assert_eq!(sent["code_challenge"].len(), 43);
    assert_eq!((sent["state"].len(), sent["nonce"].len()), (22, 22));
    assert_ne!(sent["nonce"], "n-1", "that is between the client and us");
    assert!(!sent.contains_key("prompt"));

    let told = browser.visit(&format!("{CALLBACK}?{}", house.provider.sign_in(&sent))).await;
    assert_eq!(told.status, 302);
    assert_guarded(&told);
    let (uri, said) = answer(&told);
    assert_eq!((uri.as_str(), said["state"].as_str(), said["iss"].as_str()), ("https://app.test/cb", "xyz", ISSUER));
    assert!(said["code"].starts_with("sgc1_"), "a code of ours");
    assert!(browser.cookies.borrow().is_empty(), "{:?}", browser.cookies);

    let given = house.redeem(&told).await;
    assert_eq!(given.status, 200, "{}", given.text());
    assert!(!given.text().contains("-there-"), "no token of the provider leaves us");
    let id_token = part(&text(&given, "id_token"), 1);
    assert_eq!((&id_token["iss"], &id_token["sub"], &id_token["aud"]), (&json!(ISSUER), &json!("u-1"), &json!("app")));
    assert_eq!((&id_token["nonce"], &id_token["tenant"]), (&json!("n-1"), &json!("acme")));
    assert_eq!(id_token.get("acr"), None, "how they signed in there is not ours to say");

    assert_eq!(house.get(&text(&given, "access_token")).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-there-1");
    assert_eq!(house.upstream.last().header("x-user"), Some("u-1"));

    let again = house.token(&format!("grant_type=refresh_token&refresh_token={}", text(&given, "refresh_token"))).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(house.get(&text(&again, "access_token")).await.status, 200);
    assert_eq!(
        house.shown(),
        "Bearer canary-at-there-2",
        "the provider was asked before the client's own token rotated"
    );
}

#[tokio::test]
async fn our_consent_page_is_shown_once_and_what_it_allows_is_given_once() {
    let house = House::new().await;
    let browser = house.browser();
    let page = house.signed_in(&browser, "client_id=asks&response_type=code&scope=orders").await;
    assert_page(&page, 200);
    assert!(page.text().contains("Signed in as ana"), "{}", page.text());
    assert!(!page.text().contains("there"), "what the provider gave is sealed in the form");
    let told = browser.submit(&page, &[("decision", "allow")]).await;
    assert_eq!(told.status, 303);
    let (uri, said) = answer(&told);
    assert_eq!(uri, "https://asks.test/cb");
    assert!(said["code"].starts_with("sgc1_"));
    assert_page(&browser.submit(&page, &[("decision", "allow")]).await, 400);
    let page = house.signed_in(&browser, "client_id=asks&response_type=code&scope=orders").await;
    let told = browser.submit(&page, &[("decision", "deny")]).await;
    assert_eq!(answer(&told).1["error"], "access_denied");
}

#[tokio::test]
async fn what_the_client_wants_of_the_sign_in_is_passed_on() {
    let house =
        House::with(", scopes: [openid], authorization_parameters: { prompt: consent, audience: orders }").await;
    let browser = house.browser();
    let query =
        format!("{APP}&prompt=login&login_hint=ana%40example.com&max_age=60&ui_locales=pt-BR%20en&acr_values=9");
    let sent = house.away(&browser, &query).await;
    assert_eq!((sent["prompt"].as_str(), sent["audience"].as_str()), ("consent login", "orders"));
    assert_eq!((sent["login_hint"].as_str(), sent["max_age"].as_str()), ("ana@example.com", "60"));
    assert_eq!((sent["ui_locales"].as_str(), sent["scope"].as_str()), ("pt-BR en", "openid"));
    assert!(!sent.contains_key("acr_values"));
    let sent = house.away(&browser, &format!("{APP}&prompt=select_account")).await;
    assert_eq!(sent["prompt"], "consent select_account");
}

#[tokio::test]
async fn a_silent_request_is_silent_at_the_provider_as_well() {
    let house = House::with(", authorization_parameters: { prompt: consent }").await;
    let browser = house.browser();
    let query = format!("{APP}&prompt=none");
    let sent = house.away(&browser, &query).await;
    assert_eq!(sent["prompt"], "none");
    let told = browser.visit(&format!("{CALLBACK}?{}", house.provider.sign_in(&sent))).await;
    assert!(answer(&told).1["code"].starts_with("sgc1_"));
    for error in ["login_required", "consent_required", "interaction_required", "account_selection_required"] {
        assert_told(&house.sent_back(&browser, &query, error).await, error);
    }
    let reply = browser.get("client_id=asks&response_type=code&prompt=none").await;
    assert_eq!(
        answer(&reply).1["error"],
        "consent_required",
        "nobody could be asked, and the provider is not troubled"
    );
}

#[tokio::test]
async fn without_a_refresh_token_from_the_provider_the_client_gets_none_and_a_token_that_lives_no_longer() {
    let house = House::new().await;
    house.provider.state().answer = json!({"refresh_token": null});
    let given = house.redeem(&house.signed_in(&house.browser(), APP).await).await;
    assert_eq!(given.status, 200, "{}", given.text());
    let given = given.json();
    assert_eq!(given.get("refresh_token"), None);
    assert!(given["expires_in"].as_u64().unwrap() <= 300, "{given}");
}

#[tokio::test]
async fn an_implicit_grant_holds_the_provider_s_tokens_as_well() {
    let house = House::new().await;
    let told = house.signed_in(&house.browser(), "client_id=script&response_type=token").await;
    let (_, said) = answer(&told);
    assert_eq!(house.get(&said["access_token"]).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-there-1");
}

#[tokio::test]
async fn a_request_that_was_posted_is_sent_on_without_what_was_posted() {
    let house = House::new().await;
    let reply = house.browser().post_raw(APP).await;
    assert_eq!(reply.status, 303);
    assert!(reply.header("location").unwrap().starts_with(&house.provider.issuer));
}

#[tokio::test]
async fn nobody_is_remembered_here_whose_tokens_are_at_the_provider() {
    let house = House::new().await;
    let browser = house.browser();
    house.signed_in(&browser, APP).await;
    let sent = house.away(&browser, APP).await;
    assert!(sent.contains_key("state"), "the provider remembers them, or asks again");
    assert!(browser.cookies.borrow().keys().all(|name| name.starts_with("sidegate-away-")));
}
