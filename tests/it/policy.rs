//! What a route asks of a token that is good: decided on every request, also on a cache hit.

use serde_json::{Value, json};

use crate::support::{
    Issuer, Sidegate, Upstream, get,
    issuer::scratch,
    keys::{Pair, part, verifies},
    look::{assert_invalid_token, assert_problem},
};

/// Routes `/a/*` and `/b/*` with upstreams, audiences and credentials of their own.
async fn two_routes(issuer: &Issuer) -> (Upstream, Upstream, Sidegate) {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let yaml = format!(
        "{}internal_jwt: {{ issuer: http://sidegate.test }}\n\
         upstreams:\n  \
         - {{ name: a, url: \"http://{}\", credential: {{ internal_jwt: {{ audience: upstream-a }} }} }}\n  \
         - {{ name: b, url: \"http://{}\", credential: {{ internal_jwt: {{ audience: upstream-b }} }} }}\n\
         routes:\n  \
         - {{ name: a, paths: [\"/a/*\"], upstream: a, policy: {{ audiences: [api-a] }} }}\n  \
         - {{ name: b, paths: [\"/b/*\"], upstream: b, policy: {{ audiences: [api-b] }} }}\n",
        issuer.yaml(),
        a.address,
        b.address
    );
    let sidegate = Sidegate::start(&yaml).await;
    (a, b, sidegate)
}

fn audience_received(upstream: &Upstream, keys: &Value) -> Value {
    let seen = upstream.last();
    let token = seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
    assert!(verifies(keys, token));
    part(token, 1)["aud"].clone()
}

#[tokio::test]
async fn a_token_for_one_route_is_refused_by_the_other_also_when_it_is_cached() {
    let issuer = Issuer::new();
    let (a, b, sidegate) = two_routes(&issuer).await;
    let for_a = issuer.token_with(json!({"aud": "api-a"}));
    let for_b = issuer.token_with(json!({"aud": ["api-b"]}));
    for _ in 0..3 {
        assert_eq!(get(sidegate.public, "/a/1", &for_a).await.status, 200);
        assert_invalid_token(&get(sidegate.public, "/b/1", &for_a).await);
        // Here the route that refuses is the first to see the token.
        assert_invalid_token(&get(sidegate.public, "/a/1", &for_b).await);
        assert_eq!(get(sidegate.public, "/b/1", &for_b).await.status, 200);
    }
    assert_eq!((a.count(), b.count()), (3, 3));
    assert_eq!(sidegate.cache("verdicts", "miss").await, 2, "each token is validated once");
    assert_eq!(sidegate.cache("verdicts", "hit").await, 10);
    assert_eq!(sidegate.decisions("b", "audience_refused").await, 3);
}

#[tokio::test]
async fn no_upstream_sees_a_credential_made_for_the_other() {
    let issuer = Issuer::new();
    let (a, b, sidegate) = two_routes(&issuer).await;
    let keys = get(sidegate.public, "/.well-known/sidegate/jwks.json", "").await.json();
    let both = issuer.token_with(json!({"aud": ["api-a", "api-b"]}));
    for _ in 0..3 {
        assert_eq!(get(sidegate.public, "/a/1", &both).await.status, 200);
        assert_eq!(audience_received(&a, &keys), "upstream-a");
        assert_eq!(get(sidegate.public, "/b/1", &both).await.status, 200);
        assert_eq!(audience_received(&b, &keys), "upstream-b");
    }
    let sent = |upstream: &Upstream| {
        upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(sent(&a).iter().all(|token| !sent(&b).contains(token)));
}

#[tokio::test]
async fn every_condition_of_a_policy_is_answered_as_rfc_6750_says() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let policies = [
        ("all", "scopes_all: [read, write]"),
        ("any", "scopes_any: [read, admin]"),
        ("client", "clients: [shop, desk]"),
        ("claim", "claims: { tenant: [acme, umbrella], tier: [\"1\"] }"),
    ];
    let routes: String = policies
        .map(|(name, policy)| {
            format!("  - {{ name: {name}, paths: [/{name}], upstream: app, policy: {{ audiences: [orders-api], {policy} }} }}\n")
        })
        .concat();
    let yaml = format!(
        "{}upstreams:\n  - {{ name: app, url: \"http://{}\" }}\nroutes:\n{routes}",
        issuer.yaml(),
        upstream.address
    );
    let sidegate = Sidegate::start(&yaml).await;
    let mut forwarded = 0;
    for (path, claims, passes) in [
        ("/all", json!({"scope": "read write"}), true),
        ("/all", json!({"scope": "write extra read"}), true),
        ("/all", json!({"scp": ["read", "write"], "scope": ["read", "write"]}), true),
        ("/all", json!({"scope": "read"}), false),
        ("/all", json!({"scope": "readwrite"}), false),
        ("/all", json!({"scope": "READ WRITE"}), false),
        ("/all", json!({"scope": ""}), false),
        ("/all", json!({"scope": 7}), false),
        ("/any", json!({"scope": "admin"}), true),
        ("/any", json!({"scope": "x read"}), true),
        ("/any", json!({"scope": "reader"}), false),
        ("/client", json!({"client_id": "desk"}), true),
        ("/client", json!({"client_id": "desk2"}), false),
        ("/client", json!({"client_id": ""}), false),
        ("/claim", json!({"tenant": "acme", "tier": 1}), true),
        ("/claim", json!({"tenant": ["x", "umbrella"], "tier": "1"}), true),
        ("/claim", json!({"tenant": "acme"}), false),
        ("/claim", json!({"tenant": "acme", "tier": 10}), false),
        ("/claim", json!({"tenant": {"acme": true}, "tier": 1}), false),
        ("/claim", json!({"tenant": null, "tier": 1}), false),
    ] {
        let token = issuer.token_with(claims.clone());
        // Once from the keys and once from the cache.
        for _ in 0..2 {
            let reply = get(sidegate.public, path, &token).await;
            forwarded += usize::from(passes);
            if passes {
                assert_eq!(reply.status, 200, "{path} {claims}");
                continue;
            }
            let scope =
                |names| Some(format!("Bearer realm=\"sidegate\", error=\"insufficient_scope\", scope=\"{names}\""));
            let (code, challenge) = match path {
                "/all" => ("insufficient_scope", scope("read write")),
                "/any" => ("insufficient_scope", scope("read admin")),
                _ => ("forbidden", None),
            };
            assert_problem(&reply, 403, code, challenge.as_deref());
        }
    }
    assert_eq!(upstream.count(), forwarded);
}

