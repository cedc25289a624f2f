use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{
    AccessLog, Audit, Cache, Connections, Credential, Drain, Log, LogFormat, MasterKeys, Refresh, Resource, Store,
    Timeouts, TokenPlace, Upstream,
};
use crate::proxy::routes::tests::route;

fn rules() -> HeaderRules {
    let second = Duration::from_secs(1);
    let upstream = Upstream {
        name: "u".into(),
        target: Target::Http { host: "app".to_owned(), port: 8080 },
        http2: false,
        credential: Credential::None,
        identity_headers: vec![(HeaderName::from_static("x-tenant-id"), "tenant".to_owned())],
        timeouts: Timeouts { connect: second, first_byte: second, idle: second },
        connections: Connections { max_idle: 1, idle_timeout: second, max_age: second },
    };
    let plain = route("plain", &["/*"], None);
    let lax = crate::config::Route {
        host: HostHeader::Upstream,
        pass_headers: vec![HeaderName::from_static("x-http-method-override"), HeaderName::from_static("x-real-ip")],
        token: TokenPlace { header: HeaderName::from_static("x-api-token"), query_parameter: None, basic: None },
        ..route("lax", &["/lax"], None)
    };
    let config = Config {
        listeners: Vec::new(),
        health: None,
        admin: None,
        trusted_proxies: Vec::new(),
        issuers: Vec::new(),
        authority: None,
        dialects: Vec::new(),
        store: Store::Memory,
        keys: MasterKeys::Ephemeral,
        refresh: Refresh { ahead: None, wait: second, accept_expired_for: Duration::ZERO, extends_idle: false },
        successors: None,
        internal_jwt: None,
        upstreams: vec![upstream],
        routes: vec![plain, lax],
        cache: Cache { max_bytes: 1, negative_max_bytes: 1, negative_ttl: second },
        log: Log { format: LogFormat::Text, level: tracing::Level::INFO, access: AccessLog::All, audit: Audit::Stderr },
        traces: None,
        resource: Resource { identifier: None, realm: String::new() },
        watch: None,
        drain: Drain { delay: second, timeout: second },
        workers: 1,
    };
    HeaderRules::new(&config)
}

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn outgoing<'a>() -> Outgoing<'a> {
    Outgoing {
        route: 0,
        hop: Hop { peer: Some(&PEER), trusted: false, tls: true, host: "a.example" },
        upgrade: false,
        http2: false,
        credential: None,
        identity: &[],
        request_id: &REQUEST_ID,
    }
}

fn prepared(list: &[(&str, &str)], out: &Outgoing<'_>) -> HeaderMap {
    let mut headers = headers(list);
    rules().prepare(&mut headers, out);
    headers
}

static PEER: HeaderValue = HeaderValue::from_static("192.0.2.1");

/// The names that every forwarded request has.
static REQUEST_ID: HeaderValue = HeaderValue::from_static("00000000000000000000000000000001");

const OURS: [&str; 5] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"];

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).filter(|name| !OURS.contains(name)).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_a_client_could_forge_is_dropped_in_every_spelling() {
    for name in [
        "X-Tenant-Id",
        "X_Tenant_Id",
        "x.tenant~id",
        "HTTP_X_TENANT_ID",
        "HTTP-HTTP_X-TENANT-ID",
        "X-Forwarded-User",
        "x_forwarded_user",
        "X-Auth-Request-Anything",
        "X_Auth-Request_Groups",
        "Remote-User",
        "Forwarded",
        "X-Forwarded-Prefix",
        "X-Forwarded-Client-Cert",
        "X-Real-IP",
        "X_Real_IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Cluster-Client-IP",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "X_Original_Url",
        "X-Rewrite-URL",
        "X-Original-Method",
        "Authorization",
        "HTTP_AUTHORIZATION",
        "Proxy-Authorization",
        "Proxy-Anything",
        "Keep-Alive",
        "HTTP2-Settings",
        "Transfer_Encoding",
        "Content_Length",
        "TE",
        "Upgrade",
    ] {
        let out = prepared(&[("host", "a.example"), (name, "1"), (name, "2"), ("accept", "*/*")], &outgoing());
        assert_eq!(names(&out), ["accept"], "{name}");
        assert!(out.values().all(|value| value != "2"), "{name}");
    }
}

#[test]
fn what_is_harmless_stays_as_it_was() {
    let list = [
        ("accept", "a"),
        ("accept", "b"),
        ("content-length", "5"),
        ("content-type", "text/plain"),
        ("cookie", "c=d"),
        ("expect", "100-continue"),
        ("http2", "x"),
        ("trailer", "x-sum"),
        ("x-custom", "1"),
        ("x_custom", "2"),
    ];
    let out = prepared(&list, &outgoing());
    let mut expected: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
    expected.dedup();
    assert_eq!(names(&out), expected);
    assert_eq!(out.get_all("accept").iter().count(), 2);
}

#[test]
fn connection_takes_what_it_names_but_nothing_of_ours() {
    let identity = [(HeaderName::from_static("x-tenant-id"), HeaderValue::from_static("acme"))];
    let out =
        Outgoing { credential: Some(&HeaderValue::from_static("Bearer ours")), identity: &identity, ..outgoing() };
    let all = "close, X-Custom, authorization, host, content-length, x-tenant-id, x-forwarded-for, x-request-id,\u{9}@";
    let list = [("connection", all), ("connection", "x-other"), ("host", "a.example"), ("content-length", "5")];
    let more = [("x-custom", "1"), ("x-other", "2"), ("authorization", "Bearer theirs"), ("x-tenant-id", "evil")];
    let headers = prepared(&[&list[..], &more[..]].concat(), &out);
    assert_eq!(names(&headers), ["authorization", "content-length", "x-tenant-id"]);
    assert_eq!(headers["authorization"], "Bearer ours");
    assert_eq!(headers["x-tenant-id"], "acme");
    assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-request-id"], "00000000000000000000000000000001");
    assert_eq!(headers["host"], "a.example");
}

