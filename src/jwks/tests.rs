use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    config::NamedFile,
    fetch::testing::{self, Reply},
    jose::testing::{ISSUER, Pair, issuer, jwks},
};

struct Setup {
    idp: testing::Provider,
    time: Time,
}

impl Setup {
    async fn new() -> Setup {
        Setup { idp: testing::Provider::start().await, time: Time::default() }
    }

    fn publish(&self, keys: &[Value]) {
        self.idp.reply("/jwks", Reply::Json(jwks(keys)));
    }

    fn by_uri(&self) -> Arc<Provider> {
        self.start(KeySource::JwksUri(self.idp.url("/jwks")))
    }

    fn start(&self, keys: KeySource) -> Arc<Provider> {
        Provider::start(issuer(keys), self.time.clone(), &Handle::current())
    }
}

/// Waits until `met`, looking again whenever a fetch has ended.
async fn until(provider: &Provider, met: impl Fn(ProviderStatus) -> bool) {
    let mut progress = provider.shared.progress.subscribe();
    let wait = async {
        while !met(provider.status()) {
            progress.changed().await.unwrap();
        }
    };
    timeout(Duration::from_secs(20), wait).await.expect("never came so far");
}

fn kids(keys: &KeySet) -> Vec<&str> {
    keys.keys().iter().filter_map(|key| key.kid()).collect()
}

