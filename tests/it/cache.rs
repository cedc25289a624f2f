//! The cache of verdicts: it forgets in time, and never what it should keep.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use sidegate::{
    auth::{
        cache::{REFUSALS, VERDICTS, VerdictCache},
        verdict::{Standing, Verdict},
    },
    config,
    jose::keys::{KeySet, Liveness},
    model::UnixTime,
    telemetry::metrics::Metrics,
};

use crate::support::{
    Pair, Sidegate, Upstream, get,
    issuer::{AUDIENCE, NAME, Served, now, scratch},
    look::assert_invalid_token,
};

fn yaml(upstream: &Upstream, keys: &str, more: &str) -> String {
    format!(
        "issuers:\n  - {{ name: corp, issuer: \"{NAME}\", {keys}, refresh_interval: 5m }}\n\
         upstreams:\n  - {{ name: app, url: \"http://{}\" }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [{AUDIENCE}] }} }}\n{more}",
        upstream.address
    )
}

fn claims(jti: usize) -> Value {
    json!({"iss": NAME, "sub": "ana", "aud": AUDIENCE, "exp": now() + 36_000, "jti": jti.to_string()})
}

fn set(keys: &[&Pair]) -> String {
    json!({"keys": keys.iter().map(|pair| &pair.jwk).collect::<Vec<_>>()}).to_string()
}

#[tokio::test]
async fn hits_and_misses_are_counted() {
    let (upstream, pair) = (Upstream::start().await, Pair::new("EdDSA", "k"));
    let served = Served::start(200, set(&[&pair])).await;
    let sidegate = Sidegate::start(&yaml(&upstream, &format!("jwks_uri: \"{}\"", served.url), "")).await;
    let token = pair.token(&claims(0));
    for _ in 0..4 {
        assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
    }
    assert_eq!((sidegate.cache(VERDICTS, "miss").await, sidegate.cache(VERDICTS, "hit").await), (1, 3));
    assert_eq!(sidegate.cache(REFUSALS, "miss").await, 1, "a good token that is cached is not looked for there");
}

#[tokio::test]
async fn a_flood_of_bad_tokens_displaces_no_good_one() {
    let (upstream, pair, forger) = (Upstream::start().await, Pair::new("EdDSA", "k"), Pair::new("EdDSA", "k"));
    let file = scratch("flood").join("jwks.json");
    std::fs::write(&file, set(&[&pair])).unwrap();
    let more = "cache: { max_bytes: 1MiB, negative_max_bytes: 64KiB, negative_ttl: 10s }\n";
    let sidegate = Sidegate::start(&yaml(&upstream, &format!("jwks_file: {}", file.display()), more)).await;
    let good: Vec<String> = (0..20).map(|i| pair.token(&claims(i))).collect();
    for token in &good {
        assert_eq!(get(sidegate.public, "/", token).await.status, 200);
    }
    for i in 0..1000 {
        assert_eq!(get(sidegate.public, "/", &forger.token(&claims(i))).await.status, 401);
    }
    let before = sidegate.cache(VERDICTS, "hit").await;
    for token in &good {
        assert_eq!(get(sidegate.public, "/", token).await.status, 200);
    }
    assert_eq!(sidegate.cache(VERDICTS, "hit").await - before, 20);
    let status = sidegate.status().await;
    for cache in status["caches"].as_array().unwrap() {
        assert!(cache["bytes"].as_u64() <= cache["max_bytes"].as_u64(), "{cache}");
    }
}

#[tokio::test]
async fn more_good_tokens_than_fit_are_validated_again_and_the_bound_holds() {
    let (upstream, pair) = (Upstream::start().await, Pair::new("EdDSA", "k"));
    let file = scratch("many").join("jwks.json");
    std::fs::write(&file, set(&[&pair])).unwrap();
    let more = "cache: { max_bytes: 1MiB, negative_max_bytes: 64KiB }\n";
    let sidegate = Sidegate::start(&yaml(&upstream, &format!("jwks_file: {}", file.display()), more)).await;
    for i in 0..300 {
        let mut claims = claims(i);
        claims["scope"] = json!("s".repeat(8000));
        assert_eq!(get(sidegate.public, "/", &pair.token(&claims)).await.status, 200);
    }
    let cache = sidegate.status().await["caches"][0].clone();
    assert!(cache["bytes"].as_u64() <= Some(1024 * 1024) && cache["entries"].as_u64() > Some(10), "{cache}");
}

