//! A listener that decides for nginx, Traefik, Caddy and Envoy, and forwards nothing.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use sidegate::config::Address;

use crate::support::{
    Issuer, Reply, Sidegate, Upstream, get,
    issuer::now,
    keys::part,
    look::{INVALID, assert_problem},
    raw, request, send,
};

struct Setup {
    upstream: Upstream,
    issuer: Issuer,
    sidegate: Sidegate,
}

impl Setup {
    async fn new() -> Setup {
        Setup::with(|yaml| yaml).await
    }

    async fn with(change: impl Fn(String) -> String) -> Setup {
        let (upstream, issuer) = (Upstream::start().await, Issuer::new());
        let sidegate = Sidegate::start(&change(yaml(&upstream, &issuer))).await;
        Setup { upstream, issuer, sidegate }
    }

    fn at(&self, listener: &str) -> SocketAddr {
        match self.sidegate.app.address(listener) {
            Some(Address::Tcp(address)) => address,
            other => panic!("{other:?}"),
        }
    }

    fn token(&self) -> String {
        self.issuer.token_with(json!({"email": "ana@example.com"}))
    }

    /// As nginx asks.
    async fn nginx(&self, method: &str, target: &str, token: &str, more: &[(&str, &str)]) -> Reply {
        let own = [("x-original-method", method), ("x-original-uri", target), ("x-forwarded-for", "192.0.2.7")];
        self.ask("nginx", "GET", "/ask", token, &[&own, more].concat()).await
    }

    async fn ask(&self, listener: &str, method: &str, path: &str, token: &str, more: &[(&str, &str)]) -> Reply {
        send(self.at(listener), question(method, path, token, more)).await
    }
}

