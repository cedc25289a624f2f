use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    config::KeySource,
    fetch::testing::{Provider, Reply},
    jose::testing::{ISSUER, NOW, issuer},
    model::Secret,
};

async fn setup(max_concurrent: usize, timeout: Duration) -> (Provider, Arc<Introspector>) {
    let idp = Provider::start().await;
    let mut issuer = issuer(KeySource::None);
    issuer.introspection = Some(config::Introspection {
        endpoint: idp.url("/introspect"),
        client_id: "sidegate".to_owned(),
        client_secret: Secret::new("secret".to_owned()),
        cache_ttl: Duration::from_secs(60),
        negative_ttl: Duration::from_secs(10),
        max_concurrent,
        timeout,
    });
    let introspector = Introspector::new(&issuer, Handle::current()).unwrap();
    (idp, Arc::new(introspector))
}

const LONG: Duration = Duration::from_secs(20);

fn active(changes: Value) -> String {
    let mut answer = json!({"active": true, "scope": "orders", "client_id": "shop", "sub": "alice", "exp": NOW.0 + 60});
    answer.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    answer.to_string()
}

/// What the answer comes to, in one word.
fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Ok(Introspection::Active(_)) => "active",
        Ok(Introspection::Inactive) => "inactive",
        Ok(Introspection::Refused(refusal)) => refusal.code(),
        Err(error) => error.code(),
    }
}

#[tokio::test]
async fn every_answer_comes_to_one_verdict() {
    let (idp, introspector) = setup(4, LONG).await;
    let unavailable = "introspection_unavailable";
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
        assert_eq!(word(introspector.introspect("token", [0; 16], NOW).await), expected, "{answer:.100}");
    }
}

#[tokio::test]
async fn a_failing_endpoint_is_never_a_refusal() {
    let (idp, introspector) = setup(4, LONG).await;
    for (reply, expected) in [
        (Reply::Status(500), "introspection_unavailable"),
        (Reply::Status(404), "introspection_unavailable"),
        (Reply::Status(429), "introspection_unavailable"),
        (Reply::Redirect("/elsewhere".to_owned()), "introspection_unavailable"),
        (Reply::Broken, "introspection_unavailable"),
        (Reply::Status(401), "introspection_misconfigured"),
        (Reply::Status(403), "introspection_misconfigured"),
    ] {
        idp.reply("/introspect", reply);
        assert_eq!(word(introspector.introspect("token", [0; 16], NOW).await), expected);
    }
    assert_eq!(idp.hits("/elsewhere"), 0);
}

#[tokio::test]
async fn a_slow_endpoint_is_waited_for_no_longer_than_configured() {
    let (idp, introspector) = setup(1, Duration::from_millis(50)).await;
    idp.reply("/introspect", Reply::Hang);
    assert_eq!(word(introspector.introspect("token", [0; 16], NOW).await), "introspection_unavailable");
    // Its place is free again.
    idp.reply("/introspect", Reply::Json(active(json!({}))));
    assert_eq!(word(introspector.introspect("token", [0; 16], NOW).await), "active");
}

/// On two threads, since the answer and its end are one step on a single one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_an_answer_neither_shares_it_nor_waits_for_its_place() {
    let (idp, introspector) = setup(1, LONG).await;
    idp.reply("/introspect", Reply::Status(500));
    for _ in 0..500 {
        assert_eq!(word(introspector.introspect("token", [0; 16], NOW).await), "introspection_unavailable");
        assert!(introspector.shared.flights().is_empty());
        assert_eq!(introspector.shared.permits.available_permits(), 1);
    }
}

#[tokio::test]
async fn the_endpoint_is_asked_as_rfc_7662_wants_it() {
    let (idp, introspector) = setup(4, LONG).await;
    idp.reply("/introspect", Reply::Json(active(json!({}))));
    let Ok(Introspection::Active(claims)) = introspector.introspect("a+b/c==", [0; 16], NOW).await else { panic!() };
    assert_eq!((claims.subject(), claims.text("scope")), (Some("alice"), Some("orders")));
    let seen = idp.seen().remove(0);
    assert_eq!(seen.body, "token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token");
    assert_eq!(seen.authorization.as_deref(), Some("Basic c2lkZWdhdGU6c2VjcmV0"));
}

#[tokio::test]
async fn who_asks_about_the_same_token_shares_the_question() {
    let (idp, introspector) = setup(1, LONG).await;
    let gate = Arc::new(Semaphore::new(0));
    idp.reply("/introspect", Reply::Held(Arc::clone(&gate), active(json!({}))));
    let asking = (0..50).map(|_| introspector.introspect("token", [1; 16], NOW));
    let open = async {
        while idp.hits("/introspect") == 0 {
            tokio::task::yield_now().await;
        }
        // The one place is taken, so another token finds none.
        assert_eq!(word(introspector.introspect("other", [2; 16], NOW).await), "introspection_saturated");
        gate.add_permits(1);
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(asking), open);
    assert!(outcomes.into_iter().all(|outcome| word(outcome) == "active"));
    assert_eq!(idp.hits("/introspect"), 1);
}

#[tokio::test]
async fn the_question_survives_the_client_that_asked_it() {
    let (idp, introspector) = setup(1, LONG).await;
    let gate = Arc::new(Semaphore::new(0));
    idp.reply("/introspect", Reply::Held(Arc::clone(&gate), active(json!({}))));
    let asker = Arc::clone(&introspector);
    let first = tokio::spawn(async move { asker.introspect("token", [1; 16], NOW).await });
    while idp.hits("/introspect") == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = introspector.introspect("token", [1; 16], NOW);
    let (outcome, ()) = tokio::join!(second, async { gate.add_permits(1) });
    assert_eq!(word(outcome), "active");
    assert_eq!(idp.hits("/introspect"), 1);
}

#[test]
fn a_runtime_that_is_gone_is_an_error_and_no_deadlock() {
    let background = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_idp, introspector) = background.block_on(setup(1, LONG));
    drop(background);
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..3 {
        let outcome = here.block_on(introspector.introspect("token", [1; 16], NOW));
        assert_eq!(word(outcome), "introspection_unavailable");
    }
}
