//! What goes wrong between us and the provider: the client is told, and no session begins.

use serde_json::{Value, json};

use super::{
    APP, CALLBACK, House, assert_told,
    provider::{GONE, query},
};
use crate::{
    oauth::browser::Browser,
    support::{Reply, issuer::Key, issuer::now},
};

impl House {
    /// The provider sends the browser back with `error`.
    pub(super) async fn sent_back(&self, browser: &Browser, request: &str, error: &str) -> Reply {
        let sent = self.away(browser, request).await;
        let back = query(&[("error", error), ("state", &sent["state"]), ("iss", &self.provider.issuer)]);
        browser.visit(&format!("{CALLBACK}?{back}")).await
    }
}

#[tokio::test]
async fn errors_of_the_provider_become_errors_that_the_client_understands() {
    let house = House::new().await;
    let browser = house.browser();
    for (error, told) in [
        ("access_denied", "access_denied"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("server_error", "server_error"),
        ("invalid_request", "server_error"),
        ("invalid_scope", "server_error"),
        ("unauthorized_client", "server_error"),
        ("login_required", "server_error"),
        ("canary-error", "server_error"),
    ] {
        assert_told(&house.sent_back(&browser, APP, error).await, told);
    }
    assert_eq!(house.provider.asked(), 0);
}

#[tokio::test]
async fn an_id_token_that_is_not_right_in_every_point_signs_nobody_in() {
    let house = House::new().await;
    let browser = house.browser();
    for claims in [
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"iss": "https://evil.test"}),
        json!({"aud": "another"}),
        json!({"aud": ["sidegate", "another"], "azp": "another"}),
        json!({"aud": null}),
        json!({"exp": now() - 180}),
        json!({"exp": null}),
        json!({"iat": now() + 600}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "app"}),
    ] {
        house.provider.state().claims = claims.clone();
        let told = house.signed_in(&browser, APP).await;
        assert_eq!(told.status, 302, "{claims}");
        assert_told(&told, "server_error");
    }
    house.provider.state().claims = json!({});
    for answer in [json!({"id_token": null}), json!({"id_token": "x.y.z"}), json!({"access_token": null})] {
        house.provider.state().answer = answer;
        assert_told(&house.signed_in(&browser, APP).await, "server_error");
    }
    house.provider.state().answer = Value::Object(serde_json::Map::new());
    house.provider.state().forged = Some(Key::es256("there-1"));
    assert_told(&house.signed_in(&browser, APP).await, "server_error");
    house.provider.state().forged = None;
    let told = house.signed_in(&browser, APP).await;
    assert_eq!(house.redeem(&told).await.status, 200);
}

#[tokio::test]
async fn a_sign_in_that_is_older_than_the_client_allows_is_refused() {
    let house = House::new().await;
    let browser = house.browser();
    let query = format!("{APP}&max_age=300");
    for (claims, good) in
        [(json!({"auth_time": now() - 100}), true), (json!({"auth_time": now() - 1000}), false), (json!({}), false)]
    {
        house.provider.state().claims = claims;
        let told = house.signed_in(&browser, &query).await;
        assert_eq!(told.header("location").unwrap().contains("code="), good);
    }
}

#[tokio::test]
async fn an_answer_of_another_provider_is_never_taken_for_this_one_s() {
    let house = House::new().await;
    let browser = house.browser();
    for iss in [Some("https://evil.test"), None] {
        for what in ["code", "error"] {
            let sent = house.away(&browser, APP).await;
            let mut back = vec![(what, "access_denied"), ("state", sent["state"].as_str())];
            back.extend(iss.map(|iss| ("iss", iss)));
            assert_told(&browser.visit(&format!("{CALLBACK}?{}", query(&back))).await, "server_error");
        }
    }
    assert_eq!(house.provider.asked(), 0, "its code went nowhere");
}

#[tokio::test]
async fn a_provider_that_never_names_itself_need_not() {
    let house = House::new().await;
    house.provider.state().metadata = json!({"authorization_response_iss_parameter_supported": null});
    let browser = house.browser();
    let sent = house.away(&browser, APP).await;
    let back = house.provider.sign_in(&sent);
    let back = back.split("&iss=").next().unwrap();
    let told = browser.visit(&format!("{CALLBACK}?{back}")).await;
    assert_eq!(house.redeem(&told).await.status, 200);
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_as_that_and_no_session_begins() {
    let house = House::new().await;
    let browser = house.browser();
    for status in [GONE, 503, 429] {
        house.provider.state().broken = Some(status);
        assert_told(&house.signed_in(&browser, APP).await, "temporarily_unavailable");
    }
    house.provider.state().broken = Some(500);
    assert_told(&house.signed_in(&browser, APP).await, "server_error");
    house.provider.state().broken = None;
    assert_eq!(house.redeem(&house.signed_in(&browser, APP).await).await.status, 200);
}

#[tokio::test]
async fn a_provider_that_refuses_us_or_its_code_is_a_fault_of_ours() {
    let house = House::new().await;
    let browser = house.browser();
    house.provider.state().broken = Some(401);
    assert_told(&house.signed_in(&browser, APP).await, "server_error");
    house.provider.state().broken = None;
    let sent = house.away(&browser, APP).await;
    let back = query(&[("code", "unknown"), ("state", &sent["state"]), ("iss", &house.provider.issuer)]);
    assert_told(&browser.visit(&format!("{CALLBACK}?{back}")).await, "server_error");
}

#[tokio::test]
async fn while_its_metadata_cannot_be_read_nobody_is_sent_anywhere() {
    let house = House::new().await;
    house.provider.state().metadata = json!({"issuer": "https://evil.test"});
    assert_told(&house.browser().get(APP).await, "temporarily_unavailable");
}