fn question(method: &str, path: &str, token: &str, more: &[(&str, &str)]) -> Request<Full<bytes::Bytes>> {
    let mut asked = request(method, path, token);
    for (name, value) in more {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        if name == "host" {
            asked.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        } else {
            asked.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
    }
    asked
}

fn yaml(upstream: &Upstream, issuer: &Issuer) -> String {
    format!(
        "{}internal_jwt: {{ issuer: \"http://sidegate.test\" }}\n\
         listeners:\n  - {{ name: main, address: 127.0.0.1:0 }}\n  \
         - {{ name: nginx, address: 127.0.0.1:0, decision: {{ from: nginx }} }}\n  \
         - {{ name: forwarded, address: 127.0.0.1:0, decision: {{ from: forwarded }} }}\n  \
         - {{ name: envoy, address: 127.0.0.1:0, decision: {{ from: envoy, path_prefix: /ask }} }}\n\
         upstreams: [{{ name: app, url: \"http://{}\", credential: {{ internal_jwt: {{ audience: app }} }}, identity_headers: {{ X-Forwarded-User: sub, X-Forwarded-Email: email }} }}]\n\
         routes:\n  - {{ name: open, paths: [\"/open/*\"], upstream: app, public: true }}\n  \
         - {{ name: shop, hosts: [shop.test], paths: [\"/*\"], upstream: app, policy: {{ audiences: [orders-api], scopes_all: [shop] }} }}\n  \
         - {{ name: watched, paths: [\"/watched/*\"], upstream: app, mode: observe, policy: {{ audiences: [orders-api], scopes_all: [none-has-it] }} }}\n  \
         - {{ name: read, paths: [\"/api/*\"], methods: [GET], upstream: app, policy: {{ audiences: [orders-api] }} }}\n  \
         - {{ name: write, paths: [\"/api/*\"], methods: [PUT], upstream: app, policy: {{ audiences: [orders-api], scopes_all: [write] }} }}\n",
        issuer.yaml(),
        upstream.address
    )
}

const PROXIES: [&str; 3] = ["nginx", "forwarded", "envoy"];

/// The same question in the words of each proxy.
async fn each(setup: &Setup, proxy: &str, method: &str, target: &str, token: &str, more: &[(&str, &str)]) -> Reply {
    match proxy {
        "nginx" => setup.nginx(method, target, token, more).await,
        "forwarded" => {
            let host = more.iter().find(|(name, _)| *name == "host").map_or("api.test", |(_, host)| host);
            let own = [("x-forwarded-method", method), ("x-forwarded-uri", target), ("x-forwarded-host", host)];
            let rest: Vec<_> = more.iter().filter(|(name, _)| *name != "host").copied().collect();
            setup.ask("forwarded", "GET", "/", token, &[&own, &rest[..]].concat()).await
        }
        _ => setup.ask("envoy", method, &format!("/ask{target}"), token, more).await,
    }
}

#[tokio::test]
async fn each_proxy_is_told_what_the_upstream_is_to_see_and_the_upstream_hears_nothing() {
    let setup = Setup::new().await;
    let token = setup.token();
    for proxy in PROXIES {
        let reply = each(&setup, proxy, "GET", "/api/x?y=1", &token, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, ""), "{proxy}");
        let internal = reply.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        assert_eq!(part(internal, 1)["aud"], "app");
        assert_eq!(reply.header("x-forwarded-user"), Some(part(&token, 1)["sub"].as_str().unwrap()));
        assert_eq!(reply.header("x-forwarded-email"), Some("ana@example.com"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.header("x-request-id").is_some());
        assert_eq!(reply.header("x-sidegate-target"), (proxy != "envoy").then_some("/api/x?y=1"), "{proxy}");
        let open = each(&setup, proxy, "POST", "/open/x", "", &[]).await;
        assert_eq!(open.status, 200);
        assert!(open.header("authorization").is_none() && open.header("x-forwarded-user").is_none());
    }
    assert_eq!(setup.upstream.count(), 0);
}

#[tokio::test]
async fn a_refusal_says_what_it_would_say_to_a_client() {
    let setup = Setup::new().await;
    let (good, over) = (setup.token(), setup.issuer.token_with(json!({"exp": now() - 100})));
    let scope = "Bearer realm=\"sidegate\", error=\"insufficient_scope\", scope=\"write\"";
    for proxy in PROXIES {
        for (method, target, token, status, code, challenge) in [
            ("GET", "/api/x", "", 401, "token_missing", Some("Bearer realm=\"sidegate\"")),
            ("GET", "/api/x", &*over, 401, "invalid_token", INVALID),
            ("PUT", "/api/x", &*good, 403, "insufficient_scope", Some(scope)),
            ("GET", "/nowhere", &*good, 404, "no_route", None),
            ("DELETE", "/api/x", &*good, 405, "method_not_allowed", None),
        ] {
            let mut reply = each(&setup, proxy, method, target, token, &[]).await;
            // nginx cannot read the body.
            let told = reply.headers.remove("x-sidegate-code");
            assert_eq!(told.as_ref().map(|code| code.to_str().unwrap()), (proxy == "nginx").then_some(code));
            if status == 405 {
                assert_eq!((reply.status.as_u16(), reply.header("allow").is_some()), (405, true), "{proxy}");
            } else {
                assert_problem(&reply, status, code, challenge);
            }
        }
    }
    assert_eq!(setup.upstream.count(), 0);
}

#[tokio::test]
async fn the_host_that_is_asked_about_chooses_the_route() {
    let setup = Setup::new().await;
    let (plain, shopper) = (setup.token(), setup.issuer.token_with(json!({"scope": "shop"})));
    for proxy in PROXIES {
        for (host, token, status) in
            [("shop.test", &plain, 403), ("shop.test", &shopper, 200), ("other.test", &shopper, 404)]
        {
            let reply = each(&setup, proxy, "POST", "/x", token, &[("host", host)]).await;
            assert_eq!(reply.status, status, "{proxy} {host}");
        }
    }
}

#[tokio::test]
async fn a_path_that_a_proxy_would_forward_as_something_else_is_refused() {
    let setup = Setup::new().await;
    let token = setup.token();
    for (target, status, code) in [
        ("/open/../api/x", 400, "dot_segment"),
        ("/api/../open/x", 400, "dot_segment"),
        ("/api/./x", 400, "dot_segment"),
        ("/open/..", 400, "dot_segment"),
        ("/open/%2e%2e/api/x", 400, "encoded_dot_segment"),
        ("/open/..%2fapi/x", 400, "encoded_slash"),
        ("/open/..;/api/x", 400, "ambiguous_path"),
        ("/open/%252e%252e/api/x", 400, "ambiguous_path"),
        ("/open\\..\\api", 400, "backslash"),
        ("/api/%00", 400, "control_character"),
        ("/open//..//api/x", 400, "dot_segment"),
    ] {
        let reply = setup.nginx("GET", target, &token, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{target}");
    }
    for target in ["*", "http://api.test/open/x", "/open/x#/../api", ""] {
        let reply = setup.nginx("GET", target, &token, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "malformed_target"), "{target}");
    }
    // Escapes in another spelling mean the same to everybody.
    let reply = setup.nginx("GET", "/%61pi/%c3%a9?q=%2f", &token, &[]).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-sidegate-target")), (200, Some("/api/%C3%A9?q=%2f")));
}

#[tokio::test]
async fn what_a_client_forged_is_replaced_refused_or_named_for_removal() {
    let setup = Setup::new().await;
    let token = setup.token();
    for proxy in PROXIES {
        // Copied from the answer, so the client's does not matter.
        let reply = each(&setup, proxy, "GET", "/api/x", &token, &[("x-forwarded-user", "root")]).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-forwarded-user").unwrap() == "root"), (200, false));
        for name in
            ["remote-user", "x-http-method-override", "x_forwarded_user", "x-auth-request-groups", "x-original-url"]
        {
            for target in ["/api/x", "/open/x"] {
                let reply = each(&setup, proxy, "GET", target, &token, &[(name, "root")]).await;
                if proxy == "envoy" {
                    let removed: Vec<String> = removed(&reply);
                    assert!(reply.status == 200 && removed.contains(&name.to_owned()), "{name}: {removed:?}");
                } else {
                    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "forged_header"), "{name}");
                }
            }
        }
        // Where nobody is vouched for, the names of the answer are still taken away.
        if proxy == "envoy" {
            let open = removed(&each(&setup, proxy, "GET", "/open/x", "", &[]).await);
            for name in ["authorization", "x-forwarded-user", "x-forwarded-email", "remote-user"] {
                assert!(open.contains(&name.to_owned()), "{name}: {open:?}");
            }
            let known = removed(&each(&setup, proxy, "GET", "/api/x", &token, &[]).await);
            assert!(!known.contains(&"authorization".to_owned()) && !known.contains(&"x-forwarded-user".to_owned()));
        }
    }
}

