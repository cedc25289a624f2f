//! Which tokens open the door, and what a client learns when one does not.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{
    Issuer, Pair, Reply, Sidegate, Upstream, get,
    issuer::{AUDIENCE, NAME, Served, now, scratch},
    keys::{changed, message},
    look::{assert_invalid_token, assert_problem},
    send,
};

/// A sidegate that trusts `keys` of one issuer with `settings`, in front of an upstream.
struct House {
    upstream: Upstream,
    sidegate: Sidegate,
}

impl House {
    async fn trusting(keys: &[&Pair], settings: &str) -> House {
        let upstream = Upstream::start().await;
        let file = scratch("tokens").join("jwks.json");
        let keys: Vec<&Value> = keys.iter().map(|pair| &pair.jwk).collect();
        std::fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
        let yaml = format!(
            "issuers:\n  - name: corp\n    issuer: {NAME}\n    jwks_file: {}\n{settings}{}",
            file.display(),
            behind(&upstream)
        );
        House { sidegate: Sidegate::start(&yaml).await, upstream }
    }

    async fn get(&self, token: &str) -> Reply {
        get(self.sidegate.public, "/", token).await
    }
}

fn behind(upstream: &Upstream) -> String {
    format!(
        "upstreams:\n  - name: app\n    url: http://{}\nroutes:\n  - name: all\n    paths: [/, \"/*\"]\n    \
         upstream: app\n    policy: {{ audiences: [{AUDIENCE}] }}\n",
        upstream.address
    )
}

fn claims() -> Value {
    json!({"iss": NAME, "sub": "ana", "aud": AUDIENCE, "iat": now(), "exp": now() + 600})
}

#[tokio::test]
async fn credentials_that_are_no_bearer_token_are_told_apart() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;
    let good = issuer.token();
    let long = format!("Bearer {}", "a".repeat(16 * 1024 + 1));
    let send_all = async |values: &[&[u8]]| {
        let mut request = Request::builder().uri("/").header("host", "api.test").body(Full::default()).unwrap();
        for value in values {
            request.headers_mut().append("authorization", HeaderValue::from_bytes(value).unwrap());
        }
        send(sidegate.public, request).await
    };
    let missing = Some("Bearer realm=\"sidegate\"");
    for absent in ["", "Basic YTpi", "DPoP abc", "Bearerabc", "Negotiate"] {
        assert_problem(&send_all(&[absent.as_bytes()]).await, 401, "token_missing", missing);
    }
    assert_problem(&send_all(&[]).await, 401, "token_missing", missing);
    let bad = Some("Bearer realm=\"sidegate\", error=\"invalid_request\"");
    let bearer = format!("Bearer {good}");
    let listed = format!("Bearer {good}, Bearer {good}");
    let trailed = format!("Bearer {good},");
    let spaced = format!("Bearer {good} {good}");
    let quoted = format!("Bearer \"{good}\"");
    for malformed in [
        &[bearer.as_bytes(), bearer.as_bytes()][..],
        &[bearer.as_bytes(), b"Basic YTpi"],
        &[b"Basic YTpi", bearer.as_bytes()],
        &[listed.as_bytes()],
        &[trailed.as_bytes()],
        &[spaced.as_bytes()],
        &[quoted.as_bytes()],
        &[b"Bearer"],
        &[b"Bearer ="],
        &[b"Bearer\tabc"],
        &[b"Bearer,abc"],
        &[b"Bearer a=b"],
        &[b"Bearer \xff\xfe"],
        &[long.as_bytes()],
    ] {
        assert_problem(&send_all(malformed).await, 400, "invalid_request", bad);
    }
    for garbage in ["abc", "a.b.c", "a.b.c.d.e", "...", "e30.e30.", "////", "eyJ.eyJ.x"] {
        assert_invalid_token(&get(sidegate.public, "/", garbage).await);
    }
    assert_eq!(upstream.count(), 0, "the upstream heard of a refused request");

    assert_eq!(send_all(&[format!("bEaReR   {good}").as_bytes()]).await.status, 200);
}

