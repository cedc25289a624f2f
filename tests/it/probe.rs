//! Tokens of an old server without introspection: a request to it carries the token, and its answer is the verdict.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{
    Sidegate, Upstream, get,
    issuer::{AUDIENCE, NAME, Served, now, scratch},
    keys::Pair,
    look::{assert_invalid_token, assert_problem},
    upstream::Seen,
};

/// An old server that answers probes at /me as the test says, and everything else with 200.
struct Old {
    server: Upstream,
    says: Arc<Mutex<(u16, String)>>,
    sidegate: Sidegate,
}

impl Old {
    /// It is asked by `probe`, which is merged into what every probe needs.
    async fn new(probe: Value) -> Old {
        Old::with(probe, json!({"audiences": [AUDIENCE]})).await
    }

    async fn with(probe: Value, policy: Value) -> Old {
        let says = Arc::new(Mutex::new((200, String::new())));
        let script = says.clone();
        let server = Upstream::answering(move |seen| {
            let (status, body) = match seen.target.as_str() {
                "/me" => script.lock().unwrap().clone(),
                _ => (200, "hello".to_owned()),
            };
            let response = Response::builder().status(status).header("location", "/me/elsewhere");
            response.body(Full::new(Bytes::from(body))).unwrap()
        })
        .await;
        let origin = format!("http://{}", server.address);
        let config = json!({
            "issuers": [issuer("old", NAME, &origin, probe)],
            "upstreams": [{"name": "app", "url": origin,
                "identity_headers": {"X-Forwarded-User": "sub", "X-Forwarded-Company": "company"}}],
            "routes": [{"name": "all", "paths": ["/", "/*"], "upstream": "app", "policy": policy}],
        });
        Old { server, says, sidegate: start(&config).await }
    }

    fn says(&self, status: u16, body: impl ToString) {
        *self.says.lock().unwrap() = (status, body.to_string());
    }

    fn probes(&self) -> Vec<Seen> {
        self.server.seen().into_iter().filter(|seen| seen.target == "/me").collect()
    }

    /// What it got beside the probes.
    fn forwarded(&self) -> Vec<Seen> {
        self.server.seen().into_iter().filter(|seen| seen.target != "/me").collect()
    }

    async fn ask(&self, token: &str) -> crate::support::Reply {
        get(self.sidegate.public, "/orders", token).await
    }
}

/// JSON is YAML, too.
async fn start(config: &Value) -> Sidegate {
    let sections = config.as_object().unwrap().iter();
    Sidegate::start(&sections.map(|(name, section)| format!("{name}: {section}\n")).collect::<String>()).await
}

fn issuer(name: &str, issuer: &str, origin: &str, probe: Value) -> Value {
    let mut whole = json!({"url": format!("{origin}/me"), "audiences": [AUDIENCE]});
    whole.as_object_mut().unwrap().extend(probe.as_object().unwrap().clone());
    json!({"name": name, "issuer": issuer, "algorithms": [], "probe": whole})
}

#[tokio::test]
async fn a_token_that_the_server_takes_is_forwarded_and_asked_about_once() {
    let old = Old::new(json!({})).await;
    for _ in 0..5 {
        assert_eq!(old.ask("opaque").await.status, 200);
    }
    assert_eq!((old.probes().len(), old.forwarded().len()), (1, 5));
    let probe = old.probes().remove(0);
    assert_eq!((probe.method.as_str(), probe.header("authorization")), ("GET", Some("Bearer opaque")));
    assert_eq!(probe.body, "");
    assert_eq!(old.forwarded()[0].header("authorization"), None);
    assert_eq!(old.sidegate.metric("sidegate_probes_total{issuer=\"old\",result=\"active\"}").await, 1);
}

