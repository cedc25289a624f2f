//! Where a request goes: what is decided on is what is forwarded, and what no rule covers goes nowhere.

use http::Request;
use http_body_util::Empty;
use sidegate::proxy::path::canonical;

use crate::support::{Issuer, Sidegate, Upstream, client, get, h2, raw, request, send};

/// `/public` is open, `/admin` and everything below `/public/admin` is not.
async fn two_doors(upstream: &Upstream, issuer: &Issuer) -> Sidegate {
    Sidegate::start(&format!(
        "{}upstreams:\n  - name: app\n    url: http://{}\nroutes:\n  \
         - {{ name: open, paths: [/public, \"/public/*\"], upstream: app, public: true }}\n  \
         - {{ name: root, paths: [/], upstream: app, public: true }}\n  \
         - {{ name: inner, paths: [\"/public/admin/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}\n  \
         - {{ name: closed, paths: [/admin, \"/admin/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}\n",
        issuer.yaml(),
        upstream.address
    ))
    .await
}

/// Status, and the code of a problem answer.
fn read(answer: &str) -> (u16, String) {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let code = answer.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
    (status, code.unwrap_or_default().to_owned())
}

async fn ask(sidegate: &Sidegate, target: &[u8]) -> (u16, String) {
    let bytes = [b"GET ", target, b" HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n"].concat();
    read(&raw(sidegate.public, &bytes).await)
}

#[tokio::test]
async fn a_hostile_target_is_refused_or_reaches_the_upstream_in_its_one_form() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = two_doors(&upstream, &issuer).await;

    for target in [
        "/public/x",
        "/public/./x",
        "/public/a/../x",
        "/public/%78",
        "/public/%7Ex",
        "/public/caf%c3%a9",
        "/public//x",
        "/public/x;v=1",
        "/public/a%20b",
        "/public/x?a=/admin&b=%2e%2e",
        "/public/../public/x",
        "http://api.test/public/x",
        "/",
        "http://api.test",
        "http://api.test?x=1",
        // Each of these is somebody's way to /admin.
        "/public/../admin",
        "/public/..%2fadmin",
        "/public/..%2Fadmin",
        "/public/%2e%2e/admin",
        "/public/%2E%2e/admin",
        "/public/.%2e/admin",
        "/public/%252e%252e/admin",
        "/public/..%252fadmin",
        "/public/..%255cadmin",
        "/public/%25252e%25252e/admin",
        "/public/..\\admin",
        "/public\\..\\admin",
        "/public/..%5cadmin",
        "/public/..;/admin",
        "/public/..;x=y/admin",
        "/public/..%3b/admin",
        "/public/..%253b/admin",
        "/public/.%00./admin",
        "/public/..%00/admin",
        "/public/..%20/admin",
        "/public/..%09/admin",
        "/public/.../admin",
        "/public/%c0%ae%c0%ae/admin",
        "/public/%25c0%25ae%25c0%25ae/admin",
        "/public/%ef%bc%8e%ef%bc%8e/admin",
        "/public/%u002e%u002e/admin",
        "/public/..%0d%0a/admin",
        "/public/..%3f/../admin",
        "/public/x%23/../../admin",
        "/public//../admin",
        "//admin",
        "//public/../admin",
        "///admin",
        "/./admin",
        "/x/../admin",
        "/%61dmin",
        "/%2561dmin",
        "/admin;x",
        "/ADMIN",
        "/Admin/x",
        "/admin.",
        "/admin%20",
        "/admin%2e",
        "/admin/",
        "/admin//",
        "//api.test/admin",
        "/public/admin",
        "/public/admin/x",
        "/public/Admin/x",
        "/public/admin;/x",
        "/public//admin/x",
        "/public/%61dmin/x",
        "/public/%2561dmin/x",
        "/public%2fadmin%2fx",
        "/public/admin%2fx",
        "/public/x/..;/admin/x",
        "/public/admin./x",
        "/public/admin%09/x",
        // These say nothing clear at all.
        "/..",
        "/../x",
        "/public/../../x",
        "/public/%",
        "/public/%2",
        "/public/%zz",
        "/public/x#y",
        "/public/%00",
        "/public/%01",
        "/public/%7f",
        "/public/%ff",
        "*",
        "public/x",
        "?x",
        "#",
        "http:///public",
        "http://",
        "http://other.test/public/x",
        "https://other.test/admin",
        "http://a@api.test/public/x",
        "ftp://api.test/public/x",
        "http://api.test:80/public/x",
        "api.test:80",
    ] {
        let before = upstream.count();
        let (status, code) = ask(&sidegate, target.as_bytes()).await;
        let reached = upstream.count() - before;
        match status {
            200 => {
                assert_eq!(reached, 1, "{target}");
                let path = target.strip_prefix("http://api.test").unwrap_or(target);
                // A fragment is dropped before anything is decided; nobody sees it.
                let path = path.split(['?', '#']).next().filter(|path| !path.is_empty()).unwrap_or("/");
                let seen = upstream.last().target;
                let seen = seen.split('?').next().unwrap();
                assert_eq!(seen, canonical(path).unwrap().as_str(), "{target}");
                let lower = seen.to_lowercase();
                assert!(seen == "/" || lower.starts_with("/public"), "{target} reached {seen}");
                assert!(!lower.starts_with("/public/admin/"), "{target} reached {seen}");
            }
            400 | 404 => {
                assert_eq!(reached, 0, "{target}");
                // What is no request target at all is refused before anything of ours sees it.
                let unreadable = target.parse::<http::Uri>().is_err();
                assert!(!code.is_empty() || unreadable, "{target} was refused without a code");
            }
            401 => {
                assert_eq!((reached, code.as_str()), (0, "token_missing"), "{target}");
                assert!(target.to_lowercase().contains("dmin"), "{target} asked for a token");
            }
            other => panic!("{target}: {other} {code}"),
        }
    }
}