#[tokio::test]
async fn a_route_believes_only_the_issuers_that_it_names() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let other = Pair::new("EdDSA", "k1");
    let file = scratch("other").join("jwks.json");
    std::fs::write(&file, json!({"keys": [other.jwk]}).to_string()).unwrap();
    let yaml = format!(
        "{}  - name: other\n    issuer: http://other.test\n    jwks_file: {}\n\
         upstreams:\n  - {{ name: app, url: \"http://{}\" }}\n\
         routes:\n  \
         - {{ name: corp, paths: [/corp], upstream: app, policy: {{ issuers: [corp], audiences: [orders-api] }} }}\n  \
         - {{ name: any, paths: [/any], upstream: app, policy: {{ audiences: [orders-api] }} }}\n",
        issuer.yaml(),
        file.display(),
        upstream.address
    );
    let sidegate = Sidegate::start(&yaml).await;
    let mut claims = issuer.claims();
    claims["iss"] = json!("http://other.test");
    let token = other.token(&claims);
    for _ in 0..2 {
        assert_invalid_token(&get(sidegate.public, "/corp", &token).await);
        assert_eq!(get(sidegate.public, "/any", &token).await.status, 200);
        assert_eq!(get(sidegate.public, "/corp", &issuer.token()).await.status, 200);
    }
    assert_eq!(sidegate.decisions("corp", "issuer_refused").await, 2);
    // The same `kid` in both sets mixes nothing up.
    assert_invalid_token(&get(sidegate.public, "/any", &other.token(&issuer.claims())).await);
    assert_invalid_token(&get(sidegate.public, "/any", &issuer.sign(&claims)).await);
}

#[tokio::test]
async fn challenges_name_the_metadata_of_the_resource_and_it_is_there() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    for (identifier, path) in [
        ("https://api.example.com", "/.well-known/oauth-protected-resource"),
        ("https://api.example.com/v1", "/.well-known/oauth-protected-resource/v1"),
    ] {
        let more = format!("resource: {{ identifier: \"{identifier}\", realm: shop }}\n");
        let yaml = crate::support::sidegate::protecting(&upstream, &issuer, &more)
            .replace("audiences: [orders-api]", "audiences: [orders-api], scopes_all: [admin]");
        let sidegate = Sidegate::start(&yaml).await;
        let metadata = format!("resource_metadata=\"https://api.example.com{path}\"");

        let absent = format!("Bearer realm=\"shop\", {metadata}");
        assert_problem(&get(sidegate.public, "/", "").await, 401, "token_missing", Some(&absent));
        let invalid = format!("Bearer realm=\"shop\", error=\"invalid_token\", {metadata}");
        assert_problem(&get(sidegate.public, "/", "a.b.c").await, 401, "invalid_token", Some(&invalid));
        let scope = format!("Bearer realm=\"shop\", error=\"insufficient_scope\", scope=\"admin\", {metadata}");
        assert_problem(&get(sidegate.public, "/", &issuer.token()).await, 403, "insufficient_scope", Some(&scope));

        let reply = get(sidegate.public, path, "").await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, Some("application/json")));
        let document = reply.json();
        assert_eq!(document["resource"], identifier);
        assert_eq!(document["authorization_servers"], json!([crate::support::issuer::NAME]));
        assert_eq!(document["scopes_supported"], json!(["admin"]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    }
    assert_eq!(upstream.count(), 0);
}
