//! How much a client may send, and how often.

use bytes::Bytes;
use http::Request;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use serde_json::json;

use crate::support::{Issuer, Reply, Scripted, Sidegate, Upstream, Wire, client, get, h2, request, send};

fn limited(upstream: std::net::SocketAddr, issuer: &Issuer, route: &str, more: &str) -> String {
    format!(
        "{}upstreams: [{{ name: app, url: \"http://{upstream}\" }}]\nroutes:\n  - name: all\n    paths: [/, \"/*\"]\n    \
         upstream: app\n    policy: {{ audiences: [orders-api] }}\n{route}{more}",
        issuer.yaml(),
    )
}

#[tokio::test]
async fn a_head_that_is_too_long_or_has_too_many_headers_gets_431() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let listener = "listeners:\n  - name: main\n    address: 127.0.0.1:0\n    \
                    limits: { header_bytes: 8KiB, header_count: 10 }\n";
    let sidegate = Sidegate::start(&limited(upstream.address, &issuer, "", listener)).await;
    let ask = async |name: &str, value: String, count: usize| {
        let mut asked = request("GET", "/", &issuer.token());
        for index in 0..count {
            asked
                .headers_mut()
                .insert(http::HeaderName::try_from(format!("{name}{index}")).unwrap(), value.parse().unwrap());
        }
        send(sidegate.public, asked).await
    };

    assert_eq!(ask("x-", "a".repeat(4000), 1).await.status, 200);
    let reply = ask("x-", "a".repeat(9000), 1).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (431, "head_too_large"));
    assert_eq!(ask("x-", "a".into(), 8).await.status, 200);
    let reply = ask("x-", "a".into(), 9).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (431, "head_too_large"));
    let reply = ask("x-", "a".repeat(60_000), 1).await;
    assert_eq!(reply.status, 431);
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn a_body_that_is_announced_too_long_gets_413_and_the_upstream_hears_nothing() {
    let (upstream, issuer) = (Scripted::start().await, Issuer::new());
    let sidegate = Sidegate::start(&limited(upstream.address, &issuer, "    max_body_bytes: 10B\n", "")).await;

    let mut asked = request("POST", "/", &issuer.token()).map(|_| Full::new(Bytes::from_static(b"12345678901")));
    asked.headers_mut().insert("content-length", 11.into());
    let reply = send(sidegate.public, asked).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (413, "body_too_large"));

    // Not even a 100 invites the body.
    let mut wire = Wire::connect(sidegate.public).await;
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n", issuer.token());
    wire.say(format!("{head}content-length: 11\r\nexpect: 100-continue\r\n\r\n")).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 413"));
    assert!(upstream.is_untouched().await);
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_gets_413_and_the_upstream_never_sees_its_end() {
    let (upstream, issuer) = (Scripted::start().await, Issuer::new());
    let sidegate = Sidegate::start(&limited(upstream.address, &issuer, "    max_body_bytes: 10B\n", "")).await;

    let mut wire = Wire::connect(sidegate.public).await;
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n", issuer.token());
    wire.say(format!("{head}transfer-encoding: chunked\r\n\r\n8\r\n12345678\r\n")).await;
    let mut answering = upstream.next().await;
    answering.until("12345678").await;
    wire.say("3\r\n901\r\n0\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 413"));
    let rest = answering.rest().await;
    assert!(!rest.contains("0\r\n\r\n") && !rest.contains("901"), "{rest}");
}

#[tokio::test]
async fn the_bound_of_the_body_holds_over_http2_too() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&limited(upstream.address, &issuer, "    max_body_bytes: 10B\n", "")).await;
    for (parts, status) in [(vec!["12345", "67890"], 200), (vec!["12345", "678901"], 413)] {
        let mut sender = h2(sidegate.public).await;
        let frames =
            parts.into_iter().map(|part| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(part.as_bytes()))));
        let asked = Request::post("http://api.test/")
            .header("authorization", format!("Bearer {}", issuer.token()))
            .body(StreamBody::new(futures_util::stream::iter(frames)))
            .unwrap();
        let reply = client::collect(sender.send_request(asked).await.unwrap()).await;
        assert_eq!(reply.status, status);
    }
    assert_eq!(upstream.count(), 1);
}

fn is_limited(reply: &Reply) {
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (429, "rate_limited"));
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn an_address_that_asks_too_often_gets_429_before_its_token_is_looked_at() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let route = "    rate_limit: { per_address: { requests: 1, per: 1h, burst: 2 } }\n";
    let sidegate = Sidegate::start(&limited(upstream.address, &issuer, route, "")).await;

    assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 200);
    assert_eq!(get(sidegate.public, "/", "abc").await.status, 401);
    is_limited(&get(sidegate.public, "/", &issuer.token()).await);
    let mut asked = request("GET", "/", &issuer.token());
    asked.headers_mut().insert("x-forwarded-for", "198.51.100.7".parse().unwrap());
    is_limited(&send(sidegate.public, asked).await);
    assert_eq!(upstream.count(), 1);
    assert!(sidegate.series("sidegate_rate_limited_total{scope=\"address\"}").await == 2.0);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_forwarded_address_is_counted() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let route = "    rate_limit: { per_address: { requests: 1, per: 1h, burst: 1 } }\n";
    let trusted = "trusted_proxies: [127.0.0.1/32]\n";
    let sidegate = Sidegate::start(&limited(upstream.address, &issuer, route, trusted)).await;
    let from = async |address: &str| {
        let mut asked = request("GET", "/", &issuer.token());
        asked.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        send(sidegate.public, asked).await
    };

    assert_eq!(from("198.51.100.7").await.status, 200);
    is_limited(&from("198.51.100.7").await);
    // Written by the client itself, further to the left: no way out.
    is_limited(&from("203.0.113.9, 198.51.100.7").await);
    assert_eq!(from("198.51.100.8").await.status, 200);
    assert_eq!(from("2001:db8::1").await.status, 200);
    is_limited(&from("2001:db8::2").await);
}

#[tokio::test]
async fn two_tokens_of_one_subject_share_a_rate_and_another_subject_has_its_own() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let route = "    rate_limit: { per_principal: { requests: 1, per: 1h, burst: 2 } }\n";
    let sidegate = Sidegate::start(&limited(upstream.address, &issuer, route, "")).await;
    let token = |sub: &str, jti: u32| issuer.token_with(json!({"sub": sub, "jti": jti.to_string()}));

    assert_eq!(get(sidegate.public, "/", &token("ana", 1)).await.status, 200);
    assert_eq!(get(sidegate.public, "/", &token("ana", 2)).await.status, 200);
    is_limited(&get(sidegate.public, "/", &token("ana", 3)).await);
    is_limited(&get(sidegate.public, "/", &token("ana", 1)).await);
    assert_eq!(get(sidegate.public, "/", &token("bob", 1)).await.status, 200);
    assert_eq!(upstream.count(), 3);
    assert!(sidegate.series("sidegate_rate_limited_total{scope=\"principal\"}").await == 2.0);
}

#[tokio::test]
async fn a_rate_recovers_with_time() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let route = "    rate_limit: { per_address: { requests: 20, per: 1s, burst: 1 } }\n";
    let sidegate = Sidegate::start(&limited(upstream.address, &issuer, route, "")).await;
    let recovered = async {
        while get(sidegate.public, "/", &issuer.token()).await.status != 200 {}
        while get(sidegate.public, "/", &issuer.token()).await.status != 429 {}
        while get(sidegate.public, "/", &issuer.token()).await.status != 200 {}
    };
    crate::support::must(recovered).await;
}
