//! What the upstream receives in place of the client's token, and what a client cannot slip past it.

use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::support::{
    Issuer, Sidegate, Upstream,
    client::request,
    get,
    issuer::{now, scratch},
    keys::{part, verifies},
    look::assert_invalid_token,
    send,
};

const JWKS: &str = "/.well-known/sidegate/jwks.json";

/// One upstream with `credential` and `identity_headers`, and more sections.
async fn start(issuer: &Issuer, upstream: &Upstream, credential: &str, identity: &str, more: &str) -> Sidegate {
    Sidegate::start(&yaml(issuer, upstream, credential, identity, more)).await
}

fn yaml(issuer: &Issuer, upstream: &Upstream, credential: &str, identity: &str, more: &str) -> String {
    format!(
        "{}upstreams:\n  - {{ name: app, url: \"http://{}\", credential: {{ {credential} }}, identity_headers: {{ {identity} }} }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}\n{more}",
        issuer.yaml(),
        upstream.address
    )
}

const INTERNAL: &str = "internal_jwt: { audience: app }";

fn internal(settings: &str) -> String {
    format!("internal_jwt: {{ issuer: \"http://sidegate.test\"{settings} }}\n")
}

fn received(upstream: &Upstream) -> String {
    let seen = upstream.last();
    assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
    seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned()
}

#[tokio::test]
async fn the_internal_token_says_who_asks_and_nothing_of_the_clients_token() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = start(&issuer, &upstream, INTERNAL, "X-Forwarded-Email: email", &internal("")).await;
    let own = issuer.token();
    let reply = get(sidegate.public, "/", &own).await;
    assert_eq!(reply.status, 200);
    let token = received(&upstream);
    assert_ne!(token, own);
    assert!(verifies(&get(sidegate.public, JWKS, "").await.json(), &token));
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("sidegate+jwt")));
    let iat = claims["iat"].as_u64().unwrap();
    assert!(iat.abs_diff(now()) <= 2);
    assert_eq!((claims["nbf"].as_u64(), claims["exp"].as_u64()), (Some(iat - 5), Some(iat + 120)));
    assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
    let mut rest = claims.clone();
    for name in ["iat", "nbf", "exp", "jti"] {
        rest.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(
        rest,
        json!({"iss": "http://sidegate.test", "aud": "app", "sub": "ana", "client_id": "shop",
            "scope": "orders profile", "email": "ana@example.com"})
    );
    // Nothing of it goes back.
    assert!(!format!("{:?}{}", reply.headers, reply.text()).contains(&token));
    let whole = format!("{:?}", upstream.last());
    assert!(!whole.contains(own.rsplit('.').next().unwrap()), "the client's token reached the upstream");
}

#[tokio::test]
async fn the_internal_token_is_minted_once_and_renewed_at_four_fifths_of_its_life() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = start(&issuer, &upstream, INTERNAL, "", &internal(", lifetime: 100s")).await;
    let token = issuer.token();
    let next = async || {
        assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
        received(&upstream)
    };
    let first = next().await;
    assert_eq!(next().await, first);
    sidegate.time.advance(75);
    assert_eq!(next().await, first);
    sidegate.time.advance(6);
    let second = next().await;
    assert_ne!(second, first);
    assert_eq!(next().await, second);
    assert!(part(&second, 1)["exp"].as_u64() > part(&first, 1)["exp"].as_u64());
    // Another client's token gets one of its own.
    let other = issuer.token_with(json!({"sub": "bob"}));
    assert_eq!(get(sidegate.public, "/", &other).await.status, 200);
    assert_eq!(part(&received(&upstream), 1)["sub"], "bob");
}

#[tokio::test]
async fn the_internal_token_never_outlives_the_clients() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = start(&issuer, &upstream, INTERNAL, "", &internal(", lifetime: 10m")).await;
    let end = now() + 60;
    let token = issuer.token_with(json!({"exp": end}));
    for _ in 0..12 {
        let reply = get(sidegate.public, "/", &token).await;
        if reply.status == 200 {
            let claims = part(&received(&upstream), 1);
            // `exp` and the leeway of the issuer.
            assert!(claims["exp"].as_u64() <= Some(end + 30), "{claims}");
            assert!(claims["exp"].as_u64() > Some(sidegate.time.now().0), "an expired credential was forwarded");
        } else {
            assert!(sidegate.time.now().0 >= end + 29);
            assert_invalid_token(&reply);
        }
        sidegate.time.advance(9);
    }
    assert_eq!(get(sidegate.public, "/", &token).await.status, 401);
}