#[tokio::test]
async fn keys_are_found_by_discovery() {
    let setup = Setup::new().await;
    setup.publish(&[Pair::ed().jwk("a"), json!({"kty": "oct", "kid": "s"})]);
    let document = json!({"issuer": ISSUER, "jwks_uri": setup.idp.url("/jwks").as_str()});
    setup.idp.reply("/discovery", Reply::Json(document.to_string()));
    let provider = setup.start(KeySource::Discovery(setup.idp.url("/discovery")));
    let keys = provider.keys_for(Some("a"), setup.time.now()).await.unwrap();
    assert_eq!(kids(&keys), ["a"]);
    let status = provider.status();
    assert!(status.ever_loaded && !status.degraded && status.last_error.is_none());
    assert_eq!((status.keys, status.skipped.len()), (1, 1));
    assert_eq!(provider.fetches(), Fetches { ok: 1, failed: 0 });
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_is_not_believed() {
    let setup = Setup::new().await;
    setup.publish(&[Pair::ed().jwk("a")]);
    for other in [format!("{ISSUER}/"), ISSUER.to_uppercase()] {
        let document = json!({"issuer": other, "jwks_uri": setup.idp.url("/jwks").as_str()});
        setup.idp.reply("/discovery", Reply::Json(document.to_string()));
        let provider = setup.start(KeySource::Discovery(setup.idp.url("/discovery")));
        assert_eq!(provider.ready_or_wait().await.unwrap_err(), KeysUnavailable);
        assert_eq!(provider.status().last_error.as_deref(), Some("the discovery document names another issuer"));
    }
    assert_eq!(setup.idp.hits("/jwks"), 0);
}

#[tokio::test]
async fn a_discovery_document_cannot_lead_anywhere_but_to_a_web_server() {
    let setup = Setup::new().await;
    for uri in ["file:///etc/jwks", "ftp://127.0.0.1/jwks", "jwks", ""] {
        let document = json!({"issuer": ISSUER, "jwks_uri": uri});
        setup.idp.reply("/discovery", Reply::Json(document.to_string()));
        let provider = setup.start(KeySource::Discovery(setup.idp.url("/discovery")));
        assert_eq!(provider.ready_or_wait().await.unwrap_err(), KeysUnavailable, "{uri}");
    }
}

#[tokio::test]
async fn a_request_waits_for_the_very_first_fetch() {
    let setup = Setup::new().await;
    let gate = Arc::new(Semaphore::new(0));
    setup.idp.reply("/jwks", Reply::Held(Arc::clone(&gate), jwks(&[Pair::ed().jwk("a")])));
    let provider = setup.by_uri();
    assert!(provider.current().is_none());
    let now = setup.time.now();
    let waiting = provider.keys_for(Some("a"), now);
    let (keys, ()) = tokio::join!(waiting, async { gate.add_permits(1) });
    assert_eq!(kids(&keys.unwrap()), ["a"]);
    assert_eq!(setup.idp.hits("/jwks"), 1);
}

#[tokio::test]
async fn an_issuer_that_comes_late_is_asked_until_it_is_there() {
    let setup = Setup::new().await;
    setup.idp.reply("/jwks", Reply::Broken);
    let provider = setup.by_uri();
    assert_eq!(provider.ready_or_wait().await.unwrap_err(), KeysUnavailable);
    let status = provider.status();
    assert!(status.degraded && !status.ever_loaded && status.last_error.is_some());
    setup.publish(&[Pair::ed().jwk("a")]);
    until(&provider, |status| status.ever_loaded).await;
    assert!(provider.ready_or_wait().await.is_ok());
    assert!(provider.fetches().failed >= 1);
}

#[tokio::test]
async fn a_flapping_issuer_costs_no_key() {
    let setup = Setup::new().await;
    let jwk = Pair::ed().jwk("a");
    setup.publish(std::slice::from_ref(&jwk));
    let provider = setup.by_uri();
    let keys = provider.ready_or_wait().await.unwrap();
    let long = format!("{}{}", jwks(&[]), " ".repeat(1024 * 1024));
    for bad in [
        Reply::Status(500),
        Reply::Broken,
        Reply::Json("<html>".to_owned()),
        Reply::Json(long),
        Reply::Redirect("/elsewhere".to_owned()),
    ] {
        setup.idp.reply("/jwks", bad);
        setup.time.advance(400);
        until(&provider, |status| status.degraded).await;
        assert!(Arc::ptr_eq(&keys.keys()[0], &provider.current().unwrap().keys()[0]));
        assert!(keys.keys()[0].liveness().is_alive());
        // Back again with the same key: the verdicts that rest on it stay.
        setup.publish(std::slice::from_ref(&jwk));
        until(&provider, |status| !status.degraded).await;
    }
    assert_eq!(setup.idp.hits("/elsewhere"), 0);
}

#[tokio::test]
async fn a_key_that_is_withdrawn_is_ended_at_the_next_refresh() {
    let setup = Setup::new().await;
    let (stays, goes) = (Pair::ed().jwk("stays"), Pair::ed().jwk("goes"));
    setup.publish(&[stays.clone(), goes]);
    let provider = setup.by_uri();
    let old = provider.ready_or_wait().await.unwrap();
    setup.publish(&[stays]);
    setup.time.advance(331);
    until(&provider, |status| status.keys == 1).await;
    assert!(old.keys()[0].liveness().is_alive());
    assert!(!old.keys()[1].liveness().is_alive());
}

#[tokio::test]
async fn keys_outlive_an_outage_up_to_their_stated_age_and_not_longer() {
    let setup = Setup::new().await;
    setup.publish(&[Pair::ed().jwk("a")]);
    let provider = setup.by_uri();
    let keys = provider.ready_or_wait().await.unwrap();
    setup.idp.reply("/jwks", Reply::Status(503));
    setup.time.advance(86_000);
    until(&provider, |status| status.degraded).await;
    assert!(keys.keys()[0].liveness().is_alive());
    assert!(provider.keys_for(Some("a"), setup.time.now()).await.is_ok());
    setup.time.advance(401);
    until(&provider, |status| status.keys == 0).await;
    assert!(!keys.keys()[0].liveness().is_alive());
    assert_eq!(provider.keys_for(Some("a"), setup.time.now()).await.unwrap_err(), KeysUnavailable);
}

#[tokio::test]
async fn an_unknown_kid_causes_one_fetch_that_all_share() {
    let setup = Setup::new().await;
    let old = Pair::ed().jwk("old");
    setup.publish(std::slice::from_ref(&old));
    let provider = setup.by_uri();
    provider.ready_or_wait().await.unwrap();
    setup.publish(&[old, Pair::ed().jwk("new")]);
    let now = setup.time.now();
    let asking = (0..50).map(|_| provider.keys_for(Some("new"), now));
    for keys in futures_util::future::join_all(asking).await {
        assert_eq!(kids(&keys.unwrap()), ["old", "new"]);
    }
    assert_eq!(setup.idp.hits("/jwks"), 2);
    provider.keys_for(Some("old"), now).await.unwrap();
    provider.keys_for(None, now).await.unwrap();
    assert_eq!(setup.idp.hits("/jwks"), 2);
}

#[tokio::test]
async fn tokens_with_invented_kids_are_no_flood_at_the_issuer() {
    let setup = Setup::new().await;
    setup.publish(&[Pair::ed().jwk("a")]);
    let provider = setup.by_uri();
    provider.ready_or_wait().await.unwrap();
    let now = setup.time.now();
    for i in 0..100 {
        assert!(provider.keys_for(Some(&format!("invented-{i}")), now).await.is_ok());
    }
    assert_eq!(setup.idp.hits("/jwks"), 1 + 3);
    assert_eq!(provider.refetch_for_unknown_kid(now.plus(9)).await, Refetch::Limited);
    assert_eq!(provider.refetch_for_unknown_kid(now.plus(10)).await, Refetch::Done);
}

#[tokio::test]
async fn an_unknown_kid_during_an_outage_is_not_decided() {
    let setup = Setup::new().await;
    setup.publish(&[Pair::ed().jwk("a")]);
    let provider = setup.by_uri();
    provider.ready_or_wait().await.unwrap();
    setup.idp.reply("/jwks", Reply::Status(500));
    let now = setup.time.now();
    for _ in 0..10 {
        assert_eq!(provider.keys_for(Some("new"), now).await.unwrap_err(), KeysUnavailable);
        assert!(provider.keys_for(Some("a"), now).await.is_ok());
    }
}

#[tokio::test]
async fn a_file_is_read_again() {
    let path = std::env::temp_dir().join(format!("sidegate-jwks-{}.json", std::process::id()));
    std::fs::write(&path, jwks(&[Pair::ed().jwk("a")])).unwrap();
    let setup = Setup::new().await;
    let provider = setup.start(KeySource::JwksFile(NamedFile::read(&path).unwrap()));
    assert_eq!(kids(&provider.ready_or_wait().await.unwrap()), ["a"]);
    std::fs::write(&path, jwks(&[Pair::ed().jwk("b")])).unwrap();
    let keys = provider.keys_for(Some("b"), setup.time.now()).await.unwrap();
    assert_eq!(kids(&keys), ["b"]);
    std::fs::remove_file(&path).unwrap();
    setup.time.advance(331);
    until(&provider, |status| status.degraded).await;
    assert_eq!(provider.status().last_error.as_deref(), Some("key set file: entity not found"));
}

#[tokio::test]
async fn a_dropped_provider_asks_no_more_and_its_keys_are_believed_no_more() {
    let setup = Setup::new().await;
    setup.publish(&[Pair::ed().jwk("a")]);
    let provider = setup.by_uri();
    let keys = provider.ready_or_wait().await.unwrap();
    let shared = Arc::downgrade(&provider.shared);
    drop(provider);
    assert!(!keys.keys()[0].liveness().is_alive());
    while shared.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_shared_secret_and_no_keys_at_all_need_no_task() {
    let setup = Setup::new().await;
    let mut legacy = issuer(KeySource::Shared(crate::model::Secret::new(vec![1; 32])));
    legacy.algorithms = vec![jsonwebtoken::Algorithm::HS256];
    let provider = Provider::start(legacy, setup.time.clone(), &Handle::current());
    assert_eq!(provider.keys_for(Some("any"), setup.time.now()).await.unwrap().keys().len(), 1);
    let none = setup.start(KeySource::None);
    assert!(none.keys_for(Some("any"), setup.time.now()).await.unwrap().keys().is_empty());
    assert!(!none.status().degraded);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_where_nobody_can_be_asked() {
    let shared = KeySource::Shared(crate::model::Secret::new(vec![7; 32]));
    for source in [shared, KeySource::None] {
        let provider = Provider::start(issuer(source), Time::default(), &Handle::current());
        assert_eq!(provider.refetch_for_unknown_kid(UnixTime(1_000)).await, Refetch::Limited);
    }
}