#[tokio::test]
async fn what_has_several_meanings_never_passes_a_public_prefix() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = two_doors(&upstream, &issuer).await;

    for (target, answer) in [
        ("/public/../admin", (401, "token_missing")),
        ("/%61dmin", (401, "token_missing")),
        ("/public/admin/x", (401, "token_missing")),
        ("/public/%2e%2e/admin", (400, "encoded_dot_segment")),
        ("/public/%252e%252e/admin", (400, "ambiguous_path")),
        ("/public/..;/admin", (400, "ambiguous_path")),
        ("/public/..%20/admin", (400, "ambiguous_path")),
        ("/public/x/..;/admin/x", (400, "ambiguous_path")),
        ("/public/%2561dmin/x", (400, "ambiguous_path")),
        ("/public/Admin/x", (400, "ambiguous_path")),
        ("/public//admin/x", (400, "ambiguous_path")),
        ("/public/admin%2fx", (400, "encoded_slash")),
        ("/public/..\\admin", (400, "backslash")),
        ("/public/..%5Cadmin", (400, "backslash")),
        ("/public/%00", (400, "control_character")),
        ("/public/%ff", (400, "invalid_utf8")),
        ("/public/%zz", (400, "malformed_escape")),
        ("/..", (400, "dot_segment_above_root")),
        ("http://other.test/public/x", (400, "contradictory_host")),
        ("ftp://api.test/public/x", (400, "foreign_scheme")),
        ("/elsewhere", (404, "no_route")),
    ] {
        assert_eq!(ask(&sidegate, target.as_bytes()).await, (answer.0, answer.1.to_owned()), "{target}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn bytes_that_no_target_may_have_end_the_connection() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = two_doors(&upstream, &issuer).await;

    for target in [
        &b"/public/\0"[..],
        b"/public/\x01",
        b"/public/\x7f",
        b"/public/\xff",
        b"/public/\xc3\xa9",
        b"/public/a b",
        b"",
    ] {
        let (status, _) = ask(&sidegate, target).await;
        assert!(status == 400, "{:?}: {status}", String::from_utf8_lossy(target));
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn connect_is_never_forwarded() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = two_doors(&upstream, &issuer).await;

    for target in ["api.test:443", "/public/x", "127.0.0.1:22"] {
        let bytes = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nconnection: close\r\n\r\n");
        let (status, _) = read(&raw(sidegate.public, bytes.as_bytes()).await);
        assert!(matches!(status, 400 | 404 | 405 | 501), "{target}: {status}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_request_without_exactly_one_valid_host_is_refused() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&format!(
        "{}internal_jwt: {{ issuer: https://sidegate.internal }}\nupstreams:\n  - name: app\n    url: http://{}\nroutes:\n  \
         - {{ name: open, paths: [\"/*\"], upstream: app, public: true }}\n",
        issuer.yaml(),
        upstream.address
    ))
    .await;

    for path in ["/x", "/.well-known/sidegate/jwks.json"] {
        for (hosts, code) in [
            ("", "missing_host"),
            ("host: a\r\nhost: a\r\n", "repeated_host"),
            ("host: a\r\nHost: b\r\n", "repeated_host"),
            ("host:\r\n", "malformed_host"),
            ("host: a, b\r\n", "malformed_host"),
            ("host: me@a\r\n", "malformed_host"),
            ("host: a/b\r\n", "malformed_host"),
            ("host: a:b\r\n", "malformed_host"),
            ("host: [::1\r\n", "malformed_host"),
            ("host: \u{e9}\r\n", "malformed_host"),
        ] {
            let bytes = format!("GET {path} HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
            assert_eq!(read(&raw(sidegate.public, bytes.as_bytes()).await), (400, code.into()), "{path} {hosts:?}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn http_1_0_is_answered_and_the_connection_closed() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = two_doors(&upstream, &issuer).await;

    let answer = raw(sidegate.public, b"GET /public/x HTTP/1.0\r\nhost: api.test\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("hello"), "{answer}");
    let answer = raw(sidegate.public, b"GET /public/x HTTP/1.0\r\n\r\n").await;
    assert_eq!(read(&answer), (400, "missing_host".into()));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn over_http2_authority_and_host_must_agree_and_the_path_has_one_form() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = two_doors(&upstream, &issuer).await;
    let mut sender = h2::<Empty<bytes::Bytes>>(sidegate.public).await;

    let ask = |uri: &str, host: Option<&str>| {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        sender.send_request(request.body(Empty::new()).unwrap())
    };
    let mut ask = ask;
    for (uri, host, status, code) in [
        ("http://api.test/public/x", None, 200, ""),
        ("http://api.test/public/x", Some("api.test"), 200, ""),
        ("http://api.test/public/x", Some("other.test"), 400, "contradictory_host"),
        ("http://api.test/public/..%2fadmin", None, 400, "encoded_slash"),
        ("http://api.test/public/..;/admin", None, 400, "ambiguous_path"),
        ("http://api.test/public/../admin", None, 401, "token_missing"),
    ] {
        let before = upstream.count();
        let reply = client::collect(ask(uri, host).await.unwrap()).await;
        assert_eq!(reply.status, status, "{uri} {host:?}");
        if status == 200 {
            assert_eq!(upstream.last().header("host"), Some("api.test"));
        } else {
            assert_eq!((reply.code().as_str(), upstream.count()), (code, before), "{uri} {host:?}");
        }
    }
}

#[tokio::test]
async fn no_upstream_answers_in_the_place_of_a_document_of_ours() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&format!(
        "{}internal_jwt: {{ issuer: https://sidegate.internal }}\nupstreams:\n  - name: app\n    url: http://{}\nroutes:\n  \
         - {{ name: open, paths: [\"/*\"], upstream: app, public: true }}\n",
        issuer.yaml(),
        upstream.address
    ))
    .await;

    let keys = get(sidegate.public, "/.well-known/sidegate/jwks.json", "").await.body;
    for path in ["/.well-known/sidegate/%6Awks.json", "/x/../.well-known/sidegate/./jwks.json"] {
        assert_eq!(get(sidegate.public, path, "").await.body, keys, "{path}");
        let reply = send(sidegate.public, request("POST", path, "")).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (405, "method_not_allowed"), "{path}");
        assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    }
    assert_eq!(upstream.count(), 0);
}
