use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    config::KeySource,
    fetch::testing::{Provider, Reply},
    jose::testing::{NOW, issuer},
    model::Secret,
};

pub async fn setup(max_concurrent: usize, timeout: Duration) -> (Provider, Arc<Asker>) {
    let idp = Provider::start().await;
    let mut issuer = issuer(KeySource::None);
    issuer.inquiry = Some(config::Inquiry {
        way: Way::Introspection(config::Introspection {
            endpoint: idp.url("/introspect"),
            client_id: "sidegate".to_owned(),
            client_secret: Secret::new("secret".to_owned()),
        }),
        cache_ttl: Duration::from_secs(60),
        negative_ttl: Duration::from_secs(10),
        max_concurrent,
        timeout,
    });
    let asker = Asker::new(&issuer, Handle::current()).unwrap();
    (idp, Arc::new(asker))
}

pub const LONG: Duration = Duration::from_secs(20);

pub fn active(changes: Value) -> String {
    let mut answer = json!({"active": true, "scope": "orders", "client_id": "shop", "sub": "alice", "exp": NOW.0 + 60});
    answer.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    answer.to_string()
}

/// What the answer comes to, in one word.
pub fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Ok(Answer::Active(_)) => "active",
        Ok(Answer::Inactive) => "inactive",
        Ok(Answer::Refused(refusal)) => refusal.code(),
        Err(AskError::Limited) => "limited",
        Err(AskError::Saturated) => "saturated",
        Err(AskError::Unavailable(_) | AskError::Broken(_)) => "unavailable",
        Err(AskError::Misconfigured(_)) => "misconfigured",
    }
}

#[tokio::test]
async fn a_slow_endpoint_is_waited_for_no_longer_than_configured() {
    let (idp, asker) = setup(1, Duration::from_millis(50)).await;
    idp.reply("/introspect", Reply::Hang);
    assert_eq!(word(asker.ask("token", [0; 16], NOW, || {}).await), "unavailable");
    // Its place is free again.
    idp.reply("/introspect", Reply::Json(active(json!({}))));
    assert_eq!(word(asker.ask("token", [0; 16], NOW, || {}).await), "active");
}

/// On two threads, since the answer and its end are one step on a single one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_an_answer_neither_shares_it_nor_waits_for_its_place() {
    let (idp, asker) = setup(1, LONG).await;
    idp.reply("/introspect", Reply::Status(500));
    for _ in 0..500 {
        assert_eq!(word(asker.ask("token", [0; 16], NOW, || {}).await), "unavailable");
        assert!(asker.shared.flights().is_empty());
        assert_eq!(asker.shared.permits.available_permits(), 1);
    }
}

#[tokio::test]
async fn who_asks_about_the_same_token_shares_the_question() {
    let (idp, asker) = setup(1, LONG).await;
    let gate = Arc::new(Semaphore::new(0));
    idp.reply("/introspect", Reply::Held(Arc::clone(&gate), active(json!({}))));
    let asking = (0..50).map(|_| asker.ask("token", [1; 16], NOW, || {}));
    let open = async {
        while idp.hits("/introspect") == 0 {
            tokio::task::yield_now().await;
        }
        // The one place is taken, so another token finds none.
        assert_eq!(word(asker.ask("other", [2; 16], NOW, || {}).await), "saturated");
        gate.add_permits(1);
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(asking), open);
    assert!(outcomes.into_iter().all(|outcome| word(outcome) == "active"));
    assert_eq!(idp.hits("/introspect"), 1);
}

#[tokio::test]
async fn the_question_survives_the_client_that_asked_it() {
    let (idp, asker) = setup(1, LONG).await;
    let gate = Arc::new(Semaphore::new(0));
    idp.reply("/introspect", Reply::Held(Arc::clone(&gate), active(json!({}))));
    let first = Arc::clone(&asker);
    let first = tokio::spawn(async move { first.ask("token", [1; 16], NOW, || {}).await });
    while idp.hits("/introspect") == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = asker.ask("token", [1; 16], NOW, || {});
    let (outcome, ()) = tokio::join!(second, async { gate.add_permits(1) });
    assert_eq!(word(outcome), "active");
    assert_eq!(idp.hits("/introspect"), 1);
}

#[test]
fn a_runtime_that_is_gone_is_an_error_and_no_deadlock() {
    let background = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_idp, asker) = background.block_on(setup(1, LONG));
    drop(background);
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..3 {
        let outcome = here.block_on(asker.ask("token", [1; 16], NOW, || {}));
        assert_eq!(word(outcome), "unavailable");
    }
}