#[tokio::test]
async fn a_key_that_left_its_set_ends_the_cached_tokens_that_it_signed() {
    let (upstream, old, new) = (Upstream::start().await, Pair::new("EdDSA", "old"), Pair::new("EdDSA", "new"));
    let served = Served::start(200, set(&[&old, &new])).await;
    let sidegate = Sidegate::start(&yaml(&upstream, &format!("jwks_uri: \"{}\"", served.url), "")).await;
    let (by_old, by_new) = (old.token(&claims(0)), new.token(&claims(1)));
    assert_eq!(get(sidegate.public, "/", &by_old).await.status, 200);
    assert_eq!(get(sidegate.public, "/", &by_new).await.status, 200);

    served.set(200, set(&[&new]));
    sidegate.time.advance(331);
    sidegate.until_issuer(|issuer| issuer["keys"] == 1).await;

    assert_invalid_token(&get(sidegate.public, "/", &by_old).await);
    assert_eq!(get(sidegate.public, "/", &by_new).await.status, 200);
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn a_key_that_is_found_gone_through_an_unknown_kid_ends_its_tokens_at_once() {
    let (upstream, old, new) = (Upstream::start().await, Pair::new("EdDSA", "old"), Pair::new("EdDSA", "new"));
    let served = Served::start(200, set(&[&old])).await;
    let sidegate = Sidegate::start(&yaml(&upstream, &format!("jwks_uri: \"{}\"", served.url), "")).await;
    let by_old = old.token(&claims(0));
    assert_eq!(get(sidegate.public, "/", &by_old).await.status, 200);

    served.set(200, set(&[&new]));
    assert_eq!(get(sidegate.public, "/", &new.token(&claims(1))).await.status, 200);
    assert_invalid_token(&get(sidegate.public, "/", &by_old).await);

    // It comes back, as after a rollback of the issuer: the token is good again, by a fresh look.
    served.set(200, set(&[&old, &new]));
    sidegate.time.advance(331);
    sidegate.until_issuer(|issuer| issuer["keys"] == 2).await;
    assert_eq!(get(sidegate.public, "/", &by_old).await.status, 200);
}

/// The interleaving that nobody can time from outside: validated, then the key goes, then the verdict is inserted.
#[tokio::test]
async fn a_verdict_that_is_inserted_after_its_key_has_gone_is_never_good() {
    let pair = Pair::new("EdDSA", "k");
    let (old, _) = KeySet::parse(set(&[&pair]).as_bytes()).unwrap();
    let liveness: Arc<Liveness> = old.keys()[0].liveness().clone();
    let metrics = Metrics::new();
    let settings =
        config::Cache { max_bytes: 1 << 20, negative_max_bytes: 1 << 20, negative_ttl: Duration::from_secs(10) };
    let cache = VerdictCache::new(&settings, 0, metrics.cache(VERDICTS), metrics.cache(REFUSALS)).unwrap();
    let verdict = Arc::new(Verdict {
        issuer: 0,
        valid_until: UnixTime(2000),
        fresh_until: UnixTime(2000),
        audiences: [AUDIENCE.into()].into(),
        scope: "".into(),
        client: None,
        subject: None,
        claims: [].into(),
        principal: 0,
        liveness: Some(liveness),
        session: None,
        slides: None,
        succession: None,
        prepared: Default::default(),
    });
    assert_eq!(verdict.standing(UnixTime(1000)), Standing::Good);

    let (without, _) = KeySet::parse(b"{\"keys\":[]}").unwrap();
    let _current = without.replace(&old);
    let digest = cache.digest(b"token").unwrap();
    cache.keep(digest, verdict);

    assert_eq!(cache.find(digest).unwrap().standing(UnixTime(1000)), Standing::Ended);
    // Also when the same key comes back: only a fresh validation rests on it.
    let (_again, _) = KeySet::parse(set(&[&pair]).as_bytes()).unwrap();
    assert_eq!(cache.find(digest).unwrap().standing(UnixTime(1000)), Standing::Ended);
}

#[tokio::test]
async fn a_refusal_is_remembered_for_a_moment_only() {
    let (upstream, pair, forger) = (Upstream::start().await, Pair::new("EdDSA", "k"), Pair::new("EdDSA", "k"));
    let served = Served::start(200, set(&[&pair])).await;
    let sidegate = Sidegate::start(&yaml(&upstream, &format!("jwks_uri: \"{}\"", served.url), "")).await;
    let bad = forger.token(&claims(0));
    for _ in 0..3 {
        assert_invalid_token(&get(sidegate.public, "/", &bad).await);
    }
    assert_eq!((sidegate.cache(REFUSALS, "miss").await, sidegate.cache(REFUSALS, "hit").await), (1, 2));
    sidegate.time.advance(11);
    assert_invalid_token(&get(sidegate.public, "/", &bad).await);
    assert_eq!((sidegate.cache(REFUSALS, "miss").await, sidegate.cache(REFUSALS, "hit").await), (2, 2));

    // The issuer replaces the material under the same name: what was bad is good, after the same moment.
    served.set(200, set(&[&forger]));
    sidegate.time.advance(331);
    for _ in 0..2000 {
        if served.asked() >= 2 && get(sidegate.public, "/", &bad).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the new key was never believed");
}

#[tokio::test]
async fn an_unknown_kid_is_never_remembered_as_a_refusal() {
    let (upstream, first, late) = (Upstream::start().await, Pair::new("EdDSA", "k1"), Pair::new("EdDSA", "k2"));
    let served = Served::start(200, set(&[&first])).await;
    let sidegate = Sidegate::start(&yaml(&upstream, &format!("jwks_uri: \"{}\"", served.url), "")).await;
    let token = late.token(&claims(0));
    assert_invalid_token(&get(sidegate.public, "/", &token).await);
    served.set(200, set(&[&first, &late]));
    assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
}

#[tokio::test]
async fn a_reload_that_no_longer_trusts_the_issuer_ends_its_cached_tokens() {
    let (upstream, pair) = (Upstream::start().await, Pair::new("EdDSA", "k"));
    let file = scratch("reload").join("jwks.json");
    std::fs::write(&file, set(&[&pair])).unwrap();
    let before = yaml(&upstream, &format!("jwks_file: {}", file.display()), "");
    let sidegate = Sidegate::start(&before).await;
    let token = pair.token(&claims(0));
    assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
    sidegate.reload(&before.replace(NAME, "http://other.test")).await;
    assert_invalid_token(&get(sidegate.public, "/", &token).await);
}
