//! Scripts of other origins: what is answered in the upstream's place, and what they may read.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;

use crate::support::{Issuer, Reply, Sidegate, Upstream, get, request, send};

const APP: &str = "https://app.example.com";

const CORS: &str = "    cors: { origins: [\"https://app.example.com\"], methods: [GET, PUT], headers: [authorization], \
                    expose_headers: [x-request-id], credentials: true, max_age: 10m }\n";

/// An upstream that has opinions of its own about CORS.
async fn opinionated() -> Upstream {
    Upstream::answering(|_| {
        Response::builder()
            .header("access-control-allow-origin", "*")
            .header("access-control-allow-credentials", "false")
            .header("access-control-allow-private-network", "true")
            .header("vary", "Accept")
            .body(Full::new(Bytes::from_static(b"hello")))
            .unwrap()
    })
    .await
}

fn yaml(upstream: &Upstream, issuer: &Issuer, route: &str, more: &str) -> String {
    format!(
        "{}upstreams:\n  - name: app\n    url: http://{}\n    credential: {{ original: {{}} }}\nroutes:\n  - name: api\n    \
         paths: [/api, \"/api/*\"]\n    methods: [GET, PUT]\n    upstream: app\n    \
         policy: {{ audiences: [orders-api], scopes_all: [orders] }}\n{route}{more}",
        issuer.yaml(),
        upstream.address
    )
}

async fn ask(sidegate: &Sidegate, method: &str, path: &str, token: &str, headers: &[(&str, &str)]) -> Reply {
    let mut asked = request(method, path, token);
    for (name, value) in headers {
        asked.headers_mut().append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    send(sidegate.public, asked).await
}

fn preflight(origin: &str) -> [(&str, &str); 2] {
    [("origin", origin), ("access-control-request-method", "PUT")]
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_token_and_the_upstream_hears_nothing() {
    let (upstream, issuer) = (opinionated().await, Issuer::new());
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, CORS, "")).await;

    let reply = ask(&sidegate, "OPTIONS", "/api/7", "", &preflight(APP)).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (204, ""));
    assert_eq!(reply.header("access-control-allow-origin"), Some(APP));
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, PUT"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("authorization"));
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(reply.header("access-control-max-age"), Some("600"));
    assert!(reply.header("vary").unwrap().contains("Origin"));

    for origin in ["https://evil.test", "null", "https://app.example.com.evil.test"] {
        let reply = ask(&sidegate, "OPTIONS", "/api/7", "", &preflight(origin)).await;
        assert_eq!(reply.status, 204);
        let told = reply.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).count();
        assert_eq!(told, 0, "{origin}");
        assert!(reply.header("vary").unwrap().contains("Origin"));
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn an_options_request_that_is_no_preflight_is_a_request_like_any_other() {
    let (upstream, issuer) = (opinionated().await, Issuer::new());
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, CORS, "")).await;

    for headers in [&[("origin", APP)][..], &[("access-control-request-method", "PUT")], &[]] {
        assert_eq!(ask(&sidegate, "OPTIONS", "/api", "", headers).await.status, 405);
    }
    let foreign = [("origin", APP), ("access-control-request-method", "DELETE")];
    assert_eq!(ask(&sidegate, "OPTIONS", "/api", "", &foreign).await.status, 405);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn the_upstreams_own_cors_headers_are_replaced() {
    let (upstream, issuer) = (opinionated().await, Issuer::new());
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, CORS, "")).await;

    let reply = ask(&sidegate, "GET", "/api", &issuer.token(), &[("origin", APP)]).await;
    assert_eq!(reply.headers.get_all("access-control-allow-origin").iter().collect::<Vec<_>>(), [APP]);
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(reply.header("access-control-expose-headers"), Some("x-request-id"));
    assert_eq!(reply.header("access-control-allow-private-network"), None);
    assert_eq!(reply.headers.get_all("vary").iter().collect::<Vec<_>>(), ["Accept", "Origin"]);

    for headers in [&[("origin", "https://evil.test")][..], &[]] {
        let reply = ask(&sidegate, "GET", "/api", &issuer.token(), headers).await;
        assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (200, None));
        assert!(reply.headers.get_all("vary").iter().any(|vary| vary == "Origin"));
    }
}

#[tokio::test]
async fn our_own_errors_are_readable_by_scripts_of_allowed_origins_only() {
    let (upstream, issuer) = (opinionated().await, Issuer::new());
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let limited = format!("{CORS}    rate_limit: {{ per_principal: {{ requests: 1, per: 1h, burst: 1 }} }}\n");
    let more = format!("  - name: dead\n    paths: [/dead]\n    upstream: dead\n    public: true\n{CORS}");
    let yaml = yaml(&upstream, &issuer, &limited, &more)
        .replace("upstreams:\n", &format!("upstreams:\n  - {{ name: dead, url: \"http://{dead}\" }}\n"));
    let sidegate = Sidegate::start(&yaml).await;
    let poor = issuer.token_with(serde_json::json!({"scope": "other"}));
    assert_eq!(get(sidegate.public, "/api", &issuer.token()).await.status, 200);

    for (path, token, status) in [
        ("/api", String::new(), 401),
        ("/api", "abc".into(), 401),
        ("/api", poor, 403),
        ("/api", issuer.token(), 429),
        ("/dead", String::new(), 503),
    ] {
        let reply = ask(&sidegate, "GET", path, &token, &[("origin", APP)]).await;
        assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (status, Some(APP)), "{path}");
        assert_eq!(reply.header("vary"), Some("Origin"));
        let reply = ask(&sidegate, "GET", path, &token, &[("origin", "https://evil.test")]).await;
        assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (status, None), "{path}");
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_forwarded_preflight_carries_no_token_and_no_credential() {
    let (upstream, issuer) = (opinionated().await, Issuer::new());
    let forward = "    cors: { preflight: forward }\n";
    let sidegate = Sidegate::start(&yaml(&upstream, &issuer, forward, "")).await;

    for token in ["", &*issuer.token(), "not-a-token"] {
        let reply = ask(&sidegate, "OPTIONS", "/api", token, &preflight(APP)).await;
        assert_eq!(reply.status, 200);
        let seen = upstream.last();
        assert_eq!((seen.method.as_str(), seen.header("authorization")), ("OPTIONS", None), "{token:?}");
        assert_eq!(seen.header("access-control-request-method"), Some("PUT"));
        // The upstream speaks for itself here.
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    }
    let before = upstream.count();
    assert_eq!(ask(&sidegate, "PUT", "/api", "", &[("origin", APP)]).await.status, 401);
    assert_eq!(upstream.count(), before);
}