fn removed(reply: &Reply) -> Vec<String> {
    let lists = reply.headers.get_all("x-envoy-auth-headers-to-remove").iter();
    lists.flat_map(|list| list.to_str().unwrap().split(',').map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_question_that_is_not_whole_is_refused_and_the_log_names_what_is_missing() {
    let setup = Setup::new().await;
    let token = setup.token();
    for (listener, more) in [
        ("nginx", &[][..]),
        ("nginx", &[("x-original-uri", "/open/x")]),
        ("nginx", &[("x-original-method", "GET")]),
        ("nginx", &[("x-original-method", "GET"), ("x-original-uri", "/open/x"), ("x-original-uri", "/open/y")]),
        ("forwarded", &[("x-forwarded-method", "GET"), ("x-forwarded-uri", "/open/x")]),
        ("forwarded", &[("x-original-method", "GET"), ("x-original-uri", "/open/x")]),
        ("envoy", &[("x-original-method", "GET"), ("x-original-uri", "/open/x")]),
    ] {
        let reply = setup.ask(listener, "GET", "/open/x", &token, more).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "malformed_question"), "{listener} {more:?}");
    }
}

#[tokio::test]
async fn a_listener_that_forwards_believes_none_of_these_headers() {
    let setup = Setup::new().await;
    let forged = [
        ("x-original-method", "GET"),
        ("x-original-uri", "/open/x"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/open/x"),
        ("x-forwarded-host", "other.test"),
    ];
    let reply = setup.ask("main", "GET", "/api/x", "", &forged).await;
    assert_problem(&reply, 401, "token_missing", Some("Bearer realm=\"sidegate\""));
    let reply = setup.ask("main", "GET", "/api/x", &setup.token(), &forged).await;
    assert_eq!((reply.status.as_u16(), setup.upstream.last().target.as_str()), (200, "/api/x"));
    assert!(setup.upstream.last().headers.keys().all(|name| !name.as_str().starts_with("x-original-")));
}

#[tokio::test]
async fn a_route_that_observes_lets_everything_go_on_as_it_came() {
    let setup = Setup::new().await;
    for proxy in PROXIES {
        let token = setup.token();
        let before = setup.sidegate.decisions("watched", "scope_missing").await;
        let reply = each(&setup, proxy, "GET", "/watched/x", &token, &[("remote-user", "root")]).await;
        assert_eq!(reply.status, 200, "{proxy}");
        assert_eq!(reply.header("authorization"), Some(format!("Bearer {token}").as_str()));
        assert!(reply.header("x-forwarded-user").is_none());
        assert_eq!(setup.sidegate.decisions("watched", "scope_missing").await, before + 1);
    }
}

#[tokio::test]
async fn a_decision_counts_and_is_limited_like_a_request() {
    let setup = Setup::with(|yaml| {
        yaml.replace(
            "methods: [GET], upstream: app,",
            "methods: [GET], upstream: app, rate_limit: { per_address: { requests: 1, per: 1h, burst: 2 } },",
        )
    })
    .await;
    let token = setup.token();
    for status in [200, 200, 429] {
        let reply = setup.nginx("GET", "/api/x", &token, &[]).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("retry-after").is_some(), status == 429);
    }
    // Another client of the same proxy.
    let other = [("x-original-method", "GET"), ("x-original-uri", "/api/x"), ("x-forwarded-for", "6.6.6.6, 192.0.2.8")];
    assert_eq!(setup.ask("nginx", "GET", "/ask", &token, &other).await.status, 200);
    let sidegate = &setup.sidegate;
    assert_eq!(sidegate.decisions("read", "allowed").await, 3);
    let series = "sidegate_http_requests_total{code=\"2xx\",method=\"GET\",route=\"read\"}";
    assert_eq!(sidegate.metric(series).await, 3);
    assert_eq!(sidegate.metric("sidegate_http_overhead_seconds_count{listener=\"nginx\"}").await, 4);
    assert_eq!(sidegate.cache("verdicts", "hit").await, 2);
}

