//! The internal JWT.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Setup, refusal};
use crate::support::{Issuer, Sidegate, Upstream, client::request, get, log::written, send};

#[tokio::test]
async fn a_request_whose_internal_token_is_refused_is_sent_once_more_with_a_new_one() {
    let setup = Setup::new("").await;
    let token = setup.issuer.token();
    let reply = get(setup.sidegate.public, "/orders?a=b", &token).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello"));
    let seen = setup.upstream.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(setup.shown()[0], setup.shown()[1]);
    let rest = |index: usize| {
        let mut rest = seen[index].clone();
        rest.headers.remove("authorization");
        (rest.method, rest.target, rest.headers, rest.body)
    };
    assert_eq!(rest(0), rest(1));
    assert_eq!((setup.replays("accepted").await, setup.forced("renewed").await), (1.0, 1.0));
    // Whoever comes next is shown the new one at once.
    assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
    assert_eq!(setup.shown()[2..], setup.shown()[1..2]);
}

#[tokio::test]
async fn the_method_does_not_matter_since_a_refused_request_was_not_processed() {
    for method in ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"] {
        for setup in [Setup::new("").await, Setup::http2("").await] {
            // On a connection that is already there, too.
            for count in [2, 3] {
                let reply = send(setup.sidegate.public, request(method, "/", &setup.issuer.token())).await;
                assert_eq!((reply.status.as_u16(), setup.upstream.count()), (200, count), "{method}");
                assert!(setup.upstream.seen().iter().all(|seen| seen.method == method));
            }
        }
    }
}

#[tokio::test]
async fn a_second_401_goes_to_the_client_as_it_came() {
    let setup = Setup::refusing("").await;
    let reply = get(setup.sidegate.public, "/", &setup.issuer.token()).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (401, "who are you?"));
    assert_eq!(reply.header("www-authenticate"), Some("Legacy realm=\"inside\""));
    assert_eq!((setup.upstream.count(), setup.replays("refused").await), (2, 1.0));
}

#[tokio::test]
async fn an_upstream_that_refuses_everything_has_a_token_minted_once_in_30_seconds() {
    let setup = Setup::refusing("").await;
    let token = setup.issuer.token();
    let mut expected = 0;
    for _ in 0..3 {
        for at_once in [2, 1, 1, 1] {
            expected += at_once;
            assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 401);
            assert_eq!(setup.upstream.count(), expected);
        }
        // The clock goes on by itself as well.
        setup.sidegate.time.advance(15);
        expected += 1;
        get(setup.sidegate.public, "/", &token).await;
        assert_eq!(setup.upstream.count(), expected, "within 30 seconds");
        setup.sidegate.time.advance(15);
    }
    assert_eq!((setup.forced("renewed").await, setup.forced("too_soon").await), (3.0, 12.0));
    assert_eq!((setup.replays("refused").await, setup.replays("not_renewed").await), (3.0, 12.0));
}

#[tokio::test]
async fn a_token_that_was_minted_by_time_does_not_make_it_more() {
    let setup = Setup::refusing("").await;
    let token = setup.issuer.token();
    get(setup.sidegate.public, "/", &token).await;
    // At 80 % of 120 seconds there is another one, which was not forced.
    setup.sidegate.time.advance(97);
    get(setup.sidegate.public, "/", &token).await;
    assert_eq!(setup.forced("renewed").await, 2.0);
    let distinct: HashSet<String> = setup.shown().into_iter().collect();
    assert_eq!((setup.upstream.count(), distinct.len()), (4, 4));
}

#[tokio::test]
async fn many_requests_that_are_refused_at_once_share_one_new_token_and_all_go_through() {
    for setup in [Setup::new("").await, Setup::http2("").await] {
        let token = setup.issuer.token();
        // Several that come first may each have a token minted.
        get(setup.sidegate.public, "/warm", &token).await;
        let replies = join_all((0..64).map(|_| get(setup.sidegate.public, "/", &token))).await;
        assert!(replies.iter().all(|reply| reply.status == 200));
        assert_eq!(setup.forced("renewed").await, 1.0);
        let distinct: HashSet<String> = setup.shown().into_iter().collect();
        assert_eq!(distinct.len(), 2);
    }
}