#[tokio::test]
async fn a_token_that_the_server_refuses_gets_401_and_not_one_byte_beside_the_probe() {
    let old = Old::new(json!({})).await;
    for status in [401, 403] {
        old.says(status, "");
        for _ in 0..3 {
            assert_invalid_token(&old.ask(&format!("bad-{status}")).await);
        }
    }
    assert_eq!((old.probes().len(), old.forwarded().len()), (2, 0));
    assert_eq!(old.sidegate.decisions("all", "token_revoked").await, 6);
    assert_eq!(old.sidegate.metric("sidegate_probes_total{issuer=\"old\",result=\"inactive\"}").await, 2);
}

#[tokio::test]
async fn a_200_whose_members_say_no_is_a_no() {
    let old = Old::new(json!({"require": {"/status": ["ok", 0], "/user/id": []}})).await;
    for (i, answer) in [
        json!({"status": "expired", "user": {"id": 1}}),
        json!({"status": "ok", "user": {"id": null}}),
        json!({"status": "ok"}),
        json!({"status": false, "user": {"id": 1}}),
        json!({"error": "who are you?"}),
        json!({}),
    ]
    .into_iter()
    .enumerate()
    {
        old.says(200, answer);
        assert_invalid_token(&old.ask(&format!("bad-{i}")).await);
    }
    assert_eq!(old.forwarded().len(), 0);
    for (i, status) in [json!("ok"), json!(0)].into_iter().enumerate() {
        old.says(200, json!({"status": status, "user": {"id": 1}}));
        assert_eq!(old.ask(&format!("good-{i}")).await.status, 200);
    }
}

#[tokio::test]
async fn members_become_claims_for_headers_and_policy() {
    let probe = json!({
        "claims": {"sub": "/user/id", "company": "/user/co~1mpany", "client_id": "/app", "scope": "/roles"},
        "scopes": ["guests"],
    });
    let policy = json!({"audiences": [AUDIENCE], "scopes_any": ["orders", "guests"], "clients": ["7"],
        "claims": {"company": ["acme"]}});
    let old = Old::with(probe, policy).await;
    let answer = |roles: Value, app: u32, company: &str| json!({"user": {"id": 42, "co/mpany": company}, "app": app, "roles": roles});
    old.says(200, answer(json!(["orders", "x"]), 7, "acme"));
    assert_eq!(old.ask("a").await.status, 200);
    let seen = old.forwarded().remove(0);
    assert_eq!((seen.header("x-forwarded-user"), seen.header("x-forwarded-company")), (Some("42"), Some("acme")));
    // The server does not say: what the configuration says.
    old.says(200, answer(Value::Null, 7, "acme"));
    assert_eq!(old.ask("b").await.status, 200);
    for (token, answer, code) in [
        ("c", answer(json!("reports"), 7, "acme"), "insufficient_scope"),
        ("d", answer(json!("orders"), 8, "acme"), "forbidden"),
        ("e", answer(json!("orders"), 7, "other"), "forbidden"),
    ] {
        old.says(200, answer);
        let reply = old.ask(token).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, code));
    }
    assert_eq!(old.forwarded().len(), 2);
}

#[tokio::test]
async fn the_audience_of_the_answer_goes_before_that_of_the_configuration() {
    let old = Old::new(json!({"claims": {"aud": "/for"}})).await;
    old.says(200, json!({"for": "others"}));
    assert_invalid_token(&old.ask("a").await);
    old.says(200, json!({"for": ["x", AUDIENCE]}));
    assert_eq!(old.ask("b").await.status, 200);
    old.says(200, json!({}));
    assert_eq!(old.ask("c").await.status, 200);
}

