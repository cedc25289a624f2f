use serde_json::json;

use super::{
    super::ask::tests::{LONG, active, setup, word},
    *,
};
use crate::{
    fetch::testing::Reply,
    jose::testing::{ISSUER, NOW},
};

#[tokio::test]
async fn every_answer_comes_to_one_verdict() {
    let (idp, asker) = setup(4, LONG).await;
    let unavailable = "unavailable";
    for (answer, expected) in [
        (active(json!({})), "active"),
        (active(json!({"iss": ISSUER, "token_type": "bearer", "aud": ["a", "b"], "nbf": NOW.0})), "active"),
        (json!({"active": true}).to_string(), "active"),
        (json!({"active": false}).to_string(), "inactive"),
        (json!({"active": false, "exp": "x"}).to_string(), "inactive"),
        (json!({"active": "true"}).to_string(), unavailable),
        (json!({"active": 1}).to_string(), unavailable),
        (json!({"active": null}).to_string(), unavailable),
        (json!({}).to_string(), unavailable),
        (json!([]).to_string(), unavailable),
        (r#"{"active":false,"active":true}"#.to_owned(), unavailable),
        ("<html>".to_owned(), unavailable),
        (String::new(), unavailable),
        (active(json!({"exp": "1800000600"})), unavailable),
        (active(json!({"exp": 1.8e9})), unavailable),
        (active(json!({"exp": null})), unavailable),
        (active(json!({"scope": ["orders"]})), unavailable),
        (active(json!({"client_id": 7})), unavailable),
        (active(json!({"aud": 7})), unavailable),
        (active(json!({"sub": {}})), unavailable),
        (active(json!({"iss": 7})), unavailable),
        (active(json!({"x": "y".repeat(70_000)})), unavailable),
        (active(json!({"iss": "https://other.test"})), "wrong_issuer"),
        (active(json!({"cnf": {"jkt": "x"}})), "bound_token"),
        (active(json!({"token_type": "DPoP"})), "type_not_accepted"),
        (active(json!({"token_use": "refresh_token"})), "type_not_accepted"),
        (active(json!({"exp": NOW.0 - 29})), "active"),
        (active(json!({"exp": NOW.0 - 30})), "expired"),
        (active(json!({"nbf": NOW.0 + 31})), "not_yet_valid"),
    ] {
        idp.reply("/introspect", Reply::Json(answer.clone()));
        assert_eq!(word(asker.ask("token", [0; 16], NOW, || {}).await), expected, "{answer:.100}");
    }
}

#[tokio::test]
async fn a_failing_endpoint_is_never_a_refusal() {
    let (idp, asker) = setup(4, LONG).await;
    for (reply, expected) in [
        (Reply::Status(500), "unavailable"),
        (Reply::Status(404), "unavailable"),
        (Reply::Status(429), "unavailable"),
        (Reply::Redirect("/elsewhere".to_owned()), "unavailable"),
        (Reply::Broken, "unavailable"),
        (Reply::Status(401), "misconfigured"),
        (Reply::Status(403), "misconfigured"),
    ] {
        idp.reply("/introspect", reply);
        assert_eq!(word(asker.ask("token", [0; 16], NOW, || {}).await), expected);
    }
    assert_eq!(idp.hits("/elsewhere"), 0);
}

#[tokio::test]
async fn the_endpoint_is_asked_as_rfc_7662_wants_it() {
    let (idp, asker) = setup(4, LONG).await;
    idp.reply("/introspect", Reply::Json(active(json!({}))));
    let Ok(Answer::Active(claims)) = asker.ask("a+b/c==", [0; 16], NOW, || {}).await else { panic!() };
    assert_eq!((claims.subject(), claims.text("scope")), (Some("alice"), Some("orders")));
    let seen = idp.seen().remove(0);
    assert_eq!(seen.body, "token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token");
    assert_eq!(seen.authorization.as_deref(), Some("Basic c2lkZWdhdGU6c2VjcmV0"));
}
