//! What a client says in headers, and what the upstream hears of it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use serde_json::json;

use crate::support::{Issuer, Reply, Sidegate, Upstream, Wire, client, get, h2, request, send};

const IDENTITY: &str = "    identity_headers: { X-Forwarded-User: sub, X-Forwarded-Email: email, X-Tenant: tenant }\n";

/// One protected route; `upstream_more` and `route_more` go on in the YAML of upstream and route.
fn yaml(upstream: &Upstream, issuer: &Issuer, upstream_more: &str, route_more: &str, more: &str) -> String {
    format!(
        "{}internal_jwt: {{ issuer: https://sidegate.internal }}\nupstreams:\n  - name: app\n    url: http://{}\n\
         {upstream_more}routes:\n  - name: all\n    paths: [/, \"/*\"]\n    upstream: app\n    \
         policy: {{ audiences: [orders-api] }}\n{route_more}{more}",
        issuer.yaml(),
        upstream.address
    )
}

/// GET / with `headers` beside a good token.
async fn with(sidegate: &Sidegate, issuer: &Issuer, headers: &[(&str, &str)]) -> Reply {
    let mut asked = request("GET", "/", &issuer.token());
    for (name, value) in headers {
        asked.headers_mut().append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    send(sidegate.public, asked).await
}

#[tokio::test]
async fn host_is_preserved_the_upstreams_or_a_name() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let named = upstream.address.to_string();
    for (option, host) in [("preserve", "api.test"), ("upstream", &*named), ("orders.internal", "orders.internal")] {
        let route = format!("    host: {option}\n");
        let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "", &route, "")).await;
        assert_eq!(with(&sidegate, &issuer, &[]).await.status, 200);
        assert_eq!(upstream.last().header("host"), Some(host));
        assert_eq!(upstream.last().header("x-forwarded-host"), Some("api.test"));
    }
}

#[tokio::test]
async fn what_belongs_to_the_clients_connection_does_not_go_on() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "", "", "")).await;

    with(
        &sidegate,
        &issuer,
        &[
            ("connection", "keep-alive, x-private"),
            ("connection", "X-Other"),
            ("x-private", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
            ("x-kept", "1"),
        ],
    )
    .await;

    let seen = upstream.last();
    for gone in
        ["x-private", "x-other", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade", "http2-settings"]
    {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(seen.header("x-kept"), Some("1"));
    assert_eq!(seen.header("te"), Some("trailers"));
    assert_eq!(seen.header("connection"), Some("te"));
}

#[tokio::test]
async fn nothing_that_connection_names_removes_what_we_say() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let credential = format!("    credential: {{ internal_jwt: {{ audience: app }} }}\n{IDENTITY}");
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, &credential, "", "")).await;

    let reply = with(
        &sidegate,
        &issuer,
        &[
            ("connection", "x-forwarded-for, X-Forwarded-User, x-forwarded-proto, x-request-id"),
            ("connection", "host, content-length, x-forwarded-email, forwarded"),
        ],
    )
    .await;

    assert_eq!(reply.status, 200);
    let seen = upstream.last();
    assert!(seen.header("authorization").unwrap().starts_with("Bearer ey"));
    assert_eq!(seen.header("x-forwarded-user"), Some("ana"));
    assert_eq!(seen.header("x-forwarded-email"), Some("ana@example.com"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("host"), Some("api.test"));
    assert_eq!(seen.header("x-request-id"), reply.header("x-request-id"));

    let reply = with(&sidegate, &issuer, &[("connection", "authorization")]).await;
    match reply.status.as_u16() {
        200 => assert!(upstream.last().header("authorization").unwrap().starts_with("Bearer ey")),
        status => assert_eq!((status, upstream.count()), (401, 1)),
    }
}