#[tokio::test]
async fn what_is_neither_yes_nor_no_refuses_nobody_and_is_asked_again() {
    let old = Old::new(json!({"claims": {"sub": "/id", "exp": "/until"}})).await;
    let good = json!({"id": "ana", "until": now() + 600}).to_string();
    for (i, (status, body)) in [
        (500, "{}".to_owned()),
        (503, String::new()),
        (404, String::new()),
        (400, String::new()),
        (429, String::new()),
        (201, "{}".to_owned()),
        (204, String::new()),
        (301, String::new()),
        (302, String::new()),
        (307, String::new()),
        (200, String::new()),
        (200, "<html>".to_owned()),
        (200, "[{\"id\":\"ana\"}]".to_owned()),
        (200, "{\"id\":\"ana\",\"id\":\"eva\"}".to_owned()),
        (200, "{\"id\":{}}".to_owned()),
        (200, format!("{{\"id\":\"ana\",\"until\":\"{}\"}}", now() + 600)),
        (200, "{\"id\":\"ana\",\"until\":null}".to_owned()),
        (200, "{\"id\":\"ana\",\"until\":1.9e9}".to_owned()),
        (200, format!("{{\"id\":\"ana\",\"more\":\"{}\"}}", "x".repeat(64 * 1024))),
    ]
    .into_iter()
    .enumerate()
    {
        old.says(status, &body);
        let token = format!("opaque-{i}");
        let before = old.forwarded().len();
        assert_problem(&old.ask(&token).await, 503, "temporarily_unavailable", None);
        assert_eq!(old.forwarded().len(), before, "{status} was forwarded, or a redirect was followed");
        old.says(200, &good);
        assert_eq!(old.ask(&token).await.status, 200, "{status} {body:.50} was remembered");
    }
}

#[tokio::test]
async fn an_answer_is_kept_for_the_ttl_and_a_revocation_is_seen_then() {
    let old = Old::new(json!({"cache_ttl": "60s", "negative_ttl": "10s"})).await;
    assert_eq!(old.ask("opaque").await.status, 200);
    old.says(401, "");
    old.sidegate.time.advance(50);
    assert_eq!(old.ask("opaque").await.status, 200);
    assert_eq!(old.probes().len(), 1);
    old.sidegate.time.advance(11);
    assert_invalid_token(&old.ask("opaque").await);
    assert_eq!(old.probes().len(), 2);
    // The no is kept as well, and not as long.
    old.says(200, "");
    assert_invalid_token(&old.ask("opaque").await);
    assert_eq!(old.probes().len(), 2);
    old.sidegate.time.advance(11);
    assert_eq!(old.ask("opaque").await.status, 200);
    assert_eq!(old.probes().len(), 3);
}

