//! What operators see of the authority outside.

use serde_json::{Value, json};

use super::{
    house,
    provider::{METADATA, SECRET_THERE},
};
use crate::{oauth::house::password, support::log};

#[tokio::test]
async fn an_authority_that_cannot_be_asked_is_degraded_until_it_answers_again() {
    let (provider, sidegate) = house("").await;
    let remote = async || sidegate.status().await["authority"]["remote"].clone();
    assert_eq!(
        remote().await,
        json!({"dialect": "oauth2", "place": provider.issuer, "state": "untried", "state_age": null, "degraded": false,
            "breaker": "closed", "next_attempt": null, "answered": null, "last_error": null, "keys": null,
            "key_age": null})
    );
    provider.answers(METADATA, (500, Vec::new(), String::new()));
    password(&sidegate).await;
    let told = "the authority: its metadata: answered with status 500 Internal Server Error";
    let (status, ready) = sidegate.ready().await;
    assert_eq!((status, &ready["ready"]), (200, &json!(true)), "what is still valid is served");
    let degraded = &ready["degraded"][0];
    let known = ["authority", "reason", "state", "breaker"].map(|name| degraded[name].as_str().unwrap());
    assert_eq!(known, ["remote", told, "away", "closed"]);
    assert_eq!(ready["degraded"].as_array().unwrap().len(), 1);
    assert_eq!(remote().await["last_error"], told);
    let page = sidegate.status_page("localhost", "text/html").await;
    for told in ["Authority outside", "degraded", "verified by the authority outside", "asked in oauth2"] {
        assert!(page.text().contains(told), "{told}: {}", page.text());
    }

    provider
        .says(METADATA, &json!({"issuer": provider.issuer, "token_endpoint": format!("{}/token", provider.issuer)}));
    sidegate.time.advance(60);
    assert_eq!(password(&sidegate).await.status, 200);
    assert_eq!(sidegate.ready().await.1["degraded"], json!([]));
    sidegate.time.advance(5);
    assert_eq!((&remote().await["degraded"], remote().await["answered"].as_u64() >= Some(5)), (&json!(false), true));
}

#[tokio::test]
async fn questions_are_counted_by_authority_dialect_grant_and_result() {
    let (provider, sidegate) = house("").await;
    let count = async |result: &str| {
        let labels = format!("{{authority=\"remote\",dialect=\"oauth2\",grant=\"password\",result=\"{result}\"}}");
        sidegate.metric(&format!("sidegate_authority_requests_total{labels}")).await
    };
    password(&sidegate).await;
    provider.answers("/token", (400, Vec::new(), json!({"error": "invalid_grant"}).to_string()));
    password(&sidegate).await;
    provider.answers("/token", (429, Vec::new(), String::new()));
    password(&sidegate).await;
    assert_eq!((count("ok").await, count("invalid_grant").await, count("throttled").await), (1, 1, 1));
    let timed = "sidegate_authority_request_duration_seconds_count{authority=\"remote\",dialect=\"oauth2\",\
                 grant=\"password\"}";
    assert_eq!(sidegate.metric(timed).await, 3);
}

#[tokio::test]
async fn nothing_that_is_secret_is_logged_or_shown() {
    log::written();
    let (provider, sidegate) = house("openid").await;
    let token = provider.id_token(json!({}));
    provider.gives(json!({"id_token": token}));
    password(&sidegate).await;
    for body in [json!({"error": "invalid_client", "error_description": "canary"}), Value::Null, json!("canary")] {
        provider.answers("/token", (401, Vec::new(), body.to_string()));
        password(&sidegate).await;
    }
    let told = [sidegate.status().await.to_string(), sidegate.ready().await.1.to_string(), log::written().text()];
    for secret in ["canary", SECRET_THERE, "correct-horse-battery", &token[token.len() - 20..]] {
        let place = told.iter().position(|told| told.contains(secret));
        assert_eq!(place, None, "{secret}");
    }
}