#[tokio::test]
async fn it_is_counted_for_each_client_by_itself() {
    let setup = Setup::refusing("").await;
    for subject in ["ana", "bob"] {
        let token = setup.issuer.token_with(json!({"sub": subject}));
        get(setup.sidegate.public, "/", &token).await;
    }
    assert_eq!((setup.upstream.count(), setup.forced("renewed").await), (4, 2.0));
}

#[tokio::test]
async fn who_is_only_observed_a_public_route_and_other_credentials_are_left_alone() {
    let (upstream, issuer) = (Upstream::answering(|_| refusal()).await, Issuer::new());
    let jwt = "internal_jwt: { audience: app }";
    let at = upstream.address;
    let yaml = format!(
        "{}internal_jwt: {{ issuer: \"http://sidegate.test\" }}\nupstreams:\n  \
         - {{ name: jwt, url: \"http://{at}\", credential: {{ {jwt} }} }}\n  \
         - {{ name: original, url: \"http://{at}\", credential: {{ original: {{}} }} }}\n  \
         - {{ name: named, url: \"http://{at}\", credential: {{ none: {{}} }}, identity_headers: {{ X-User: sub }} }}\n\
         routes:\n  \
         - {{ name: public, paths: [/public], upstream: jwt, public: true }}\n  \
         - {{ name: observed, paths: [/observed], upstream: jwt, mode: observe, policy: {{ audiences: [orders-api] }} }}\n  \
         - {{ name: off, paths: [/off], upstream: jwt, replay: {{ on_401: false }}, policy: {{ audiences: [orders-api] }} }}\n  \
         - {{ name: named, paths: [/named], upstream: named, policy: {{ audiences: [orders-api] }} }}\n  \
         - {{ name: original, paths: [/original], upstream: original, policy: {{ audiences: [orders-api] }} }}\n",
        issuer.yaml(),
    );
    let sidegate = Sidegate::start(&yaml).await;
    for (count, path) in ["/public", "/observed", "/off", "/named", "/original"].iter().enumerate() {
        let reply = get(sidegate.public, path, &issuer.token()).await;
        assert_eq!((reply.status.as_u16(), upstream.count()), (401, count + 1), "{path}");
    }
    let reply = get(sidegate.public, "/observed", "").await;
    assert_eq!((reply.status.as_u16(), upstream.count()), (401, 6));
    assert!(!sidegate.health("/metrics").await.text().contains("sidegate_replays_total{"));
}

#[tokio::test]
async fn what_is_not_a_401_is_not_touched() {
    // A gRPC status in a 200 says nothing of whether the request was processed.
    let upstream = Upstream::answering(|seen| {
        let mut response = refusal();
        let status = if seen.target == "/grpc" { 200 } else { 403 };
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert("grpc-status", "16".parse().unwrap());
        response
    });
    let setup = Setup::before(upstream.await, "", "").await;
    for (count, path) in ["/grpc", "/other"].iter().enumerate() {
        get(setup.sidegate.public, path, &setup.issuer.token()).await;
        assert_eq!(setup.upstream.count(), count + 1);
    }
}

#[tokio::test]
async fn the_line_of_the_access_log_says_that_a_request_was_sent_twice() {
    let log = written();
    let setup = Setup::new("").await;
    let reply = get(setup.sidegate.public, "/", &setup.issuer.token()).await;
    let again = get(setup.sidegate.public, "/", &setup.issuer.token()).await;
    let line = |id: &str| -> Value {
        let text = log.text();
        let line = text.lines().find(|line| line.contains(id) && line.contains("\"status\"")).unwrap().to_owned();
        serde_json::from_str(&line).unwrap()
    };
    let twice = line(reply.header("x-request-id").unwrap());
    assert_eq!(
        (&twice["replayed"], &twice["status"], &twice["decision"]),
        (&json!(true), &json!(200), &json!("allowed"))
    );
    assert!(twice["duration_us"].as_u64() >= twice["upstream_us"].as_u64());
    assert_eq!(line(again.header("x-request-id").unwrap())["replayed"], Value::Null);
    // Each exchange is one of the upstream's, and the request is one of ours.
    let count = "sidegate_upstream_request_duration_seconds_count{upstream=\"app\"}";
    assert_eq!(setup.sidegate.series(count).await, 3.0);
    assert_eq!(setup.sidegate.series("sidegate_http_request_duration_seconds_count{route=\"all\"}").await, 2.0);
}