#[tokio::test]
async fn identity_headers_of_the_client_are_dropped_in_every_spelling() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate =
        Sidegate::start(&yaml(&upstream, &issuer, IDENTITY, "    pass_headers: [X-Forwarded-User]\n", "")).await;

    let forged = [
        "x-forwarded-user",
        "X-FORWARDED-USER",
        "x_forwarded_user",
        "x-forwarded_user",
        "x.forwarded.user",
        "http_x_forwarded_user",
        "x-tenant",
        "x_tenant",
        "X-Forwarded-Email",
        "x_forwarded-email",
        "remote-user",
        "remote_user",
        "x-auth-request-user",
        "x_auth_request_email",
        "x-forwarded-groups",
        "x-remote-user",
        "x-forwarded-access-token",
        "proxy-authorization",
        "http_authorization",
    ];
    let headers: Vec<(&str, &str)> = forged.iter().map(|name| (*name, "root")).collect();
    with(&sidegate, &issuer, &headers).await;

    let seen = upstream.last();
    let forged: Vec<&HeaderName> =
        seen.headers.iter().filter(|(_, value)| *value == "root").map(|(name, _)| name).collect();
    assert_eq!(forged, Vec::<&HeaderName>::new());
    assert_eq!(seen.header("x-forwarded-user"), Some("ana"));
    // A claim that is not there leaves nothing behind, and nothing of the client's.
    assert_eq!(seen.header("x-tenant"), None);

    let token = issuer.token_with(json!({"sub": "eve\r\nx-tenant: acme", "tenant": ["a", "b"]}));
    let reply = get(sidegate.public, "/", &token).await;
    if reply.status == 200 {
        assert_eq!(upstream.last().header("x-forwarded-user"), None);
        assert_eq!(upstream.last().header("x-tenant"), Some("a,b"));
    }
}

const SAID: [(&str, &str); 9] = [
    ("x-forwarded-for", "198.51.100.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "shop.test"),
    ("x-forwarded-port", "443"),
    ("forwarded", "for=198.51.100.7;proto=https"),
    ("x-real-ip", "198.51.100.7"),
    ("true-client-ip", "198.51.100.7"),
    ("x_forwarded_for", "198.51.100.8"),
    ("x-request-id", "given-by-peer"),
];

#[tokio::test]
async fn an_untrusted_peer_is_not_believed_about_earlier_hops() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "", "", "")).await;

    let reply = with(&sidegate, &issuer, &SAID).await;

    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("api.test"));
    for gone in ["forwarded", "x-forwarded-port", "x-real-ip", "true-client-ip", "x_forwarded_for"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_ne!(reply.header("x-request-id"), Some("given-by-peer"));
    assert_eq!(seen.header("x-request-id"), reply.header("x-request-id"));
    assert_eq!(reply.header("x-request-id").unwrap().len(), 32);
}

#[tokio::test]
async fn a_trusted_peer_is_believed_and_its_chain_goes_on() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "", "", "trusted_proxies: [127.0.0.0/8]\n")).await;

    let reply = with(&sidegate, &issuer, &SAID).await;

    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("198.51.100.7, 127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("shop.test"));
    let chain = seen.header("forwarded").unwrap();
    assert!(chain.starts_with("for=198.51.100.7;proto=https, for=127.0.0.1;"), "{chain}");
    assert_eq!(seen.header("x_forwarded_for"), None);
    assert_eq!(reply.header("x-request-id"), Some("given-by-peer"));
    assert_eq!(seen.header("x-request-id"), Some("given-by-peer"));

    with(&sidegate, &issuer, &[("x-request-id", "two words"), ("connection", "x-forwarded-for, x-forwarded-proto")])
        .await;
    assert_eq!(upstream.last().header("x-request-id").unwrap().len(), 32);
    with(&sidegate, &issuer, &[("x-forwarded-for", "198.51.100.7"), ("connection", "x-forwarded-for")]).await;
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("198.51.100.7, 127.0.0.1"));
}

#[tokio::test]
async fn headers_that_override_method_url_or_address_pass_only_where_a_route_says_so() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let names = [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
        "x-original-uri",
        "x_http_method_override",
        "x-original-method",
        "x-real-ip",
        "x_original_url",
    ];
    let said: Vec<(&str, &str)> = names.iter().map(|name| (*name, "/admin")).collect();

    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "", "", "")).await;
    with(&sidegate, &issuer, &said).await;
    for name in names {
        assert_eq!(upstream.last().header(name), None, "{name}");
    }

    let route = "    pass_headers: [X-HTTP-Method-Override, X-Real-IP]\n";
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "", route, "")).await;
    with(&sidegate, &issuer, &said).await;
    let seen = upstream.last();
    let passed: Vec<&str> = names.into_iter().filter(|name| seen.header(name).is_some()).collect();
    assert_eq!(passed, ["x-http-method-override", "x-real-ip"]);
}

