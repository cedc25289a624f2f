//! Who somebody is by an ID token of the authority.

use serde_json::json;

use super::house;
use crate::{
    oauth::house::{assert_refused, password, refresh, sessions, text},
    support::keys::part,
};

const REFUSED: &str = "sidegate_authority_id_tokens_total{result=\"refused\"}";
const ACCEPTED: &str = "sidegate_authority_id_tokens_total{result=\"accepted\"}";

#[tokio::test]
async fn a_password_whose_answer_has_an_id_token_begins_a_session_of_its_subject() {
    let (provider, sidegate) = house("openid").await;
    provider.gives(json!({"id_token": provider.id_token(json!({}))}));
    let given = password(&sidegate).await;
    assert_eq!(given.status, 200, "{}", given.text());
    let claims = part(&text(&given, "access_token"), 1);
    assert_eq!((claims["sub"].as_str(), claims["department"].as_str()), (Some("u-17"), Some("sales")));
    assert!(claims.get("acr").is_none(), "what a token says of itself is not the user's");
    assert_eq!(sidegate.metric(ACCEPTED).await, 1);
}

#[tokio::test]
async fn a_sign_in_with_an_id_token_that_does_not_verify_begins_nothing() {
    let (provider, sidegate) = house("openid").await;
    for changes in [
        json!({"aud": "somebody-else"}),
        json!({"iss": "https://elsewhere.example"}),
        json!({"exp": 1}),
        json!({"sub": null}),
        json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
    ] {
        provider.gives(json!({"id_token": provider.id_token(changes.clone())}));
        assert_refused(&password(&sidegate).await, 503, "temporarily_unavailable");
    }
    provider.gives(json!({"id_token": "not.a.jwt"}));
    assert_refused(&password(&sidegate).await, 503, "temporarily_unavailable");
    assert_eq!(sidegate.metric(REFUSED).await, 6);
    assert_eq!(sessions(&sidegate).store().count().await.unwrap(), 0);
}

/// A client's own tokens would pass for this user's.
#[tokio::test]
async fn nobody_is_called_like_a_client_by_an_id_token() {
    let (provider, sidegate) = house("openid").await;
    provider.gives(json!({"id_token": provider.id_token(json!({"sub": "app"}))}));
    assert_refused(&password(&sidegate).await, 400, "invalid_grant");
    assert_eq!(sessions(&sidegate).store().count().await.unwrap(), 0);
}

#[tokio::test]
async fn without_openid_nobody_looks_at_an_id_token() {
    let (provider, sidegate) = house("orders").await;
    provider.gives(json!({"id_token": "not.a.jwt"}));
    let given = password(&sidegate).await;
    assert_eq!(part(&text(&given, "access_token"), 1)["sub"], "ana");
    assert_eq!(provider.asked("/jwks").len(), 0);
}

#[tokio::test]
async fn an_id_token_of_somebody_else_at_a_renewal_is_not_believed_and_what_came_with_it_is_kept() {
    let (provider, sidegate) = house("openid").await;
    provider.gives(json!({"id_token": provider.id_token(json!({}))}));
    let given = password(&sidegate).await;
    provider.gives(json!({"refresh_token": "canary-rt-2", "id_token": provider.id_token(json!({"sub": "u-99"}))}));
    let renewed = refresh(&sidegate, &text(&given, "refresh_token")).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(part(&text(&renewed, "access_token"), 1)["sub"], "u-17");
    for _ in 0..500 {
        if sidegate.metric(REFUSED).await == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(sidegate.metric(REFUSED).await, 1);
    assert_eq!(refresh(&sidegate, &text(&renewed, "refresh_token")).await.status, 200);
    assert_eq!(provider.last("/token").value("refresh_token"), Some("canary-rt-2"));
}