#[test]
fn a_trusted_peer_is_believed_about_the_way_and_never_about_the_user() {
    let mut out = outgoing();
    out.hop.trusted = true;
    let list = [
        ("connection", "x-forwarded-for"),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-prefix", "/p"),
        ("x_forwarded_prefix", "/evil"),
        ("x-forwarded-user", "root"),
        ("x-real-ip", "198.51.100.1"),
        ("x-original-url", "/admin"),
    ];
    let headers = prepared(&list, &out);
    assert_eq!(names(&headers), ["x-forwarded-prefix", "x-real-ip"]);
    assert_eq!(headers["x-forwarded-for"], "198.51.100.1, 192.0.2.1");
}

#[test]
fn a_route_lets_its_own_headers_pass_and_hides_its_token() {
    let out = Outgoing { route: 1, ..outgoing() };
    let list = [
        ("host", "a.example"),
        ("x-http-method-override", "PUT"),
        ("x_http_method_override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-real-ip", "1.1.1.1"),
        ("x-api-token", "secret"),
        ("x_api_token", "secret"),
        ("authorization", "Bearer x"),
    ];
    let headers = prepared(&list, &out);
    assert_eq!(names(&headers), ["x-http-method-override", "x-real-ip"]);
    assert_eq!(headers["host"], "app:8080");
    assert_eq!(headers["x-forwarded-host"], "a.example");
}

#[test]
fn an_http2_request_gets_its_host_from_the_authority() {
    assert_eq!(prepared(&[], &outgoing())["host"], "a.example");
}

#[test]
fn the_crumbs_of_a_cookie_are_put_together_for_http1() {
    let crumbs = [("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "e=f")];
    let out = prepared(&crumbs, &outgoing());
    assert_eq!(out.get_all("cookie").iter().collect::<Vec<_>>(), ["a=b; c=d; e=f"]);
    let out = prepared(&crumbs, &Outgoing { http2: true, ..outgoing() });
    assert_eq!(out.get_all("cookie").iter().count(), 3);
}

#[test]
fn te_and_upgrade_go_on_only_where_they_have_a_meaning() {
    let list = [("connection", "Upgrade, TE"), ("upgrade", "websocket"), ("te", "gzip, Trailers")];
    let headers = prepared(&list, &Outgoing { upgrade: true, ..outgoing() });
    assert_eq!(headers["connection"], "upgrade, te");
    assert_eq!(headers["upgrade"], "websocket");
    assert_eq!(headers["te"], "trailers");
    let headers = prepared(&list, &Outgoing { http2: true, ..outgoing() });
    assert_eq!(names(&headers), ["te"]);
    let headers = prepared(&list, &outgoing());
    assert_eq!(names(&headers), ["connection", "te"]);
    assert_eq!(headers["connection"], "te");
}

#[test]
fn a_trailer_can_neither_frame_nor_identify() {
    let list = [
        ("x-tenant-id", "1"),
        ("x_forwarded_user", "1"),
        ("x-api-token", "1"),
        ("authorization", "1"),
        ("content-length", "1"),
        ("transfer-encoding", "1"),
        ("host", "1"),
        ("cookie", "1"),
        ("x-original-url", "1"),
        ("x-forwarded-for", "1"),
        ("grpc-status", "0"),
        ("x-sum", "1"),
    ];
    let rules = rules();
    let kept = headers(&list).keys().filter(|name| !rules.is_forbidden_trailer(name)).cloned().collect::<Vec<_>>();
    assert_eq!(kept, ["grpc-status", "x-sum"]);
}

#[test]
fn an_answer_loses_only_what_belongs_to_the_connection() {
    let list = [
        ("connection", "keep-alive, x-hop"),
        ("keep-alive", "timeout=5"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("content-type", "a/b"),
        ("set-cookie", "a"),
        ("trailer", "x-sum"),
        ("via", "1.1 x"),
        ("x-forwarded-user", "kept"),
    ];
    let mut answer = headers(&list);
    strip_response(&mut answer, false);
    assert_eq!(names(&answer), ["content-type", "set-cookie", "trailer", "via", "x-forwarded-user"]);
    let mut answer = headers(&list);
    strip_response(&mut answer, true);
    assert_eq!(
        (&answer["connection"], &answer["upgrade"]),
        (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
    );
}

proptest! {
    #[test]
    fn no_spelling_of_an_identity_header_survives(
        which in prop::sample::select(vec!["x-tenant-id", "x-forwarded-user", "x-forwarded-email", "x-auth-request-user"]),
        marks in prop::collection::vec(prop::sample::select(vec!['-', '_', '.', '~', '!', '^', '`', '|', '\'', '*', '+', '$', '#', '&', '%']), 4),
        upper: u32,
        variable: bool,
        trusted: bool,
        route in 0..2_usize,
    ) {
        let mut marks = marks.into_iter();
        let mut name = if variable { String::from("HTTP_") } else { String::new() };
        for (at, char) in which.chars().enumerate() {
            name.push(match char {
                '-' => marks.next().unwrap(),
                other if upper >> at & 1 == 1 => other.to_ascii_uppercase(),
                other => other,
            });
        }
        let mut out = Outgoing { route, ..outgoing() };
        out.hop.trusted = trusted;
        let headers = prepared(&[(&name, "root")], &out);
        prop_assert_eq!(names(&headers), Vec::<&str>::new(), "{}", name);
    }
}
