//! Which route takes a request, and what the upstream is asked for it.

use crate::support::{Sidegate, Upstream, get, request, send};

fn sorted(upstream: &Upstream, routes: &str) -> String {
    format!("upstreams:\n  - name: app\n    url: http://{}\nroutes:\n{routes}", upstream.address)
}

#[tokio::test]
async fn a_request_that_no_rule_covers_is_never_forwarded() {
    let upstream = Upstream::start().await;
    let sidegate = Sidegate::start(&sorted(
        &upstream,
        "  - { name: read, paths: [/a], methods: [GET], upstream: app, public: true }\n  \
         - { name: write, paths: [/a], methods: [PUT, DELETE], upstream: app, public: true }\n",
    ))
    .await;

    for path in ["/", "/b", "/a/", "/a/b", "/A"] {
        let reply = get(sidegate.public, path, "").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (404, "no_route"), "{path}");
    }
    for method in ["POST", "PATCH", "PROPFIND", "get", "OPTIONS", "TRACE"] {
        let reply = send(sidegate.public, request(method, "/a", "")).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (405, "method_not_allowed"), "{method}");
        let mut allowed: Vec<&str> = reply.header("allow").unwrap().split(", ").collect();
        allowed.sort_unstable();
        assert_eq!(allowed, ["DELETE", "GET", "PUT"]);
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(send(sidegate.public, request("PUT", "/a", "")).await.status, 200);
}

#[tokio::test]
async fn the_most_specific_host_path_and_method_win() {
    let upstream = Upstream::start().await;
    let rule = |name: &str, rest: &str| {
        format!("  - {{ name: {name}, upstream: app, public: true, host: {name}.seen, {rest} }}\n")
    };
    let sidegate = Sidegate::start(&sorted(
        &upstream,
        &[
            rule("any", "paths: [\"/*\"]"),
            rule("exact", "hosts: [api.example.com], paths: [\"/*\"]"),
            rule("wild", "hosts: [\"*.example.com\"], paths: [\"/*\"]"),
            rule("deep", "hosts: [\"*.eu.example.com\"], paths: [\"/*\"]"),
            rule("literal", "hosts: [api.example.com], paths: [/orders/open], methods: [GET]"),
            rule("segment", "hosts: [api.example.com], paths: [\"/orders/{id}\"]"),
            rule("below", "hosts: [api.example.com], paths: [\"/orders/*\"]"),
            rule("posted", "hosts: [api.example.com], paths: [/orders/open], methods: [POST]"),
        ]
        .concat(),
    ))
    .await;

    for (host, method, path, name) in [
        ("api.example.com", "GET", "/x", "exact"),
        ("API.Example.COM", "GET", "/x", "exact"),
        ("api.example.com:8443", "GET", "/x", "exact"),
        ("api.example.com.", "GET", "/x", "exact"),
        ("b.example.com", "GET", "/x", "wild"),
        ("c.b.example.com", "GET", "/x", "wild"),
        ("b.eu.example.com", "GET", "/x", "deep"),
        ("example.com", "GET", "/x", "any"),
        ("notexample.com", "GET", "/x", "any"),
        ("127.0.0.1:1", "GET", "/x", "any"),
        ("[::1]:1", "GET", "/x", "any"),
        ("api.example.com", "GET", "/orders/open", "literal"),
        ("api.example.com", "POST", "/orders/open", "posted"),
        ("api.example.com", "GET", "/orders/7", "segment"),
        ("api.example.com", "GET", "/orders/7/lines", "below"),
    ] {
        let mut asked = request(method, path, "");
        asked.headers_mut().insert("host", host.parse().unwrap());
        let reply = send(sidegate.public, asked).await;
        assert_eq!(reply.status, 200, "{host} {method} {path}: {}", reply.text());
        assert_eq!(upstream.last().header("host"), Some(&*format!("{name}.seen")), "{host} {method} {path}");
    }
}

#[tokio::test]
async fn a_prefix_is_replaced_after_the_decision_and_only_without_ambiguity() {
    let upstream = Upstream::start().await;
    let sidegate = Sidegate::start(&sorted(
        &upstream,
        "  - { name: api, paths: [/api, \"/api/*\"], upstream: app, public: true, strip_prefix: /api, add_prefix: /v1 }\n  \
         - { name: bare, paths: [/bare, \"/bare/*\"], upstream: app, public: true, strip_prefix: /bare }\n",
    ))
    .await;

    for (path, target) in [
        ("/api", "/v1"),
        ("/api/", "/v1/"),
        ("/api/x?y=/api", "/v1/x?y=/api"),
        ("/api/%7Ex", "/v1/~x"),
        ("/bare", "/"),
        ("/bare?q", "/?q"),
        ("/bare/x", "/x"),
    ] {
        assert_eq!(get(sidegate.public, path, "").await.status, 200, "{path}");
        assert_eq!(upstream.last().target, target);
    }
    let before = upstream.count();
    for path in ["/bare//evil.test/x", "/bare//", "/api/..;/x", "/api/..%252fx"] {
        let reply = get(sidegate.public, path, "").await;
        assert_eq!(reply.status, 400, "{path}");
        assert!(["ambiguous_rewrite", "ambiguous_path"].contains(&reply.code().as_str()), "{path}");
    }
    assert_eq!(upstream.count(), before);
}