#[tokio::test]
async fn an_answer_is_kept_no_longer_than_the_token_lives() {
    let old = Old::new(json!({"claims": {"exp": "/until"}})).await;
    old.says(200, json!({"until": now() + 10}));
    assert_eq!(old.ask("opaque").await.status, 200);
    old.sidegate.time.advance(10 + 31);
    // The server goes on saying yes, which a token that has expired is not.
    for _ in 0..2 {
        assert_invalid_token(&old.ask("opaque").await);
    }
    assert_eq!(old.forwarded().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_refused_as_bearer() {
    let old = Old::new(json!({"claims": {"cnf": "/bound_to"}})).await;
    old.says(200, json!({"bound_to": {"jkt": "x"}}));
    assert_invalid_token(&old.ask("bound").await);
    assert_eq!(old.forwarded().len(), 0);
    old.says(200, json!({}));
    assert_eq!(old.ask("free").await.status, 200);
}

#[tokio::test]
async fn the_token_goes_where_the_old_server_looks_for_it() {
    let asks = [
        (json!({"header": "X-Token", "headers": {"X-App": "mine", "Accept": "*/*"}}), "GET"),
        (json!({"method": "POST"}), "POST"),
        (json!({"method": "HEAD"}), "HEAD"),
    ];
    for (probe, method) in asks {
        let old = Old::new(probe.clone()).await;
        assert_eq!(old.ask("opaque").await.status, 200, "{probe}");
        let seen = old.probes().remove(0);
        let accept = seen.headers.get_all("accept").iter().collect::<Vec<_>>();
        assert_eq!((seen.method.as_str(), accept.len()), (method, 1));
        if probe.get("header").is_some() {
            assert_eq!((seen.header("x-token"), seen.header("authorization")), (Some("opaque"), None));
            assert_eq!((seen.header("x-app"), seen.header("accept")), (Some("mine"), Some("*/*")));
        } else {
            assert_eq!(seen.header("authorization"), Some("Bearer opaque"));
        }
        // Some servers wait for the body of a POST that does not say that it has none.
        assert_eq!(seen.header("content-length"), (method == "POST").then_some("0"));
    }
}

#[tokio::test]
async fn where_no_member_is_read_the_length_of_the_page_does_not_matter() {
    let old = Old::new(json!({})).await;
    old.says(200, "x".repeat(1024 * 1024));
    assert_eq!(old.ask("opaque").await.status, 200);
}

#[tokio::test]
async fn a_redirect_to_a_sign_in_page_is_a_no_where_the_configuration_says_so() {
    let old = Old::new(json!({"refuse": [302, 401]})).await;
    old.says(302, "");
    assert_invalid_token(&old.ask("opaque").await);
    assert_eq!((old.probes().len(), old.forwarded().len()), (1, 0));
    old.says(403, "");
    assert_eq!(old.ask("other").await.status, 503, "403 does not stand in the list");
}

/// A server that is held up at will, and what stands behind sidegate.
async fn held(probe: Value) -> (Served, Upstream, Sidegate) {
    let (server, upstream) = (Served::start(200, "{}".into()).await, Upstream::start().await);
    let config = json!({
        "issuers": [issuer("old", NAME, &server.url, probe)],
        "upstreams": [{"name": "app", "url": format!("http://{}", upstream.address)}],
        "routes": [{"name": "all", "paths": ["/*"], "upstream": "app", "policy": {"audiences": [AUDIENCE]}}],
    });
    let sidegate = start(&config).await;
    (server, upstream, sidegate)
}

#[tokio::test]
async fn fifty_requests_with_one_token_ask_once() {
    let (server, upstream, sidegate) = held(json!({})).await;
    server.hold(true);
    let all = join_all((0..50).map(|_| get(sidegate.public, "/x", "opaque")));
    let release = async {
        // Who comes after the answer and before it is remembered asks once more: all must be there before it.
        while sidegate.metric("sidegate_http_requests_in_flight{listener=\"main\"}").await < 50 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        server.hold(false);
    };
    let (replies, ()) = tokio::join!(all, release);
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!((server.asked(), upstream.count()), (1, 50));
}

#[tokio::test]
async fn more_questions_than_may_be_open_are_not_asked() {
    let (server, upstream, sidegate) = held(json!({"max_concurrent": 2})).await;
    server.hold(true);
    let open = join_all((0..2).map(|i| {
        let public = sidegate.public;
        async move { get(public, "/x", &format!("open-{i}")).await }
    }));
    let more = async {
        while server.asked() < 2 {
            tokio::task::yield_now().await;
        }
        let reply = get(sidegate.public, "/x", "one-too-many").await;
        assert_problem(&reply, 503, "temporarily_unavailable", None);
        assert!(reply.header("retry-after").is_some());
        server.hold(false);
    };
    let (replies, ()) = tokio::join!(open, more);
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!((server.asked(), upstream.count()), (2, 2));
    assert_eq!(sidegate.metric("sidegate_probes_total{issuer=\"old\",result=\"probe_saturated\"}").await, 1);
    assert_eq!(get(sidegate.public, "/x", "one-too-many").await.status, 200);
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_refuses_nobody() {
    let (server, upstream, sidegate) = held(json!({"timeout": "100ms"})).await;
    server.hold(true);
    let reply = get(sidegate.public, "/x", "opaque").await;
    assert_problem(&reply, 503, "temporarily_unavailable", None);
    assert_eq!(upstream.count(), 0);
    server.hold(false);
    assert_eq!(get(sidegate.public, "/x", "opaque").await.status, 200);
}

/// An issuer with a probe and one with introspection; `/old` trusts the first, `/both` trusts both.
async fn neighbours() -> (Served, Served, Upstream, Sidegate) {
    let (old, corp, upstream) =
        (Served::start(200, "{}".into()).await, Served::start(200, "{}".into()).await, Upstream::start().await);
    let secret = scratch("probe").join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let introspecting = json!({"name": "corp", "issuer": "http://corp.test", "algorithms": [], "introspection":
        {"endpoint": corp.url, "client_id": "sidegate", "client_secret_file": secret}});
    let config = json!({
        "issuers": [issuer("old", NAME, &old.url, json!({})), introspecting],
        "upstreams": [{"name": "app", "url": format!("http://{}", upstream.address)}],
        "routes": [
            {"name": "old", "paths": ["/old"], "upstream": "app", "policy": {"issuers": ["old"], "audiences": [AUDIENCE]}},
            {"name": "corp", "paths": ["/corp"], "upstream": "app",
                "policy": {"issuers": ["corp"], "audiences": [AUDIENCE]}},
            {"name": "both", "paths": ["/both"], "upstream": "app", "policy": {"audiences": [AUDIENCE]}},
        ],
    });
    let sidegate = start(&config).await;
    (old, corp, upstream, sidegate)
}

#[tokio::test]
async fn a_token_is_shown_only_to_the_servers_that_the_route_trusts() {
    let (old, corp, _upstream, sidegate) = neighbours().await;
    corp.set(200, json!({"active": true, "aud": AUDIENCE}).to_string());
    assert_eq!(get(sidegate.public, "/corp", "a").await.status, 200);
    assert_eq!((old.asked(), corp.asked()), (0, 1));
    assert_eq!(get(sidegate.public, "/old", "b").await.status, 200);
    assert_eq!((old.asked(), corp.asked()), (1, 1));
    // Whoever vouches for it: one who says no is no reason not to ask the other.
    old.set(401, "");
    assert_eq!(get(sidegate.public, "/both", "c").await.status, 200);
    assert_eq!((old.asked(), corp.asked()), (2, 2));
    // What the other issuer vouches for opens no route that does not trust it.
    assert_eq!(get(sidegate.public, "/old", "c").await.status, 401);
}

#[tokio::test]
async fn a_server_out_of_reach_leaves_a_no_of_the_other_issuer_undecided() {
    let (old, corp, upstream, sidegate) = neighbours().await;
    old.set(500, "");
    corp.set(200, "{\"active\":false}");
    assert_problem(&get(sidegate.public, "/both", "opaque").await, 503, "temporarily_unavailable", None);
    old.set(401, "");
    assert_invalid_token(&get(sidegate.public, "/both", "opaque").await);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_jwt_of_a_server_without_keys_is_shown_to_it_where_the_route_trusts_it() {
    let (old, corp, upstream, sidegate) = neighbours().await;
    let pair = Pair::new("EdDSA", "k");
    let of = |iss: &str| pair.token(&json!({"iss": iss, "aud": AUDIENCE, "exp": now() + 60}));
    assert_invalid_token(&get(sidegate.public, "/corp", &of(NAME)).await);
    assert_invalid_token(&get(sidegate.public, "/old", &of("http://stranger.test")).await);
    assert_eq!((old.asked(), corp.asked(), upstream.count()), (0, 0, 0));
    assert_eq!(get(sidegate.public, "/old", &of(NAME)).await.status, 200);
    assert_eq!((old.asked(), corp.asked()), (1, 0));
}

#[tokio::test]
async fn the_status_says_who_is_asked_in_which_way() {
    let (_old, _corp, _upstream, sidegate) = neighbours().await;
    let status = sidegate.status().await;
    let ways: Vec<_> =
        status["issuers"].as_array().unwrap().iter().map(|one| (&one["introspection"], &one["probe"])).collect();
    assert_eq!(ways, [(&json!(false), &json!(true)), (&json!(true), &json!(false))]);
    assert_eq!((&status["issuers"][0]["usable"], sidegate.ready().await.0), (&json!(true), 200));
}