#[tokio::test]
async fn every_algorithm_of_the_internal_token_verifies_with_what_is_published() {
    let issuer = Issuer::new();
    let directory = scratch("internal");
    let pem = directory.join("key.pem");
    std::fs::write(&pem, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    for settings in [
        ", algorithm: ES256".to_owned(),
        ", algorithm: RS256".to_owned(),
        ", algorithm: EdDSA".to_owned(),
        format!(", algorithm: ES256, key_file: {}", pem.display()),
    ] {
        let upstream = Upstream::start().await;
        let sidegate = start(&issuer, &upstream, INTERNAL, "", &internal(&settings)).await;
        assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 200, "{settings}");
        let keys = get(sidegate.public, JWKS, "").await.json();
        assert!(verifies(&keys, &received(&upstream)), "{settings}");
        assert_eq!(keys, get(sidegate.health, JWKS, "").await.json());
        let members: Vec<&String> = keys["keys"][0].as_object().unwrap().keys().collect();
        assert!(!members.iter().any(|name| ["d", "p", "q", "k"].contains(&name.as_str())), "{members:?}");
    }
}

#[tokio::test]
async fn an_internal_token_by_a_shared_secret_is_verified_with_it_and_publishes_nothing() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let file = scratch("internal").join("secret");
    let secret = b"the upstream and sidegate share this one";
    std::fs::write(&file, secret).unwrap();
    let settings = format!(", algorithm: HS256, key_file: {}", file.display());
    let sidegate = start(&issuer, &upstream, INTERNAL, "", &internal(&settings)).await;
    assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 200);
    let token = received(&upstream);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let key = jsonwebtoken::DecodingKey::from_secret(secret);
    let algorithm = jsonwebtoken::Algorithm::HS256;
    assert!(jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, algorithm).unwrap());
    assert_eq!(get(sidegate.health, JWKS, "").await.status, 404);
    assert_ne!(get(sidegate.public, JWKS, "").await.status, 200);
}

#[tokio::test]
async fn an_internal_token_opens_no_door_as_a_clients_token() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = start(&issuer, &upstream, INTERNAL, "", &internal("")).await;
    assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 200);
    assert_invalid_token(&get(sidegate.public, "/", &received(&upstream)).await);

    // Not even where another sidegate was told to trust the key set that the first one publishes.
    let behind = Upstream::start().await;
    let yaml = format!(
        "issuers:\n  - {{ name: first, issuer: \"http://sidegate.test\", jwks_uri: \"http://{}{JWKS}\" }}\n\
         upstreams:\n  - {{ name: app, url: \"http://{}\" }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [app] }} }}\n",
        sidegate.health, behind.address
    );
    let second = Sidegate::start(&yaml).await;
    assert_invalid_token(&get(second.public, "/", &received(&upstream)).await);
    assert_eq!(behind.count(), 0);
}

#[tokio::test]
async fn the_credential_may_be_the_clients_own_or_fixed_or_none() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let password = scratch("basic").join("password");
    std::fs::write(&password, "p4ss:wörd\n").unwrap();
    let token = issuer.token();
    let basic = format!("basic: {{ username: svc, password_file: {} }}", password.display());
    for (credential, expected) in [
        ("original: {}".to_owned(), Some(format!("Bearer {token}"))),
        (basic, Some("Basic c3ZjOnA0c3M6d8O2cmQ=".to_owned())),
        ("none: {}".to_owned(), None),
    ] {
        let sidegate = start(&issuer, &upstream, &credential, "X-Forwarded-User: sub", "").await;
        assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
        assert_eq!(upstream.last().header("authorization"), expected.as_deref());
        assert_eq!(upstream.last().header("x-forwarded-user"), Some("ana"));
    }
}

