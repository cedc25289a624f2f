//! Keys of issuers: found, rotated, kept through outages, and never a reason to send a client away for nothing.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Pair, Sidegate, Upstream, get,
    issuer::{AUDIENCE, NAME, Served, now, scratch},
    look::{assert_invalid_token, assert_problem},
};

fn yaml(upstream: &Upstream, issuer: &str) -> String {
    format!(
        "issuers:\n  - {{ name: corp, issuer: \"{NAME}\", {issuer} }}\n\
         upstreams:\n  - {{ name: app, url: \"http://{}\" }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [{AUDIENCE}] }} }}\n",
        upstream.address
    )
}

fn claims() -> Value {
    json!({"iss": NAME, "sub": "ana", "aud": AUDIENCE, "exp": now() + 200_000})
}

fn set(keys: &[&Pair]) -> String {
    json!({"keys": keys.iter().map(|pair| &pair.jwk).collect::<Vec<_>>()}).to_string()
}

struct House {
    upstream: Upstream,
    idp: Served,
    sidegate: Sidegate,
}

impl House {
    /// With a `jwks_uri` at a scripted server.
    async fn new(status: u16, keys: String, more: &str) -> House {
        let (upstream, idp) = (Upstream::start().await, Served::start(status, keys).await);
        let yaml = yaml(&upstream, &format!("jwks_uri: \"{}\"{more}", idp.url));
        House { sidegate: Sidegate::start(&yaml).await, upstream, idp }
    }

    async fn status_of(&self, token: &str) -> StatusCode {
        get(self.sidegate.public, "/", token).await.status
    }
}

