//! `mode: observe`: everything is judged and counted, and forwarded without a word of ours for those it would refuse.

use http::HeaderValue;
use serde_json::json;

use crate::support::{
    Issuer, Sidegate, Upstream,
    client::request,
    get,
    issuer::{Served, now},
    look::assert_problem,
    raw, send,
};

async fn observing(upstream: &Upstream, issuer: &Issuer, credential: &str) -> Sidegate {
    let yaml = format!(
        "{}internal_jwt: {{ issuer: \"http://sidegate.test\" }}\n\
         upstreams:\n  - {{ name: app, url: \"http://{}\", credential: {{ {credential} }}, identity_headers: {{ X-Forwarded-User: sub }} }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/api/*\"], upstream: app, mode: observe, policy: {{ audiences: [orders-api], scopes_all: [orders] }} }}\n",
        issuer.yaml(),
        upstream.address
    );
    Sidegate::start(&yaml).await
}

const INTERNAL: &str = "internal_jwt: { audience: app }";

#[tokio::test]
async fn a_request_that_would_be_refused_goes_on_as_it_came_and_without_any_identity() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    for credential in [INTERNAL, "none: {}", "original: {}"] {
        let sidegate = observing(&upstream, &issuer, credential).await;
        for (own, reason) in [
            (Some("Basic YTpi".to_owned()), "token_missing"),
            (None, "token_missing"),
            (Some("Bearer a b".to_owned()), "token_malformed"),
            (Some("Bearer garbage".to_owned()), "token_invalid"),
            (Some(format!("Bearer {}", issuer.token_with(json!({"exp": now() - 100})))), "token_expired"),
            (Some(format!("bearer  {}", issuer.token_with(json!({"aud": "other"})))), "audience_refused"),
            (Some(format!("Bearer {}", issuer.token_with(json!({"scope": "x"})))), "scope_missing"),
            (Some(format!("Bearer {}", issuer.token_with(json!({"iss": "http://x.test"})))), "issuer_unknown"),
        ] {
            let before = sidegate.decisions("all", reason).await;
            let mut request = request("POST", "/api/x", "");
            for name in ["x-forwarded-user", "x_forwarded_user", "x-forwarded-email", "remote-user"] {
                request.headers_mut().insert(name, HeaderValue::from_static("root"));
            }
            if let Some(own) = &own {
                request.headers_mut().insert("authorization", HeaderValue::from_str(own).unwrap());
            }
            let reply = send(sidegate.public, request).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello"), "{reason}");
            assert_eq!(reply.header("www-authenticate"), None);
            let seen = upstream.last();
            assert_eq!(seen.header("authorization"), own.as_deref(), "{credential} {reason}");
            assert!(seen.headers.values().all(|value| value != "root"), "{:?}", seen.headers);
            assert_eq!(sidegate.decisions("all", reason).await, before + 1, "{reason}");
        }
    }
}

#[tokio::test]
async fn a_request_that_is_allowed_gets_its_credential_and_its_identity() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = observing(&upstream, &issuer, INTERNAL).await;
    let token = issuer.token();
    assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
    let seen = upstream.last();
    assert_ne!(seen.header("authorization"), Some(format!("Bearer {token}").as_str()));
    assert!(seen.header("authorization").unwrap().starts_with("Bearer ey"));
    assert_eq!(seen.header("x-forwarded-user"), Some("ana"));
    assert_eq!(sidegate.decisions("all", "allowed").await, 1);
}

#[tokio::test]
async fn several_authorization_headers_go_on_as_they_came() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = observing(&upstream, &issuer, INTERNAL).await;
    let mut request = request("GET", "/", "");
    for value in ["Bearer one", "Basic two"] {
        request.headers_mut().append("authorization", HeaderValue::from_static(value));
    }
    assert_eq!(send(sidegate.public, request).await.status, 200);
    let seen = upstream.last();
    let own: Vec<_> = seen.headers.get_all("authorization").iter().collect();
    assert_eq!(own, ["Bearer one", "Basic two"]);
}

#[tokio::test]
async fn a_token_in_another_place_goes_on_as_it_came_too() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let yaml = format!(
        "{}upstreams:\n  - {{ name: app, url: \"http://{}\" }}\n\
         routes:\n  \
         - {{ name: header, paths: [/header], upstream: app, mode: observe, token: {{ header: X-Api-Token }}, policy: {{ audiences: [orders-api] }} }}\n  \
         - {{ name: query, paths: [/query], upstream: app, mode: observe, token: {{ query_parameter: token }}, policy: {{ audiences: [orders-api] }} }}\n",
        issuer.yaml(),
        upstream.address
    );
    let sidegate = Sidegate::start(&yaml).await;
    for (token, observed) in [("unknown".to_owned(), true), (issuer.token(), false)] {
        let mut request = request("GET", "/header", "");
        request.headers_mut().insert("x-api-token", HeaderValue::from_str(&token).unwrap());
        assert_eq!(send(sidegate.public, request).await.status, 200);
        assert_eq!(upstream.last().header("x-api-token"), observed.then_some(token.as_str()));

        assert_eq!(get(sidegate.public, &format!("/query?a=b&token={token}"), "").await.status, 200);
        let as_it_came = format!("/query?a=b&token={token}");
        assert_eq!(upstream.last().target, if observed { as_it_came.as_str() } else { "/query?a=b" });
    }
    // Refused elsewhere as a request with two tokens.
    assert_eq!(get(sidegate.public, "/query?token=a&token=b", "").await.status, 200);
    assert_eq!(upstream.last().target, "/query?token=a&token=b");
}

#[tokio::test]
async fn what_cannot_be_decided_is_forwarded_too() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let down = Served::start(500, String::new()).await;
    let yaml = format!(
        "issuers:\n  - {{ name: corp, issuer: \"http://issuer.test\", jwks_uri: \"{}\" }}\n\
         upstreams:\n  - {{ name: app, url: \"http://{}\" }}\n\
         routes:\n  - {{ name: all, paths: [/], upstream: app, mode: observe, policy: {{ audiences: [orders-api] }} }}\n",
        down.url, upstream.address
    );
    let sidegate = Sidegate::start(&yaml).await;
    let token = issuer.token();
    assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
    assert_eq!(upstream.last().header("authorization"), Some(format!("Bearer {token}").as_str()));
    assert_eq!(sidegate.decisions("all", "undecided").await, 1);
}

#[tokio::test]
async fn what_no_route_covers_or_nobody_can_read_one_way_is_refused_even_then() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = observing(&upstream, &issuer, INTERNAL).await;
    let reply = get(sidegate.public, "/elsewhere", &issuer.token()).await;
    assert_problem(&reply, 404, &reply.code(), None);
    for target in ["/api/..%2f..%2fadmin", "/api/%2e%2e/admin", "/api/a%00b", "/api/a\\b", "/../x"] {
        let answer = raw(
            sidegate.public,
            format!("GET {target} HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(["400", "404"].contains(&status.as_str()), "{target}: {answer}");
    }
    let two_hosts = raw(sidegate.public, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n").await;
    assert!(two_hosts.starts_with("HTTP/1.1 400"), "{two_hosts}");
    assert_eq!(upstream.count(), 0);
}
