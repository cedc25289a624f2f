//! What a client reads in the headers and trailers of an answer: the upstream's, or our own.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::support::{Issuer, Scripted, Sidegate, Upstream, Wire, client, get, h2, request, send};

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

#[tokio::test]
async fn what_belongs_to_the_upstreams_connection_does_not_come_back() {
    let (upstream, issuer) = (Scripted::start().await, Issuer::new());
    let sidegate = Sidegate::start(&format!(
        "{}upstreams: [{{ name: app, url: \"http://{}\" }}]\n\
         routes: [{{ name: all, paths: [/], upstream: app, public: true }}]\n",
        issuer.yaml(),
        upstream.address
    ))
    .await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say("GET / HTTP/1.1\r\nhost: api.test\r\n\r\n").await;
    let mut answering = upstream.next().await;
    answering.head().await;
    answering
        .say(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive, x-private\r\nkeep-alive: timeout=9\r\n\
             x-private: 1\r\nproxy-authenticate: Basic\r\nproxy-connection: x\r\nupgrade: h2c\r\nx-request-id: theirs\r\n\
             set-cookie: a=1\r\nset-cookie: b=2\r\nx-kept: 1\r\n\r\nok",
        )
        .await;
    let head = wire.head().await.to_lowercase();
    for gone in ["x-private", "keep-alive", "proxy-", "upgrade", "theirs", "connection"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    assert!(head.contains("x-kept: 1") && head.contains("set-cookie: a=1\r\nset-cookie: b=2"), "{head}");
}

#[tokio::test]
async fn our_own_errors_have_no_other_headers_than_these() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let route = "    methods: [GET, POST]\n    max_body_bytes: 4B\n    rate_limit: { per_principal: { requests: 1, per: 1h, burst: 1 } }\n";
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = "  - { name: dead, paths: [/dead], upstream: dead, public: true }\n\
                resource: { identifier: \"https://api.test\" }\n";
    let yaml = yaml(&upstream, &issuer, "", route, more)
        .replace("upstreams:\n", &format!("upstreams:\n  - {{ name: dead, url: \"http://{dead}\" }}\n"));
    let sidegate = Sidegate::start(&yaml).await;
    let allowed = [
        "content-type",
        "content-length",
        "cache-control",
        "date",
        "x-request-id",
        "www-authenticate",
        "retry-after",
        "allow",
        "connection",
    ];
    let token = issuer.token();
    assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
    let body = |length: usize| {
        let mut asked = request("POST", "/", &token).map(|_| Full::new(Bytes::from(vec![b'x'; length])));
        asked.headers_mut().insert("content-length", length.into());
        asked
    };
    for (asked, status) in [
        (request("GET", "/", ""), 401),
        (request("GET", "/", "a b"), 400),
        (request("GET", "/", "abc"), 401),
        (request("GET", "/%zz", ""), 400),
        (request("PUT", "/", ""), 405),
        (request("GET", "/", &token), 429),
        (request("GET", "/dead", ""), 503),
        (body(5), 413),
    ] {
        let what = format!("{} {}", asked.method(), asked.uri());
        let reply = send(sidegate.public, asked).await;
        assert_eq!(reply.status, status, "{what}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{what}");
        assert_eq!(reply.json()["request_id"].as_str(), reply.header("x-request-id"));
        assert_eq!(reply.json()["status"], status);
        for name in reply.headers.keys() {
            assert!(allowed.contains(&name.as_str()), "{what}: {name}");
        }
        let members: Vec<String> = reply.json().as_object().unwrap().keys().cloned().collect();
        assert!(members.iter().all(|m| ["title", "status", "code", "request_id"].contains(&m.as_str())), "{members:?}");
    }
}

#[tokio::test]
async fn trailers_of_the_upstream_come_back() {
    let issuer = Issuer::new();
    let upstream = Scripted::start().await;
    let sidegate = Sidegate::start(&format!(
        "{}upstreams: [{{ name: app, url: \"http://{}\" }}]\n\
         routes: [{{ name: all, paths: [/], upstream: app, public: true }}]\n",
        issuer.yaml(),
        upstream.address
    ))
    .await;
    let mut sender = h2::<Full<Bytes>>(sidegate.public).await;
    let asked = Request::get("http://api.test/").header("te", "trailers").body(Full::default()).unwrap();
    let reply = tokio::spawn(async move { client::collect(sender.send_request(asked).await.unwrap()).await });
    let mut answering = upstream.next().await;
    answering.head().await;
    answering
        .say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n")
        .await;
    let reply = reply.await.unwrap();
    assert_eq!(reply.text(), "ok");
    assert_eq!(reply.trailers.unwrap()["x-sum"], "7");
}