#[tokio::test]
async fn a_public_route_gives_no_credential_away() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let password = scratch("basic").join("password");
    std::fs::write(&password, "password").unwrap();
    for credential in
        [INTERNAL.to_owned(), format!("basic: {{ username: svc, password_file: {} }}", password.display())]
    {
        let yaml = yaml(&issuer, &upstream, &credential, "X-Forwarded-User: sub", &internal(""))
            .replace("policy: { audiences: [orders-api] }", "public: true");
        let sidegate = Sidegate::start(&yaml).await;
        let mut request = request("GET", "/", &issuer.token());
        request.headers_mut().insert("x-forwarded-user", HeaderValue::from_static("root"));
        assert_eq!(send(sidegate.public, request).await.status, 200);
        assert_eq!(upstream.last().header("authorization"), None);
        assert_eq!(upstream.last().header("x-forwarded-user"), None);
    }
}

#[tokio::test]
async fn identity_headers_are_what_the_token_says_however_a_client_spells_its_own() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let identity = "X-Forwarded-User: sub, X-Forwarded-Groups: groups, X-Tenant-Id: tenant, X-Level: level";
    let sidegate = start(&issuer, &upstream, INTERNAL, identity, &internal("")).await;
    let token = issuer.token_with(json!({"groups": ["a", "b"], "level": 7}));
    let forged = [
        "x-forwarded-user",
        "X-FORWARDED-USER",
        "x_forwarded_user",
        "X-Forwarded_User",
        "x.forwarded.user",
        "http_x_forwarded_user",
        "x-forwarded-groups",
        "x_forwarded_groups",
        "x-tenant-id",
        "x_tenant_id",
        "X-Tenant_Id",
        "x-level",
        "x_level",
        "x-forwarded-email",
        "remote-user",
        "remote_user",
        "x-remote-user",
        "x-webauth-user",
        "x-forwarded-preferred-username",
        "x-forwarded-access-token",
        "x_forwarded_access_token",
        "authorization_",
        "http_authorization",
    ];
    let mut request = request("GET", "/", &token);
    for name in forged {
        for value in ["root", "admin"] {
            let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
    }
    request
        .headers_mut()
        .append("connection", HeaderValue::from_static("x-forwarded-user, x-tenant-id, authorization"));
    assert_eq!(send(sidegate.public, request).await.status, 200);
    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-user"), Some("ana"));
    assert_eq!(seen.header("x-forwarded-groups"), Some("a,b"));
    assert_eq!(seen.header("x-level"), Some("7"));
    assert_eq!(seen.header("x-tenant-id"), None, "the token has no tenant, so nobody has");
    assert!(seen.headers.contains_key("authorization"));
    for (name, value) in &seen.headers {
        let value = value.to_str().unwrap();
        assert!(name == "authorization_" || !["root", "admin"].contains(&value), "{name}: {value}");
    }
}

#[tokio::test]
async fn a_claim_that_may_not_stand_in_a_header_is_not_forwarded() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = start(&issuer, &upstream, "none: {}", "X-Forwarded-User: sub, X-Name: name", "").await;
    for name in ["ana\r\nX-Forwarded-User: root", "ana\n", "a\0b", "\u{7f}", "\u{1b}[31m"] {
        assert_eq!(get(sidegate.public, "/", &issuer.token_with(json!({"name": name}))).await.status, 200);
        let seen = upstream.last();
        assert_eq!((seen.header("x-name"), seen.header("x-forwarded-user")), (None, Some("ana")), "{name:?}");
    }
    // Beyond ASCII, the bytes of UTF-8 go as they are (obs-text of RFC 9110, section 5.5).
    assert_eq!(get(sidegate.public, "/", &issuer.token_with(json!({"name": "josé"}))).await.status, 200);
    assert_eq!(upstream.last().headers["x-name"].as_bytes(), "josé".as_bytes());
    for odd in [json!(null), json!({"a": 1}), json!({"sub": "root"})] {
        assert_eq!(get(sidegate.public, "/", &issuer.token_with(json!({"name": odd}))).await.status, 200);
        assert_eq!(upstream.last().header("x-name"), None);
    }
}

