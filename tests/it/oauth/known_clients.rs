//! How clients prove who they are.

use serde_json::{Value, json};

use super::house::{ISSUER, SECRET, assert_refused, authority, basic, client, form, hash, public, token, user};
use crate::support::{Pair, Sidegate, issuer::scratch, send};

const OWN: &str = "grant_type=client_credentials";

#[tokio::test]
async fn s36_two_methods_of_authentication_are_refused_and_either_alone_is_good() {
    let sidegate = Sidegate::start(&authority(&[client("app", "grants: [client_credentials]")], &[], "")).await;
    let header = basic("app", SECRET);
    let by_form = format!("{OWN}&client_id=app&client_secret={SECRET}");
    let ask =
        async |body: &str, headers: &[(&str, &str)]| send(sidegate.public, form("/oauth20/token", body, headers)).await;
    assert_refused(&ask(&by_form, &[("authorization", &header)]).await, 400, "invalid_request");
    assert_refused(&ask(OWN, &[("authorization", &header), ("authorization", &header)]).await, 400, "invalid_request");
    assert_eq!(ask(OWN, &[("authorization", &header)]).await.status, 200);
    assert_eq!(ask(&format!("{OWN}&client_id=app"), &[("authorization", &header)]).await.status, 200);
    assert_eq!(ask(OWN, &[("authorization", &header.replace("Basic", "bAsIc"))]).await.status, 200);
    assert_eq!(ask(&by_form, &[]).await.status, 200);
}

#[tokio::test]
async fn the_parts_of_basic_are_decoded_like_a_form() {
    let secret = "a+b %&:é";
    let odd = format!("{{ id: \"app:1\", secret_hashes: [\"{}\"], grants: [client_credentials] }}", hash(secret));
    let sidegate = Sidegate::start(&authority(&[odd], &[], "")).await;
    for (id, secret, status) in [
        ("app%3A1", "a%2Bb+%25%26%3A%C3%A9", 200),
        ("app%3A1", "a%2Bb%20%25%26:%c3%a9", 200),
        // As it is: what decoding makes of it is another secret, or none at all.
        ("app%3A1", "a+b %&:é", 401),
    ] {
        let request = form("/oauth20/token", OWN, &[("authorization", &basic(id, secret))]);
        assert_eq!(send(sidegate.public, request).await.status, status, "{secret}");
    }
}

#[tokio::test]
async fn a_public_client_may_name_itself_in_the_header() {
    let phone = public("phone", "grants: [password]");
    let sidegate = Sidegate::start(&authority(&[phone], &[user("ana", "")], "")).await;
    let body = format!("grant_type=password&username=ana&password={}", super::house::PASSWORD);
    let request = form("/oauth20/token", &body, &[("authorization", &basic("phone", ""))]);
    assert_eq!(send(sidegate.public, request).await.status, 200);
}

#[tokio::test]
async fn s39_the_password_grant_is_off_unless_a_client_has_it() {
    let app = client(
        "app",
        "grants: [client_credentials, refresh_token, authorization_code], redirect_uris: [\"https://a.test/\"]",
    );
    let sidegate = Sidegate::start(&authority(&[app], &[user("ana", "")], "")).await;
    assert_refused(&super::house::password(&sidegate).await, 400, "unauthorized_client");
}

#[tokio::test]
async fn s31_what_is_handed_out_is_random_and_what_the_store_keeps_opens_nothing() {
    let app = client("app", "grants: [password, refresh_token], scopes: [orders]");
    let sidegate = Sidegate::start(&authority(&[app], &[user("ana", "")], "")).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let reply = super::house::password(&sidegate).await;
        for name in ["access_token", "refresh_token"] {
            assert!(seen.insert(super::house::text(&reply, name)));
        }
    }
    let kept = super::house::sessions(&sidegate).list(Default::default(), None, 100).await.unwrap();
    let kept = format!("{kept:?}");
    for token in &seen {
        let secret = token.split_once(['_', '.']).unwrap().1;
        // The first 16 bytes are the name of the session.
        assert!(!kept.contains(&secret[22..]), "{kept}");
    }
}