#[tokio::test]
async fn nothing_of_sidegates_own_is_served_to_a_proxy_that_asks() {
    let setup = Setup::new().await;
    let jwks = "/.well-known/sidegate/jwks.json";
    assert_eq!(get(setup.sidegate.public, jwks, "").await.status, 200);
    for proxy in PROXIES {
        let reply = each(&setup, proxy, "GET", jwks, "", &[]).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (404, "own_path"), "{proxy}");
    }
    // Nor where the question itself goes there.
    assert_eq!(setup.ask("nginx", "GET", jwks, "", &[]).await.code(), "malformed_question");
}

#[tokio::test]
async fn a_preflight_that_sidegate_would_answer_is_refused_and_a_forwarded_one_goes_on_without_a_token() {
    let setup = Setup::with(|yaml| {
        yaml.replace("methods: [GET], upstream: app,", "methods: [GET], upstream: app, cors: { origins: [\"https://a.test\"] },")
            .replace(
                "methods: [PUT], upstream: app,",
                "methods: [PUT], upstream: app, cors: { origins: [\"https://a.test\"], preflight: forward }, pass_headers: [x-http-method],",
            )
    })
    .await;
    let origin = ("origin", "https://a.test");
    let reply = setup.nginx("OPTIONS", "/api/x", "", &[origin, ("access-control-request-method", "GET")]).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::FORBIDDEN, "preflight_not_answered"));
    let put = ("access-control-request-method", "PUT");
    assert_eq!(setup.nginx("OPTIONS", "/api/x", "", &[origin, put]).await.status, 200);
    let smuggled = setup.nginx("OPTIONS", "/api/x", "", &[origin, put, ("x-http-method", "PUT")]).await;
    assert_eq!(smuggled.code(), "forged_header");
    // The refusal of a real request can be read by the script, where the proxy passes it on.
    let refused = setup.nginx("GET", "/api/x", "", &[origin]).await;
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://a.test"));
}

#[tokio::test]
async fn a_body_is_left_alone() {
    let setup = Setup::new().await;
    let text = "POST /ask/open/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    assert!(raw(setup.at("envoy"), text.as_bytes()).await.starts_with("HTTP/1.1 200"));
    let never_sent = "POST /ask/open/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 500000\r\n\r\n";
    assert!(raw(setup.at("envoy"), never_sent.as_bytes()).await.starts_with("HTTP/1.1 200"));
}

/// Its documented words, beside the client's own headers: Traefik itself is no part of these tests.
#[tokio::test]
async fn traefik_asks_in_the_words_of_forward_auth() {
    let setup = Setup::new().await;
    let words = [
        ("x-forwarded-method", "PUT"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "api.test"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-server", "edge-1"),
        ("x-forwarded-uri", "/api/x?y=1"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-real-ip", "192.0.2.7"),
        ("host", "sidegate:9903"),
        ("user-agent", "a client"),
    ];
    let writer = setup.issuer.token_with(json!({"scope": "write"}));
    let reply = setup.ask("forwarded", "GET", "/", &writer, &words).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-sidegate-target")), (200, Some("/api/x?y=1")));
    assert_eq!(setup.ask("forwarded", "GET", "/", &setup.token(), &words).await.status, 403);
}