#[tokio::test]
async fn keys_come_by_discovery_by_uri_and_from_a_file() {
    let (upstream, pair) = (Upstream::start().await, Pair::new("ES256", "k"));
    let idp = Served::start(404, String::new()).await;
    let discovery = json!({"issuer": NAME, "jwks_uri": format!("{}/jwks", idp.url)}).to_string();
    idp.set(200, "{}");
    idp.set_path("/.well-known/openid-configuration", discovery);
    idp.set_path("/jwks", set(&[&pair]));
    let file = scratch("keys").join("jwks.json");
    std::fs::write(&file, set(&[&pair])).unwrap();
    for source in [
        format!("discovery_url: \"{}/.well-known/openid-configuration\"", idp.url),
        format!("jwks_uri: \"{}/jwks\"", idp.url),
        format!("jwks_file: {}", file.display()),
    ] {
        let sidegate = Sidegate::start(&yaml(&upstream, &source)).await;
        assert_eq!(get(sidegate.public, "/", &pair.token(&claims())).await.status, 200, "{source}");
    }
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_is_refused_and_the_reason_is_shown() {
    let (upstream, pair) = (Upstream::start().await, Pair::new("ES256", "k"));
    let idp = Served::start(200, set(&[&pair])).await;
    idp.set_path("/d", json!({"issuer": format!("{NAME}/"), "jwks_uri": format!("{}/jwks", idp.url)}).to_string());
    let sidegate = Sidegate::start(&yaml(&upstream, &format!("discovery_url: \"{}/d\"", idp.url))).await;
    let reply = get(sidegate.public, "/", &pair.token(&claims())).await;
    assert_problem(&reply, 503, "temporarily_unavailable", None);
    let issuer = sidegate.until_issuer(|issuer| !issuer["last_error"].is_null()).await;
    assert_eq!(issuer["last_error"], "the discovery document names another issuer");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_rotation_is_followed_by_one_question_for_all_who_wait() {
    let (old, new) = (Pair::new("EdDSA", "old"), Pair::new("EdDSA", "new"));
    let house = House::new(200, set(&[&old]), "").await;
    assert_eq!(house.status_of(&old.token(&claims())).await, 200);
    assert_eq!(house.idp.asked(), 1);

    house.idp.set(200, set(&[&old, &new]));
    house.idp.hold(true);
    let tokens: Vec<String> = (0..40)
        .map(|i| {
            new.token(&{
                let mut claims = claims();
                claims["jti"] = json!(i.to_string());
                claims
            })
        })
        .collect();
    let all = futures_util::future::join_all(tokens.iter().map(|token| house.status_of(token)));
    let release = async {
        while house.idp.asked() < 2 {
            tokio::task::yield_now().await;
        }
        house.idp.hold(false);
    };
    let (statuses, ()) = tokio::join!(all, release);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(house.idp.asked(), 2);
    assert_eq!(house.status_of(&old.token(&claims())).await, 200, "the old key stands beside the new one");
}

#[tokio::test]
async fn invented_kids_cost_the_issuer_three_questions_and_one_more_every_ten_seconds() {
    let pair = Pair::new("EdDSA", "k");
    let house = House::new(200, set(&[&pair]), "").await;
    assert_eq!(house.status_of(&pair.token(&claims())).await, 200);
    for i in 0..30 {
        let invented = Pair::new("EdDSA", &format!("invented-{i}"));
        assert_eq!(house.status_of(&invented.token(&claims())).await, 401);
    }
    assert_eq!(house.idp.asked(), 1 + 3);
    house.sidegate.time.advance(11);
    for i in 0..10 {
        let invented = Pair::new("EdDSA", &format!("later-{i}"));
        assert_eq!(house.status_of(&invented.token(&claims())).await, 401);
    }
    assert_eq!(house.idp.asked(), 1 + 3 + 1);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn keys_are_kept_through_an_outage_until_they_are_too_old_and_then_nobody_is_sent_away() {
    let pair = Pair::new("EdDSA", "k");
    let house = House::new(200, set(&[&pair]), ", refresh_interval: 5m, max_stale: 1h").await;
    let cached = pair.token(&claims());
    assert_eq!(house.status_of(&cached).await, 200);

    house.idp.set(500, "{}");
    house.sidegate.time.advance(1800);
    house.sidegate.until_issuer(|issuer| !issuer["last_error"].is_null()).await;
    assert_eq!(house.status_of(&cached).await, 200);
    let mut fresh = claims();
    fresh["jti"] = json!("fresh");
    assert_eq!(house.status_of(&pair.token(&fresh)).await, 200, "a token that was never seen");
    let (status, body) = house.sidegate.ready().await;
    assert_eq!((status, &body["degraded"][0]["issuer"]), (200, &json!("corp")), "{body}");

    house.sidegate.time.advance(1900);
    house.sidegate.until_issuer(|issuer| issuer["keys"] == 0).await;
    for token in [&cached, &pair.token(&claims())] {
        let reply = get(house.sidegate.public, "/", token).await;
        assert_problem(&reply, 503, "temporarily_unavailable", None);
    }

    house.idp.set(200, set(&[&pair]));
    house.sidegate.time.advance(60);
    house.sidegate.until_issuer(|issuer| issuer["keys"] == 1).await;
    assert_eq!(house.status_of(&cached).await, 200);
}

#[tokio::test]
async fn an_unknown_kid_during_an_outage_is_undecided() {
    let (pair, other) = (Pair::new("EdDSA", "k"), Pair::new("EdDSA", "new"));
    let house = House::new(200, set(&[&pair]), "").await;
    assert_eq!(house.status_of(&pair.token(&claims())).await, 200);
    house.idp.set(502, "");
    let reply = get(house.sidegate.public, "/", &other.token(&claims())).await;
    assert_problem(&reply, 503, "temporarily_unavailable", None);
    assert_eq!(house.status_of(&pair.token(&claims())).await, 200);
}

#[tokio::test]
async fn the_process_starts_without_its_issuer_and_readiness_says_why() {
    let pair = Pair::new("EdDSA", "k");
    for (required, expected) in [(false, 200), (true, 503)] {
        let house = House::new(503, String::new(), &format!(", required: {required}")).await;
        house.sidegate.until_issuer(|issuer| !issuer["last_error"].is_null()).await;
        let (status, body) = house.sidegate.ready().await;
        assert_eq!(status, expected, "{body}");
        let list = if required { "waiting_for" } else { "degraded" };
        assert_eq!(body[list][0]["issuer"], "corp", "{body}");
        assert!(body[list][0]["reason"].as_str().unwrap().contains("503"), "{body}");
        assert_eq!(get(house.sidegate.health, "/startupz", "").await.status, 200);
        assert_eq!(get(house.sidegate.health, "/livez", "").await.status, 200);
        let reply = get(house.sidegate.public, "/", &pair.token(&claims())).await;
        assert_problem(&reply, 503, "temporarily_unavailable", None);

        house.idp.set(200, set(&[&pair]));
        house.sidegate.time.advance(31);
        house.sidegate.until_issuer(|issuer| issuer["keys"] == 1).await;
        assert_eq!(house.sidegate.ready().await.0, 200);
        assert_eq!(house.status_of(&pair.token(&claims())).await, 200);

        // Required means: once. A later outage is no reason to send requests elsewhere.
        house.idp.set(503, "");
        house.sidegate.time.advance(400);
        house.sidegate.until_issuer(|issuer| !issuer["last_error"].is_null()).await;
        assert_eq!(house.sidegate.ready().await.0, 200);
    }
}

#[tokio::test]
async fn one_unreadable_key_disables_neither_its_set_nor_hides() {
    let pair = Pair::new("ES256", "good");
    let broken = [
        json!({"kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "kid": "off-curve", "x": pair.jwk["y"], "y": pair.jwk["x"]}),
        json!({"kty": "oct", "kid": "secret", "k": "AAAA"}),
        json!({"kty": "new-kind", "kid": "unknown"}),
        json!(7),
    ];
    let mut keys = broken.to_vec();
    keys.push(pair.jwk.clone());
    let house = House::new(200, json!({"keys": keys}).to_string(), "").await;
    assert_eq!(house.status_of(&pair.token(&claims())).await, 200);
    let issuer = house.sidegate.status().await["issuers"][0].clone();
    assert_eq!((&issuer["keys"], issuer["skipped"].as_array().unwrap().len()), (&json!(1), 5), "{issuer}");
    // A public key that is published as a secret must not become one.
    let forged = Pair::secret(&[0, 0, 0]).token_with_header(json!({"kid": "secret"}), &claims());
    assert_invalid_token(&get(house.sidegate.public, "/", &forged).await);
}

#[tokio::test]
async fn two_issuers_with_the_same_kid_do_not_mix() {
    let (upstream, one, two) = (Upstream::start().await, Pair::new("EdDSA", "k"), Pair::new("EdDSA", "k"));
    let (idp_one, idp_two) = (Served::start(200, set(&[&one])).await, Served::start(200, set(&[&two])).await);
    let yaml = yaml(&upstream, &format!("jwks_uri: \"{}\"", idp_one.url)).replace(
        "upstreams:",
        &format!("  - {{ name: two, issuer: \"http://two.test\", jwks_uri: \"{}\" }}\nupstreams:", idp_two.url),
    );
    let sidegate = Sidegate::start(&yaml).await;
    let of_two = crate::support::keys::changed(&claims(), &json!({"iss": "http://two.test"}));
    assert_eq!(get(sidegate.public, "/", &one.token(&claims())).await.status, 200);
    assert_eq!(get(sidegate.public, "/", &two.token(&of_two)).await.status, 200);
    assert_invalid_token(&get(sidegate.public, "/", &one.token(&of_two)).await);
    assert_invalid_token(&get(sidegate.public, "/", &two.token(&claims())).await);
    assert_eq!((idp_one.asked(), idp_two.asked()), (1, 1));
}

#[tokio::test]
async fn a_token_of_an_issuer_that_nobody_configured_asks_nobody() {
    let pair = Pair::new("EdDSA", "k");
    let house = House::new(200, set(&[&pair]), "").await;
    assert_eq!(house.status_of(&pair.token(&claims())).await, 200);
    let stranger = Served::start(200, set(&[&pair])).await;
    let claims = crate::support::keys::changed(&claims(), &json!({"iss": stranger.url}));
    assert_invalid_token(&get(house.sidegate.public, "/", &pair.token(&claims)).await);
    assert_eq!((stranger.asked(), house.idp.asked()), (0, 1));
    assert_eq!(house.sidegate.decisions("all", "issuer_unknown").await, 1);
}

#[tokio::test]
async fn a_token_without_kid_is_accepted_after_a_rotation() {
    let (old, new) = (Pair::new("ES256", "a"), Pair::new("ES256", "b"));
    let house = House::new(200, set(&[&old]), "").await;
    let nameless = |pair: &Pair| pair.token_with_header(json!({"kid": null}), &claims());
    assert_eq!(house.status_of(&nameless(&old)).await, 200);

    house.idp.set(200, set(&[&new]));

    assert_eq!(house.status_of(&nameless(&new)).await, 200);
    assert_eq!(house.idp.asked(), 2);
    assert_invalid_token(&get(house.sidegate.public, "/", &nameless(&old)).await);
}