#[tokio::test]
async fn a_token_in_the_query_is_no_token_and_the_upstream_hears_nothing() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;
    let reply = get(sidegate.public, &format!("/?access_token={}", issuer.token()), "").await;
    assert_problem(&reply, 401, "token_missing", Some("Bearer realm=\"sidegate\""));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_query_token_works_only_where_the_route_says_so_and_never_goes_on() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let yaml =
        crate::support::sidegate::protecting(&upstream, &issuer, "    token: { query_parameter: access_token }\n");
    let sidegate = Sidegate::start(&yaml).await;
    let token = issuer.token();

    let reply = get(sidegate.public, &format!("/a?x=1&access_token={token}&y=2"), "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(upstream.last().target, "/a?x=1&y=2");

    let bad = Some("Bearer realm=\"sidegate\", error=\"invalid_request\"");
    let twice = get(sidegate.public, &format!("/?access_token={token}&access_token={token}"), "").await;
    assert_problem(&twice, 400, "invalid_request", bad);
    let two_ways = get(sidegate.public, &format!("/?access_token={token}"), &token).await;
    assert_problem(&two_ways, 400, "invalid_request", bad);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn an_answer_to_a_query_token_is_private_to_caches() {
    // RFC 6750, section 2.3.
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let yaml =
        crate::support::sidegate::protecting(&upstream, &issuer, "    token: { query_parameter: access_token }\n");
    let sidegate = Sidegate::start(&yaml).await;
    let token = issuer.token();
    let reply = get(sidegate.public, &format!("/a?access_token={token}"), "").await;
    assert_eq!(reply.header("cache-control"), Some("private"));
    assert_eq!(get(sidegate.public, "/a", &token).await.header("cache-control"), None);
}

#[tokio::test]
async fn every_configured_algorithm_is_accepted_with_its_own_key() {
    let pairs = ["RS256", "PS256", "ES256", "ES384", "EdDSA"].map(|algorithm| Pair::new(algorithm, algorithm));
    let all: Vec<&Pair> = pairs.iter().collect();
    let house = House::trusting(&all, "    algorithms: [RS256, PS256, ES256, ES384, EdDSA]\n").await;
    for pair in &pairs {
        assert_eq!(house.get(&pair.token(&claims())).await.status, 200, "{}", pair.algorithm);
        // The algorithm belongs to the key, whatever the token says.
        for other in ["RS256", "PS256", "ES256", "ES384", "EdDSA", "RS384", "HS256", "none"] {
            if other != pair.algorithm {
                let token = pair.token_with_header(json!({"alg": other}), &claims());
                assert_invalid_token(&house.get(&token).await);
            }
        }
    }
    assert_eq!(house.upstream.count(), pairs.len());
}

#[tokio::test]
async fn an_algorithm_that_the_issuer_does_not_use_is_refused_even_with_its_key() {
    let pair = Pair::new("EdDSA", "k");
    let house = House::trusting(&[&pair], "    algorithms: [ES256]\n").await;
    assert_invalid_token(&house.get(&pair.token(&claims())).await);
}

#[tokio::test]
async fn a_shared_secret_verifies_the_tokens_of_its_legacy_issuer_and_of_no_other() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let secret = b"a secret of a legacy issuer, long enough";
    let file = scratch("legacy").join("hs");
    std::fs::write(&file, secret).unwrap();
    let legacy = format!(
        "  - name: legacy\n    issuer: http://old.test\n    hs_secret_file: {}\n    algorithms: [HS256]\n",
        file.display()
    );
    let yaml = format!("{}{legacy}{}", issuer.yaml(), behind(&upstream));
    let sidegate = Sidegate::start(&yaml).await;
    let shared = Pair::secret(secret);
    let of = |iss: &str| changed(&claims(), &json!({"iss": iss}));

    assert_eq!(get(sidegate.public, "/", &shared.token(&of("http://old.test"))).await.status, 200);
    assert_invalid_token(&get(sidegate.public, "/", &shared.token(&of(NAME))).await);
    let guessed = Pair::secret(b"another secret of a legacy issuer, too!!");
    assert_invalid_token(&get(sidegate.public, "/", &guessed.token(&of("http://old.test"))).await);
    let foreign = issuer.token_with(json!({"iss": "http://old.test"}));
    assert_invalid_token(&get(sidegate.public, "/", &foreign).await);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_in_every_spelling_of_none() {
    let pair = Pair::new("ES256", "k");
    let house = House::trusting(&[&pair], "").await;
    for alg in ["none", "None", "NONE", "nOnE", "", "null"] {
        let message = message(&json!({"alg": alg, "kid": "k"}).to_string(), &claims().to_string());
        assert_invalid_token(&house.get(&format!("{message}.")).await);
        assert_invalid_token(&house.get(&format!("{message}.AAAA")).await);
    }
    let good = pair.token(&claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    assert_invalid_token(&house.get(&format!("{signed}.")).await);
    assert_invalid_token(&house.get(signed).await);
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn the_public_key_is_no_secret_to_sign_with() {
    let pair = Pair::new("RS256", "k");
    let house = House::trusting(&[&pair], "").await;
    let n = pair.jwk["n"].as_str().unwrap();
    let public = [n.as_bytes().to_vec(), BASE64URL.decode(n).unwrap(), pair.jwk.to_string().into_bytes()];
    for secret in public {
        let token = Pair::secret(&secret).token_with_header(json!({"kid": "k"}), &claims());
        assert_invalid_token(&house.get(&token).await);
        let token = Pair::secret(&secret).token_with_header(json!({"kid": null}), &claims());
        assert_invalid_token(&house.get(&token).await);
    }
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn claims_of_a_wrong_type_are_refused() {
    let pair = Pair::new("EdDSA", "k");
    let house = House::trusting(&[&pair], "").await;
    for bad in [
        json!({"iss": 7}),
        json!({"iss": [NAME]}),
        json!({"iss": "http://issuer.test/"}),
        json!({"iss": "HTTP://ISSUER.TEST"}),
        json!({"aud": 7}),
        json!({"aud": {"orders-api": true}}),
        json!({"aud": [AUDIENCE, 7]}),
        json!({"aud": "orders-api "}),
        json!({"aud": "ORDERS-API"}),
        json!({"aud": "other orders-api"}),
        json!({"aud": []}),
        json!({"exp": "9999999999"}),
        json!({"exp": now() as f64 + 600.5}),
        json!({"exp": true}),
        json!({"exp": -1}),
        json!({"exp": [now() + 600]}),
        json!({"nbf": "0"}),
        json!({"nbf": 1.5}),
        json!({"iat": "0"}),
        json!({"iat": now() + 120}),
        json!({"nbf": now() + 120}),
        json!({"exp": now() - 31}),
        json!({"sub": 7}),
        json!({"client_id": ["shop"]}),
        json!({"cnf": {"jkt": "x"}}),
        json!({"cnf": "x"}),
    ] {
        let reply = house.get(&pair.token(&changed(&claims(), &bad))).await;
        assert_eq!(reply.status, 401, "{bad}");
        assert_invalid_token(&reply);
    }
    for absent in ["iss", "aud", "exp"] {
        assert_invalid_token(&house.get(&pair.token(&changed(&claims(), &json!({absent: null})))).await);
    }
    // A null is not the absence of a claim.
    for null in ["iss", "aud", "exp", "nbf", "iat", "sub", "cnf"] {
        let mut claims = claims();
        claims[null] = Value::Null;
        assert_invalid_token(&house.get(&pair.token(&claims)).await);
    }
    assert_eq!(house.upstream.count(), 0);
    for good in [json!({"aud": ["x", AUDIENCE]}), json!({"iat": null, "nbf": now() - 5})] {
        assert_eq!(house.get(&pair.token(&changed(&claims(), &good))).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn a_token_has_one_spelling_only() {
    let pair = Pair::new("ES256", "k");
    let house = House::trusting(&[&pair], "").await;
    let good = pair.token(&claims());
    let header = pair.header().to_string();
    let twice = claims().to_string().replacen('{', "{\"aud\":\"x\",", 1);
    assert_invalid_token(&house.get(&pair.raw(&header, &twice)).await);
    assert_invalid_token(
        &house.get(&pair.raw(&header.replacen('{', "{\"alg\":\"none\",", 1), &claims().to_string())).await,
    );
    assert_invalid_token(&house.get(&pair.raw(&header, &format!("[{}]", claims()))).await);
    assert_invalid_token(&house.get(&format!("{good}=")).await);
    assert_invalid_token(&house.get(&format!("{good}.")).await);
    // 64 bytes leave four bits of the last character unused.
    let last = good.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    assert_invalid_token(&house.get(&format!("{}{next}", &good[..good.len() - 1])).await);
    assert_eq!(house.get(&good).await.status, 200);
}

#[tokio::test]
async fn a_token_that_is_not_valid_yet_is_accepted_once_its_time_has_come() {
    let pair = Pair::new("EdDSA", "k");
    let house = House::trusting(&[&pair], "").await;
    for early in [json!({"nbf": now() + 90}), json!({"iat": now() + 90})] {
        let token = pair.token(&changed(&claims(), &early));
        assert_invalid_token(&house.get(&token).await);
        house.sidegate.time.advance(70);
        assert_eq!(house.get(&token).await.status, 200, "{early}");
        house.sidegate.time.advance(-70);
    }
}

#[tokio::test]
async fn the_leeway_ends_where_it_says() {
    let pair = Pair::new("EdDSA", "k");
    let house = House::trusting(&[&pair], "    leeway: 30s\n").await;
    let expiring = || pair.token(&changed(&claims(), &json!({"exp": now() + 60, "jti": now().to_string()})));
    let token = expiring();
    house.sidegate.time.advance(60 + 25);
    assert_eq!(house.get(&token).await.status, 200, "within the leeway");
    house.sidegate.time.advance(6);
    assert_invalid_token(&house.get(&token).await);
    house.sidegate.time.advance(-(60 + 31));

    let early = pair.token(&changed(&claims(), &json!({"nbf": now() + 60})));
    house.sidegate.time.advance(25);
    assert_invalid_token(&house.get(&early).await);
    house.sidegate.time.advance(6);
    assert_eq!(house.get(&early).await.status, 200, "within the leeway");
}

#[tokio::test]
async fn a_header_that_changes_the_meaning_of_the_token_is_refused() {
    let pair = Pair::new("EdDSA", "k");
    let house = House::trusting(&[&pair], "").await;
    for bad in [
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"b64": false}),
        json!({"b64": true}),
        json!({"zip": "DEF"}),
        json!({"enc": "A256GCM"}),
        json!({"alg": 7}),
        json!({"alg": null}),
        json!({"kid": 7}),
        json!({"typ": 7}),
        json!({"typ": "sidegate+jwt"}),
        json!({"typ": "dpop+jwt"}),
        json!({"typ": "logout+jwt"}),
        json!({"typ": "token-introspection+jwt"}),
        json!({"typ": "application/application/jwt"}),
        json!({"typ": "JWT "}),
    ] {
        let reply = house.get(&pair.token_with_header(bad.clone(), &claims())).await;
        assert_eq!(reply.status, 401, "{bad}");
        assert_invalid_token(&reply);
    }
    for good in [
        json!({"typ": "jwt"}),
        json!({"typ": "at+jwt"}),
        json!({"typ": "AT+JWT"}),
        json!({"typ": "application/at+jwt"}),
        json!({"typ": null}),
        json!({"kid": null}),
    ] {
        assert_eq!(house.get(&pair.token_with_header(good.clone(), &claims())).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn an_issuer_of_access_tokens_only_has_its_id_tokens_refused() {
    let pair = Pair::new("EdDSA", "k");
    let house = House::trusting(&[&pair], "    token_types: [at+jwt]\n").await;
    assert_eq!(house.get(&pair.token_with_header(json!({"typ": "at+jwt"}), &claims())).await.status, 200);
    assert_invalid_token(&house.get(&pair.token_with_header(json!({"typ": "JWT"}), &claims())).await);
    assert_invalid_token(&house.get(&pair.token_with_header(json!({"typ": null}), &claims())).await);
}

#[tokio::test]
async fn a_token_cannot_bring_or_name_its_own_key() {
    let (trusted, forged) = (Pair::new("EdDSA", "k"), Pair::new("EdDSA", "evil"));
    let house = House::trusting(&[&trusted], "").await;
    let server = Served::start(200, json!({"keys": [forged.jwk]}).to_string()).await;
    let url = format!("{}/jwks", server.url);
    for kid in ["k", "evil"] {
        for own in [json!({"jku": url}), json!({"x5u": url}), json!({"jwk": forged.jwk}), json!({"x5c": ["AAAA"]})] {
            let header = changed(&own, &json!({"kid": kid}));
            assert_invalid_token(&house.get(&forged.token_with_header(header, &claims())).await);
        }
    }
    // Ignored where the key is the issuer's own.
    let token = trusted.token_with_header(json!({"jku": url, "x5u": url}), &claims());
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(server.asked(), 0);
    assert_eq!(house.upstream.count(), 1);
}