#[tokio::test]
async fn trace_context_cookies_and_duplicates_go_on_as_they_are() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "", "", "")).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    with(
        &sidegate,
        &issuer,
        &[
            ("traceparent", parent),
            ("tracestate", "a=b"),
            ("cookie", "session=s3cret; theme=dark"),
            ("x-list", "1"),
            ("accept", "a/b"),
            ("x-list", "2"),
            ("accept", "c/d"),
        ],
    )
    .await;

    let seen = upstream.last();
    assert_eq!(seen.header("traceparent"), Some(parent));
    assert_eq!(seen.header("tracestate"), Some("a=b"));
    assert_eq!(seen.header("cookie"), Some("session=s3cret; theme=dark"));
    assert_eq!(seen.headers.get_all("x-list").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(seen.headers.get_all("accept").iter().collect::<Vec<_>>(), ["a/b", "c/d"]);
}

#[tokio::test]
async fn a_forged_spelling_of_the_request_id_does_not_stand_beside_ours() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, "", "", "")).await;
    with(&sidegate, &issuer, &[("x_request_id", "forged"), ("x-request_id", "forged")]).await;
    let seen = upstream.last();
    assert!(seen.headers.values().all(|value| value != "forged"), "{:?}", seen.headers);
}

fn trailing(names: &[&str]) -> HeaderMap {
    names.iter().map(|name| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_static("t"))).collect()
}

const TRAILERS: [&str; 8] = [
    "x-checksum",
    "authorization",
    "x-forwarded-user",
    "x_forwarded_for",
    "content-length",
    "host",
    "cookie",
    "x-tenant",
];

#[tokio::test]
async fn trailers_that_a_header_could_not_be_are_dropped_and_others_kept() {
    let issuer = Issuer::new();
    for http2 in [false, true] {
        let answer = |_: &crate::support::upstream::Seen| Response::new(Full::new(Bytes::from_static(b"hello")));
        let upstream = if http2 { Upstream::http2(answer).await } else { Upstream::answering(answer).await };
        let more = if http2 { format!("    protocol: http2\n{IDENTITY}") } else { IDENTITY.into() };
        let sidegate = Sidegate::start(&yaml(&upstream, &issuer, &more, "", "")).await;

        let mut sender = h2(sidegate.public).await;
        let frames =
            [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(trailing(&TRAILERS)))];
        let asked = Request::post("http://api.test/")
            .header("authorization", format!("Bearer {}", issuer.token()))
            .header("trailer", TRAILERS.join(", "))
            .body(StreamBody::new(futures_util::stream::iter(frames)))
            .unwrap();
        let reply = client::collect(sender.send_request(asked).await.unwrap()).await;

        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(upstream.last().trailers, Some(trailing(&TRAILERS[..1])), "http2: {http2}");
    }
    let upstream = Upstream::start().await;
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, IDENTITY, "", "")).await;
    let mut wire = Wire::connect(sidegate.public).await;
    let trailers: String = TRAILERS.iter().map(|name| format!("{name}: t\r\n")).collect();
    wire.say(format!(
        "POST / HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\ntrailer: {}\r\n\
         \r\n1\r\nx\r\n0\r\n{trailers}\r\n",
        issuer.token(),
        TRAILERS.join(", ")
    ))
    .await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let seen = upstream.last();
    assert!(seen.trailers.is_none() || seen.trailers == Some(trailing(&TRAILERS[..1])), "{:?}", seen.trailers);
}

#[tokio::test]
async fn identity_headers_of_other_systems_and_what_a_trusted_proxy_merely_passes_on_are_dropped() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "trusted_proxies: [127.0.0.0/8]\n").await;
    let forged = [
        "x-auth-user",
        "x-consumer-username",
        "x-authentik-username",
        "x-pomerium-claim-email",
        "x-goog-authenticated-user-email",
        "cf-access-authenticated-user-email",
        "x-amzn-oidc-identity",
        "x-ms-client-principal",
        "x-ms-client-principal-name",
        "tailscale-user-login",
        "x-ssl-client-s-dn",
        "ssl-client-verify",
        "x-forwarded-client-cert",
        "x-forwarded-roles",
        "true-client-ip",
    ];
    let mut request = request("GET", "/", &issuer.token());
    for name in forged {
        request.headers_mut().insert(name, HeaderValue::from_static("admin"));
    }

    assert_eq!(send(sidegate.public, request).await.status, 200);

    let seen = upstream.last();
    let passed: Vec<_> = forged.iter().filter(|name| seen.headers.contains_key(**name)).collect();
    assert!(passed.is_empty(), "{passed:?}");
}