/// An authority with the client `app` that has `keys`.
async fn with_keys(keys: &[&Pair]) -> Sidegate {
    let file = scratch("assertions").join("jwks.json");
    let keys: Vec<&Value> = keys.iter().map(|pair| &pair.jwk).collect();
    std::fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    let app = format!("{{ id: app, jwks_file: {}, grants: [client_credentials] }}", file.display());
    Sidegate::start(&authority(&[app, client("other", "grants: [client_credentials]")], &[], "")).await
}

fn claims(sidegate: &Sidegate, jti: &str) -> Value {
    let now = sidegate.time.now().0;
    json!({"iss": "app", "sub": "app", "aud": ISSUER, "iat": now, "exp": now + 300, "jti": jti})
}

async fn prove(sidegate: &Sidegate, assertion: &str) -> crate::support::Reply {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    token(sidegate, &format!("{OWN}&client_assertion_type={kind}&client_assertion={assertion}")).await
}

#[tokio::test]
async fn s40_an_assertion_is_for_us_short_and_good_once() {
    let pairs = [Pair::new("ES256", "e"), Pair::new("RS256", "r"), Pair::new("EdDSA", "d")];
    let sidegate = with_keys(&pairs.iter().collect::<Vec<_>>()).await;
    for pair in &pairs {
        let assertion = pair.token(&claims(&sidegate, &pair.kid));
        assert_eq!(prove(&sidegate, &assertion).await.status, 200, "{}", pair.algorithm);
        assert_refused(&prove(&sidegate, &assertion).await, 401, "invalid_client");
    }
    let pair = &pairs[0];
    let now = sidegate.time.now().0;
    for (name, changes) in [
        ("the token endpoint as audience", json!({"aud": format!("{ISSUER}/oauth20/token")})),
        ("another audience", json!({"aud": "https://elsewhere.test"})),
        ("a second audience", json!({"aud": [ISSUER, "https://elsewhere.test"]})),
        ("no audience", json!({"aud": null})),
        ("another subject", json!({"sub": "other"})),
        ("another issuer", json!({"iss": "other", "sub": "other"})),
        ("no issuer", json!({"iss": null})),
        ("no jti", json!({"jti": null})),
        ("an empty jti", json!({"jti": ""})),
        ("no expiry", json!({"exp": null})),
        ("expired", json!({"exp": now - 31})),
        ("too long", json!({"exp": now + 400})),
        ("issued in the future", json!({"iat": now + 100})),
    ] {
        let changed = crate::support::keys::changed(&claims(&sidegate, name), &changes);
        let reply = prove(&sidegate, &pair.token(&changed)).await;
        assert_eq!(reply.status, 401, "{name}");
        assert_refused(&reply, 401, "invalid_client");
    }
    // An audience may stand in a list of one, and none of the refusals has spent a `jti`.
    let listed = crate::support::keys::changed(&claims(&sidegate, "too long"), &json!({"aud": [ISSUER]}));
    assert_eq!(prove(&sidegate, &pair.token(&listed)).await.status, 200);
}

#[tokio::test]
async fn s40_an_assertion_is_signed_with_a_key_of_the_client_and_is_no_other_token() {
    let (own, foreign) = (Pair::new("ES256", "k"), Pair::new("ES256", "k"));
    let sidegate = with_keys(&[&own]).await;
    let good = claims(&sidegate, "1");
    assert_refused(&prove(&sidegate, &foreign.token(&good)).await, 401, "invalid_client");
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"typ": "at+jwt"}),
        json!({"typ": "sidegate+jwt"}),
        json!({"crit": ["x"]}),
        json!({"kid": "other"}),
    ] {
        let token = own.token_with_header(header.clone(), &good);
        assert_refused(&prove(&sidegate, &token).await, 401, "invalid_client");
    }
    for header in [json!({"typ": null}), json!({"typ": "client-authentication+jwt"})] {
        let jti = header.to_string();
        let token = own.token_with_header(header, &claims(&sidegate, &jti));
        assert_eq!(prove(&sidegate, &token).await.status, 200, "{jti}");
    }
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let assertion = own.token(&good);
    let body = format!("{OWN}&client_assertion_type={kind}&client_assertion={assertion}&client_id=other");
    assert_refused(&token(&sidegate, &body).await, 401, "invalid_client");
}
