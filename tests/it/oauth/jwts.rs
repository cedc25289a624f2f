//! Access tokens that are JWTs (RFC 9068), and what they are not mistaken for.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};

use super::house::{
    ISSUER, PASSWORD, as_app, authority, client, code, introspect, is_active, redeem, text, token, user,
};
use crate::support::{Sidegate, get};

/// Header and claims, unverified.
pub fn read(token: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    let part = |at: usize| serde_json::from_slice(&BASE64URL.decode(parts[at]).unwrap()).unwrap();
    (part(0), part(1))
}

pub fn encoded(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

async fn start() -> Sidegate {
    let app = client(
        "app",
        "grants: [authorization_code, client_credentials, password, refresh_token], scopes: [orders], audiences: [orders-api, \"https://b\"], \
         access_token: { format: jwt, lifetime: 5m }, claims: { tenant: acme }, redirect_uris: [\"https://app.test/cb\"]",
    );
    Sidegate::start(&authority(&[app], &[user("ana", "claims: { email: a@test }")], "")).await
}

#[tokio::test]
async fn s27_an_access_token_says_what_rfc_9068_asks_and_claims_replace_none_of_it() {
    let sidegate = start().await;
    let now = sidegate.time.now().0;
    // As a directory may say it, which no check of the configuration has seen.
    let code = code(&sidegate, |code| {
        for name in ["iss", "aud", "exp", "iat", "nbf", "jti", "client_id", "sub", "scope", "sid", "cnf", "act"] {
            code.granted.claims.insert(name.to_owned(), json!("mine"));
        }
        code.granted.claims.insert("email".to_owned(), json!("a@test"));
        code.granted.audiences.push("https://b".to_owned());
    })
    .await;
    let reply = token(&sidegate, &redeem(&code)).await;
    let (header, claims) = read(&text(&reply, "access_token"));
    assert_eq!((header["typ"].as_str(), header["alg"].as_str()), (Some("at+jwt"), Some("ES256")));
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], json!(["orders-api", "https://b"]));
    assert_eq!((&claims["client_id"], &claims["sub"]), (&json!("app"), &json!("sub-ana")));
    assert_eq!((&claims["scope"], &claims["email"]), (&json!("orders"), &json!("a@test")));
    let issued = claims["iat"].as_u64().unwrap();
    assert!((now..now + 60).contains(&issued));
    assert_eq!(claims["exp"].as_u64(), Some(issued + 300));
    assert_eq!(reply.json()["expires_in"], 300);
    assert!(claims["auth_time"].as_u64().unwrap() <= issued);
    assert_eq!(BASE64URL.decode(claims["jti"].as_str().unwrap()).unwrap().len(), 16);
    assert!(!claims.as_object().unwrap().values().any(|value| value == "mine"), "{claims}");
    assert!(is_active(&sidegate, &text(&reply, "access_token")).await);
}

#[tokio::test]
async fn s27_a_token_of_another_type_is_no_access_token() {
    let sidegate = start().await;
    let good = token(&sidegate, &as_app("grant_type=client_credentials")).await;
    let (_, claims) = read(&text(&good, "access_token"));
    let signing = sidegate.app.gate().endpoints().unwrap().grants.signing.clone();
    assert!(is_active(&sidegate, &signing.sign("at+jwt", claims.as_object().unwrap()).unwrap()).await);
    for other in ["JWT", "sidegate+jwt", "logout+jwt", "token-introspection+jwt"] {
        let token = signing.sign(other, claims.as_object().unwrap()).unwrap();
        assert!(!is_active(&sidegate, &token).await, "{other}");
        assert_eq!(get(sidegate.public, "/", &token).await.status, 401, "{other}");
    }
}

#[tokio::test]
async fn s10_a_token_of_a_client_alone_is_told_by_its_subject() {
    let sidegate = start().await;
    let reply = token(&sidegate, &as_app("grant_type=client_credentials")).await;
    let (_, claims) = read(&text(&reply, "access_token"));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("app"), &json!("app")));
    assert_eq!((&claims["tenant"], &claims["auth_time"], &claims["cnf"]), (&json!("acme"), &Value::Null, &Value::Null));
    let told = introspect(&sidegate, &text(&reply, "access_token")).await.json();
    assert_eq!((&told["sub"], &told["username"]), (&json!("app"), &Value::Null));
}

#[tokio::test]
async fn a_resource_narrows_the_audience_of_one_token() {
    let sidegate = start().await;
    let ask = as_app(&format!("grant_type=password&username=ana&password={PASSWORD}&resource=https://b"));
    let first = token(&sidegate, &ask).await;
    assert_eq!(read(&text(&first, "access_token")).1["aud"], "https://b");
    // What was asked for at the grant bounds every later token.
    let wider = as_app(&format!(
        "grant_type=refresh_token&refresh_token={}&resource=orders-api",
        text(&first, "refresh_token")
    ));
    assert_eq!(text(&token(&sidegate, &wider).await, "error"), "invalid_target");
    let ask = as_app("grant_type=client_credentials&resource=orders-api&resource=https://b");
    let both = token(&sidegate, &ask).await;
    assert_eq!(read(&text(&both, "access_token")).1["aud"], json!(["orders-api", "https://b"]));
    let whole = as_app(&format!("grant_type=password&username=ana&password={PASSWORD}"));
    let whole = text(&token(&sidegate, &whole).await, "refresh_token");
    let narrowed = as_app(&format!("grant_type=refresh_token&refresh_token={whole}&resource=https://b"));
    let narrowed = text(&token(&sidegate, &narrowed).await, "access_token");
    assert_eq!(introspect(&sidegate, &narrowed).await.json()["aud"], "https://b");
}