#[tokio::test]
async fn a_claim_that_would_read_as_another_is_not_forwarded() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = start(&issuer, &upstream, "none: {}", "X-Forwarded-User: sub, X-Forwarded-Groups: groups", "").await;
    // Servers trim blanks: whoever may choose the name " root" would be root.
    for name in [" root", "root ", "\troot", "root\t"] {
        assert_eq!(get(sidegate.public, "/", &issuer.token_with(json!({"sub": name}))).await.status, 200);
        assert_eq!(upstream.last().header("x-forwarded-user"), None, "{name:?}");
    }
    // Items are joined by commas: the one group "staff,admin" would be two.
    for groups in [json!(["staff,admin"]), json!(["staff", " admin"]), json!(["staff", "a,b"])] {
        assert_eq!(get(sidegate.public, "/", &issuer.token_with(json!({"groups": groups}))).await.status, 200);
        assert_eq!(upstream.last().header("x-forwarded-groups"), None, "{groups}");
    }
    let fine = issuer.token_with(json!({"sub": "Ana, of the staff", "groups": ["staff", "the crew"]}));
    assert_eq!(get(sidegate.public, "/", &fine).await.status, 200);
    assert_eq!(upstream.last().header("x-forwarded-user"), Some("Ana, of the staff"));
    assert_eq!(upstream.last().header("x-forwarded-groups"), Some("staff,the crew"));
}

#[tokio::test]
async fn claims_cannot_take_the_place_of_what_the_mint_says() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let identity = "X-A: iss, X-B: aud, X-C: exp, X-D: jti, X-E: nbf";
    let sidegate = start(&issuer, &upstream, INTERNAL, identity, &internal("")).await;
    let token = issuer.token_with(json!({"jti": "chosen", "nbf": 7}));
    assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
    let claims: Value = part(&received(&upstream), 1);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("http://sidegate.test"), &json!("app")));
    assert_ne!(claims["jti"], "chosen");
    assert!(claims["exp"].as_u64() <= Some(now() + 121));
}

#[tokio::test]
async fn a_reload_with_the_same_settings_keeps_the_key_that_upstreams_know() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let yaml = yaml(&issuer, &upstream, INTERNAL, "", &internal(""));
    let sidegate = Sidegate::start(&yaml).await;
    let before = get(sidegate.public, JWKS, "").await.json();
    sidegate.reload(&format!("{yaml}resource: {{ realm: other }}\n")).await;
    assert_eq!(get(sidegate.public, JWKS, "").await.json(), before);
    assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 200);
    assert!(verifies(&before, &received(&upstream)));
}

#[tokio::test]
async fn a_route_with_a_header_of_its_own_takes_the_bare_token_there_and_lets_it_no_further() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let yaml = yaml(&issuer, &upstream, INTERNAL, "", &internal(""))
        .replace("paths: [/, \"/*\"],", "paths: [/, \"/*\"], token: { header: X-Api-Token },");
    let sidegate = Sidegate::start(&yaml).await;
    let with = |value: &str| {
        let mut request = request("GET", "/", "");
        request.headers_mut().insert("x-api-token", HeaderValue::from_str(value).unwrap());
        request
    };
    assert_eq!(send(sidegate.public, with(&issuer.token())).await.status, 200);
    assert_eq!(upstream.last().header("x-api-token"), None);
    assert!(received(&upstream).len() > 50);
    assert_eq!(send(sidegate.public, with(&format!("Bearer {}", issuer.token()))).await.status, 400);
    assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 401);
}

#[tokio::test]
async fn a_query_token_that_is_passed_on_goes_where_tokens_belong() {
    let issuer = Issuer::new();
    for (upstreams, expected) in
        [(None, "private"), (Some("no-store"), "no-store"), (Some("max-age=60, Private"), "max-age=60, Private")]
    {
        let upstream = Upstream::answering(move |_| {
            let mut response = http::Response::new(http_body_util::Full::default());
            if let Some(value) = upstreams {
                response.headers_mut().insert("cache-control", HeaderValue::from_static(value));
            }
            response
        })
        .await;
        let yaml = yaml(&issuer, &upstream, "original: {}", "", "")
            .replace("paths: [/, \"/*\"],", "paths: [/, \"/*\"], token: { query_parameter: t },");
        let sidegate = Sidegate::start(&yaml).await;
        let token = issuer.token();
        let reply = get(sidegate.public, &format!("/x?t={token}&a=b"), "").await;
        assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, Some(expected)));
        assert_eq!(upstream.last().target, "/x?a=b");
        assert_eq!(received(&upstream), token);
    }
}
