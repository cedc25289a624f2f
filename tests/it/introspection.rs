//! Opaque tokens: the issuer is asked (RFC 7662), as seldom as possible, and a failure is never a refusal.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::oauth::{
    dialects::{API_KEY, by_key, in_data, keyed, renew},
    house::{authority, client, code, password, text, user},
};
use crate::support::{
    Sidegate, Upstream, get,
    issuer::{AUDIENCE, NAME, Served, now, scratch},
    keys::Pair,
    look::{assert_invalid_token, assert_problem},
};

struct House {
    upstream: Upstream,
    idp: Served,
    sidegate: Sidegate,
}

impl House {
    async fn new(more: &str) -> House {
        let (upstream, idp) = (Upstream::start().await, Served::start(200, active(json!({}))).await);
        let yaml = format!(
            "issuers:\n  - {}\nupstreams:\n  - {{ name: app, url: \"http://{}\", identity_headers: {{ X-Forwarded-User: sub }} }}\n\
             routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [{AUDIENCE}] }} }}\n",
            asking("corp", NAME, &idp, more),
            upstream.address
        );
        House { sidegate: Sidegate::start(&yaml).await, upstream, idp }
    }
}

fn asking(name: &str, issuer: &str, idp: &Served, more: &str) -> String {
    let secret = scratch("introspection").join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    format!(
        "{{ name: {name}, issuer: \"{issuer}\", algorithms: [], introspection: {{ endpoint: \"{}/introspect\", \
         client_id: sidegate, client_secret_file: {}, cache_ttl: 60s, negative_ttl: 10s{more} }} }}",
        idp.url,
        secret.display()
    )
}

fn active(more: Value) -> String {
    let mut answer = json!({"active": true, "iss": NAME, "aud": AUDIENCE, "sub": "ana", "exp": now() + 600});
    answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    answer.to_string()
}

#[tokio::test]
async fn an_active_token_is_forwarded_with_its_identity_and_asked_about_once() {
    let house = House::new("").await;
    for _ in 0..5 {
        assert_eq!(get(house.sidegate.public, "/", "opaque-1").await.status, 200);
    }
    assert_eq!(house.upstream.last().header("x-forwarded-user"), Some("ana"));
    assert_eq!(house.idp.asked(), 1);
    assert_eq!(house.idp.bodies.lock().unwrap()[0], "token=opaque-1&token_type_hint=access_token");
    assert_eq!(get(house.sidegate.public, "/", "opaque-2").await.status, 200);
    assert_eq!(house.idp.asked(), 2);
}

#[tokio::test]
async fn an_answer_is_kept_no_longer_than_the_ttl_and_a_revocation_is_seen_then() {
    let house = House::new("").await;
    assert_eq!(get(house.sidegate.public, "/", "opaque").await.status, 200);
    house.idp.set(200, "{\"active\":false}");
    house.sidegate.time.advance(50);
    assert_eq!(get(house.sidegate.public, "/", "opaque").await.status, 200);
    assert_eq!(house.idp.asked(), 1);
    house.sidegate.time.advance(11);
    assert_invalid_token(&get(house.sidegate.public, "/", "opaque").await);
    assert_eq!(house.idp.asked(), 2);
}

#[tokio::test]
async fn an_answer_is_kept_no_longer_than_the_token_lives() {
    let house = House::new("").await;
    house.idp.set(200, active(json!({"exp": now() + 10})));
    assert_eq!(get(house.sidegate.public, "/", "opaque").await.status, 200);
    house.sidegate.time.advance(10 + 31);
    // The issuer goes on saying "active", which a token that has expired is not.
    for _ in 0..2 {
        assert_invalid_token(&get(house.sidegate.public, "/", "opaque").await);
    }
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn an_inactive_token_is_remembered_for_the_negative_ttl() {
    let house = House::new("").await;
    house.idp.set(200, "{\"active\":false}");
    for _ in 0..5 {
        assert_invalid_token(&get(house.sidegate.public, "/", "opaque").await);
    }
    assert_eq!(house.idp.asked(), 1);
    house.idp.set(200, active(json!({})));
    house.sidegate.time.advance(11);
    assert_eq!(get(house.sidegate.public, "/", "opaque").await.status, 200);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn policy_holds_for_introspected_tokens_too() {
    let house = House::new("").await;
    for (token, other) in [
        ("a", json!({"aud": "other"})),
        ("b", json!({"aud": null})),
        ("c", json!({"iss": "http://other.test"})),
        ("d", json!({"nbf": now() + 100})),
        ("e", json!({"cnf": {"jkt": "x"}})),
        ("f", json!({"token_type": "refresh_token"})),
    ] {
        house.idp.set(200, active(other.clone()));
        let reply = get(house.sidegate.public, "/", token).await;
        // An answer with a null where an audience belongs is no answer.
        assert!([401, 503].contains(&reply.status.as_u16()), "{other} {}", reply.status);
    }
    house.idp.set(200, json!({"active": true, "sub": "ana"}).to_string());
    assert_invalid_token(&get(house.sidegate.public, "/", "no-audience").await);
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn fifty_requests_with_one_token_ask_once() {
    let house = House::new("").await;
    house.idp.hold(true);
    let all = join_all((0..50).map(|_| get(house.sidegate.public, "/", "opaque")));
    let release = async {
        while house.idp.asked() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        house.idp.hold(false);
    };
    let (replies, ()) = tokio::join!(all, release);
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(house.idp.asked(), 1);
}

#[tokio::test]
async fn an_endpoint_that_fails_refuses_nobody_and_is_asked_again() {
    let house = House::new("").await;
    for (i, (status, body)) in [
        (500, "{}"),
        (503, ""),
        (401, "{\"error\":\"invalid_client\"}"),
        (403, ""),
        (404, ""),
        (302, ""),
        (200, ""),
        (200, "<html>"),
        (200, "{}"),
        (200, "{\"active\":\"true\"}"),
        (200, "{\"active\":1}"),
        (200, "{\"active\":false,\"active\":true}"),
        (200, "[true]"),
    ]
    .into_iter()
    .enumerate()
    {
        house.idp.set(status, body);
        let token = format!("opaque-{i}");
        assert_problem(&get(house.sidegate.public, "/", &token).await, 503, "temporarily_unavailable", None);
        house.idp.set(200, active(json!({})));
        assert_eq!(get(house.sidegate.public, "/", &token).await.status, 200, "{status} {body} was remembered");
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_time_refuses_nobody() {
    let house = House::new(", timeout: 100ms").await;
    house.idp.hold(true);
    let reply = get(house.sidegate.public, "/", "opaque").await;
    assert_problem(&reply, 503, "temporarily_unavailable", None);
    house.idp.hold(false);
    assert_eq!(get(house.sidegate.public, "/", "opaque").await.status, 200);
}

#[tokio::test]
async fn more_questions_than_may_be_open_are_not_asked() {
    let house = House::new(", max_concurrent: 2").await;
    house.idp.hold(true);
    let open = join_all((0..2).map(|i| {
        let public = house.sidegate.public;
        async move { get(public, "/", &format!("open-{i}")).await }
    }));
    let more = async {
        while house.idp.asked() < 2 {
            tokio::task::yield_now().await;
        }
        let reply = get(house.sidegate.public, "/", "one-too-many").await;
        assert_problem(&reply, 503, "temporarily_unavailable", None);
        house.idp.hold(false);
    };
    let (replies, ()) = tokio::join!(open, more);
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(house.idp.asked(), 2);
    assert_eq!(get(house.sidegate.public, "/", "one-too-many").await.status, 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cancel_the_question() {
    let house = House::new("").await;
    house.idp.hold(true);
    let impatient = tokio::spawn({
        let public = house.sidegate.public;
        async move { get(public, "/", "opaque").await }
    });
    while house.idp.asked() == 0 {
        tokio::task::yield_now().await;
    }
    impatient.abort();
    let _ = impatient.await;
    let patient = get(house.sidegate.public, "/", "opaque");
    let release = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        house.idp.hold(false);
    };
    let (reply, ()) = tokio::join!(patient, release);
    assert_eq!(reply.status, 200);
    assert_eq!(house.idp.asked(), 1);
}

/// Two issuers that introspect, and a route that trusts only the first.
async fn two_issuers() -> (Upstream, Served, Served, Sidegate) {
    let upstream = Upstream::start().await;
    let (trusted, other) = (Served::start(200, active(json!({}))).await, Served::start(200, active(json!({}))).await);
    let yaml = format!(
        "issuers:\n  - {}\n  - {}\nupstreams:\n  - {{ name: app, url: \"http://{}\" }}\n\
         routes:\n  \
         - {{ name: one, paths: [/one], upstream: app, policy: {{ issuers: [corp], audiences: [{AUDIENCE}] }} }}\n  \
         - {{ name: both, paths: [/both], upstream: app, policy: {{ audiences: [{AUDIENCE}] }} }}\n",
        asking("corp", NAME, &trusted, ""),
        asking("other", "http://other.test", &other, ""),
        upstream.address
    );
    let sidegate = Sidegate::start(&yaml).await;
    (upstream, trusted, other, sidegate)
}

#[tokio::test]
async fn an_opaque_token_is_shown_only_to_issuers_that_the_route_trusts() {
    let (_upstream, trusted, other, sidegate) = two_issuers().await;
    trusted.set(200, "{\"active\":false}");
    assert_invalid_token(&get(sidegate.public, "/one", "opaque").await);
    assert_eq!((trusted.asked(), other.asked()), (1, 0));
    other.set(200, json!({"active": true, "aud": AUDIENCE}).to_string());
    assert_eq!(get(sidegate.public, "/both", "opaque").await.status, 200);
    assert_eq!((trusted.asked(), other.asked()), (1, 1), "the first had said no a moment ago");
    // What the other issuer vouches for opens no route that does not trust it.
    assert_eq!(get(sidegate.public, "/one", "opaque").await.status, 401);
}

#[tokio::test]
async fn one_issuer_out_of_reach_leaves_a_no_of_the_other_undecided() {
    let (upstream, trusted, other, sidegate) = two_issuers().await;
    trusted.set(500, "");
    other.set(200, "{\"active\":false}");
    assert_problem(&get(sidegate.public, "/both", "opaque").await, 503, "temporarily_unavailable", None);
    trusted.set(200, "{\"active\":false}");
    assert_invalid_token(&get(sidegate.public, "/both", "opaque").await);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_jwt_of_an_issuer_that_only_introspects_is_shown_to_it_where_the_route_trusts_it() {
    let (_upstream, trusted, other, sidegate) = two_issuers().await;
    let pair = Pair::new("EdDSA", "k");
    let of = |iss: &str| pair.token(&json!({"iss": iss, "aud": AUDIENCE, "exp": now() + 60}));
    assert_eq!(get(sidegate.public, "/one", &of(NAME)).await.status, 200);
    assert_eq!((trusted.asked(), other.asked()), (1, 0));
    assert_invalid_token(&get(sidegate.public, "/one", &of("http://other.test")).await);
    assert_eq!((trusted.asked(), other.asked()), (1, 0), "a question whose answer cannot open this route");
}

#[tokio::test]
async fn who_comes_after_a_failure_does_not_share_it() {
    let house = House::new("").await;
    for i in 0..100 {
        let token = format!("opaque-{i}");
        house.idp.set(500, "");
        assert_eq!(get(house.sidegate.public, "/", &token).await.status, 503);
        house.idp.set(200, active(json!({})));
        assert_eq!(get(house.sidegate.public, "/", &token).await.status, 200, "{i}");
    }
}

#[tokio::test]
async fn refresh_tokens_and_codes_of_our_own_are_shown_to_no_issuer() {
    let (upstream, idp) = (Upstream::start().await, Served::start(200, active(json!({}))).await);
    let app = client("app", "grants: [password, refresh_token]");
    let yaml = authority(&[app], &[user("ana", "")], "");
    let (own, _) = yaml.split_once("upstreams:").unwrap();
    let yaml = format!(
        "{own}issuers:\n  - {}\nupstreams:\n  - {{ name: app, url: \"http://{}\" }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [{AUDIENCE}] }} }}\n",
        asking("corp", NAME, &idp, ""),
        upstream.address
    );
    let sidegate = Sidegate::start(&yaml).await;
    let refresh = text(&password(&sidegate).await, "refresh_token");
    let code = code(&sidegate, |_| {}).await;
    for secret in [&refresh, &code] {
        assert_invalid_token(&get(sidegate.public, "/", secret).await);
    }
    assert_eq!((idp.asked(), upstream.count()), (0, 0));
    assert_eq!(get(sidegate.public, "/", "opaque").await.status, 200);
}

/// It has no sign by which it could be told from the opaque tokens of others, UUIDs among them.
#[tokio::test]
async fn a_compact_token_as_a_bearer_token_is_shown_to_no_issuer() {
    let (upstream, idp) = (Upstream::start().await, Served::start(200, active(json!({}))).await);
    let yaml = keyed();
    let (own, _) = yaml.split_once("upstreams:").unwrap();
    let yaml = format!(
        "{own}issuers:\n  - {}\nupstreams:\n  - {{ name: app, url: \"http://{}\" }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [{}] }} }}\n",
        asking("corp", NAME, &idp, ""),
        upstream.address,
        AUDIENCE,
    );
    let sidegate = Sidegate::start(&yaml).await;
    let first = in_data(&by_key(&sidegate, API_KEY).await, "RefreshToken");
    let second = in_data(&renew(&sidegate, &first).await, "RefreshToken");
    for token in [first, second] {
        assert_invalid_token(&get(sidegate.public, "/", &token).await);
        let (text, json) = sidegate.explained(&token).await;
        assert!(text.contains("a refresh token or a code of the local authority"), "{text}");
        assert!(!text.contains(&token) && !json.contains(&token));
    }
    assert_eq!((idp.asked(), upstream.count()), (0, 0));
    for foreign in [API_KEY.replace('f', "e"), "A".repeat(36)] {
        assert_eq!(get(sidegate.public, "/", &foreign).await.status, 200, "{foreign}");
    }
    assert_eq!(idp.asked(), 2);
}
