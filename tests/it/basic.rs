//! HTTP Basic in place of a token, on a route for clients that know nothing else.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, StatusCode};
use sidegate::session::{Filter, Session, SessionId, Sessions, record::RevocationReason};

use crate::{
    oauth::house::{PASSWORD, SECRET, hash, token},
    support::{
        Reply, Sidegate, Upstream, get,
        keys::part,
        look::{assert_invalid_token, assert_problem},
        request, send,
    },
};

/// `old` takes HTTP Basic, `new` does not, `keyed` takes it beside a header of its own.
fn yaml(upstream: &Upstream, credential: &str, user: &str) -> String {
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  clients:\n    \
         - {{ id: legacy, secret_hashes: [\"{}\"], grants: [basic, client_credentials], scopes: [orders], access_token: {{ lifetime: 10m }} }}\n    \
         - {{ id: other, secret_hashes: [\"{}\"], grants: [basic], scopes: [other] }}\n  \
         users: [{{ username: ana, subject: u-1, {user} }}]\n\
         store: {{ memory: {{}} }}\ninternal_jwt: {{ issuer: \"http://sidegate.test\" }}\n\
         upstreams: [{{ name: app, url: \"http://{}\", credential: {{ {credential} }} }}]\n\
         routes:\n  - {{ name: old, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [orders-api] }}, token: {{ basic: legacy }} }}\n  \
         - {{ name: other, paths: [/other], upstream: app, policy: {{ audiences: [orders-api] }}, token: {{ basic: other }} }}\n  \
         - {{ name: new, paths: [/new], upstream: app, policy: {{ audiences: [orders-api] }} }}\n  \
         - {{ name: keyed, paths: [/keyed], upstream: app, policy: {{ audiences: [orders-api] }}, token: {{ header: X-Token, basic: legacy }} }}\n",
        hash(SECRET),
        hash(SECRET),
        upstream.address
    )
}

const INTERNAL: &str = "internal_jwt: { audience: app }";

fn good_user() -> String {
    format!("password_hash: \"{}\"", hash(PASSWORD))
}

struct Setup {
    upstream: Upstream,
    sidegate: Arc<Sidegate>,
}

impl Setup {
    async fn new() -> Setup {
        Setup::with(INTERNAL, &good_user()).await
    }

    async fn with(credential: &str, user: &str) -> Setup {
        let upstream = Upstream::start().await;
        let sidegate = Arc::new(Sidegate::start(&yaml(&upstream, credential, user)).await);
        Setup { upstream, sidegate }
    }

    async fn get(&self, path: &str, credentials: &str) -> Reply {
        ask(&self.sidegate, path, credentials).await
    }

    async fn sessions(&self) -> Vec<Session> {
        self.store().list(Filter { alive: true, ..Filter::default() }, None, 100).await.unwrap()
    }

    fn store(&self) -> Arc<Sessions> {
        self.sidegate.app.gate().endpoints().unwrap().grants.sessions.clone()
    }

    async fn revoke(&self, id: SessionId) {
        assert!(self.store().revoke(id, RevocationReason::Operator).await.unwrap());
    }
}

async fn ask(sidegate: &Sidegate, path: &str, credentials: &str) -> Reply {
    let mut asked = request("GET", path, "");
    asked.headers_mut().insert("authorization", HeaderValue::from_str(credentials).unwrap());
    send(sidegate.public, asked).await
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

fn ana() -> String {
    basic("ana", PASSWORD)
}

/// Both challenges, and nothing that tells why.
#[track_caller]
fn assert_challenged(reply: &Reply, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::UNAUTHORIZED, code));
    let challenges: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Bearer realm=\"sidegate\"", "Basic realm=\"sidegate\", charset=\"UTF-8\""]);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_user_gets_one_session_and_the_upstream_never_sees_the_password() {
    let setup = Setup::new().await;
    for _ in 0..5 {
        assert_eq!(setup.get("/", &ana()).await.status, 200);
        let seen = setup.upstream.last();
        let internal = seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        let claims = part(internal, 1);
        assert_eq!(
            (&claims["sub"], &claims["client_id"], &claims["scope"]),
            (&"u-1".into(), &"legacy".into(), &"orders".into())
        );
        assert!(!format!("{seen:?}").contains(&ana()[6..]));
    }
    let sessions = setup.sessions().await;
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].granted.username.as_deref(), sessions[0].state.client.as_str()), (Some("ana"), "legacy"));
    // Verified again after the life of the verdict; the session is the same.
    assert_eq!(setup.sidegate.metric("sidegate_sign_ins_total{result=\"success\"}").await, 1);
    setup.sidegate.time.advance(600);
    assert_eq!(setup.get("/", &ana()).await.status, 200);
    assert_eq!(setup.sidegate.metric("sidegate_sign_ins_total{result=\"success\"}").await, 2);
    assert_eq!(setup.sessions().await.iter().map(|session| session.id).collect::<Vec<_>>(), [sessions[0].id]);
}

#[tokio::test]
async fn another_client_of_the_same_user_has_a_session_and_a_scope_of_its_own() {
    let setup = Setup::new().await;
    for _ in 0..2 {
        for (path, client, scope) in [("/", "legacy", "orders"), ("/other", "other", "other")] {
            assert_eq!(setup.get(path, &ana()).await.status, 200);
            let seen = setup.upstream.last();
            let claims = part(seen.header("authorization").unwrap(), 1);
            assert_eq!((claims["client_id"].as_str(), claims["scope"].as_str()), (Some(client), Some(scope)));
        }
    }
    assert_eq!(setup.sessions().await.len(), 2);
    assert_eq!(setup.sidegate.metric("sidegate_sign_ins_total{result=\"success\"}").await, 2);
}

#[tokio::test]
async fn a_hundred_first_requests_at_once_cost_one_verification_and_one_session() {
    let setup = Setup::new().await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let sidegate = setup.sidegate.clone();
        clients.spawn(async move { ask(&sidegate, "/", &ana()).await.status });
    }
    while let Some(status) = clients.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(setup.sessions().await.len(), 1);
    // Whoever came while it was under way shares it; whoever came later finds the verdict.
    assert_eq!(setup.sidegate.metric("sidegate_sign_ins_total{result=\"success\"}").await, 1);
}

#[tokio::test]
async fn a_wrong_password_an_unknown_user_and_no_credentials_are_told_what_would_do() {
    let setup = Setup::new().await;
    assert_challenged(&setup.get("/", &basic("ana", "wrong")).await, "invalid_credentials");
    assert_challenged(&setup.get("/", &basic("nobody", PASSWORD)).await, "invalid_credentials");
    assert_challenged(&get(setup.sidegate.public, "/", "").await, "token_missing");
    assert_eq!(setup.upstream.count(), 0);
    assert!(setup.sessions().await.is_empty());
    assert_eq!(setup.sidegate.decisions("old", "password_wrong").await, 2);
    // Where Basic is not taken, it is as if nothing had come.
    let challenge = Some("Bearer realm=\"sidegate\"");
    assert_problem(&setup.get("/new", &ana()).await, 401, "token_missing", challenge);
}

#[tokio::test]
async fn hostile_headers_are_malformed_and_cost_no_verification() {
    let setup = Setup::new().await;
    let encoded = |bytes: &[u8]| format!("Basic {}", BASE64_STANDARD.encode(bytes));
    let bad = [
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic !!!".to_owned(),
        "Basic QTpi=".to_owned(),
        "Basic QTpi, Basic QTpi".to_owned(),
        encoded(b"nocolon"),
        encoded(b":nobody"),
        encoded(b"ana:"),
        encoded(b"ana\0:x"),
        encoded(b"ana:\r\nx"),
        encoded(b"\xff\xfe:x"),
        encoded(&[b'a'; 10_000]),
    ];
    for credentials in &bad {
        let reply = setup.get("/", credentials).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::BAD_REQUEST, "invalid_request"),
            "{credentials}"
        );
    }
    let mut twice = request("GET", "/", "");
    for value in [ana(), "Bearer x".to_owned()] {
        twice.headers_mut().append("authorization", HeaderValue::from_str(&value).unwrap());
    }
    assert_eq!(send(setup.sidegate.public, twice).await.status, 400);
    assert_eq!(setup.upstream.count(), 0);
    for result in ["success", "wrong"] {
        assert_eq!(setup.sidegate.metric(&format!("sidegate_sign_ins_total{{result=\"{result}\"}}")).await, 0);
    }
}

#[tokio::test]
async fn a_revoked_session_is_gone_with_the_next_request_and_the_password_begins_another() {
    let setup = Setup::new().await;
    assert_eq!(setup.get("/", &ana()).await.status, 200);
    let first = setup.sessions().await[0].id;
    setup.revoke(first).await;
    assert_eq!(setup.get("/", &ana()).await.status, 200);
    let sessions = setup.sessions().await;
    assert!(sessions.len() == 1 && sessions[0].id != first);
    assert_eq!(setup.sidegate.metric("sidegate_sign_ins_total{result=\"success\"}").await, 2);
}

#[tokio::test]
async fn a_changed_password_ends_the_session_of_the_old_one() {
    let setup = Setup::new().await;
    assert_eq!(setup.get("/", &ana()).await.status, 200);
    let first = setup.sessions().await[0].id;
    let changed = format!("password_hash: \"{}\"", hash("a new one"));
    setup.sidegate.reload(&yaml(&setup.upstream, INTERNAL, &changed)).await;
    assert_challenged(&setup.get("/", &ana()).await, "invalid_credentials");
    assert_eq!(setup.get("/", &basic("ana", "a new one")).await.status, 200);
    let sessions = setup.sessions().await;
    assert!(sessions.len() == 1 && sessions[0].id != first);
    let old = setup.store().find(first).await.unwrap().unwrap();
    assert_eq!(old.state.revoked.unwrap().reason, RevocationReason::AccountChanged);
    // A disabled user is as unknown as any.
    setup.sidegate.reload(&yaml(&setup.upstream, INTERNAL, &format!("{changed}, enabled: false"))).await;
    assert_challenged(&setup.get("/", &basic("ana", "a new one")).await, "invalid_credentials");
}

#[tokio::test]
async fn a_reload_that_changes_nothing_keeps_the_session() {
    let setup = Setup::new().await;
    assert_eq!(setup.get("/", &ana()).await.status, 200);
    let first = setup.sessions().await[0].id;
    setup.sidegate.reload(&yaml(&setup.upstream, INTERNAL, &good_user())).await;
    assert_eq!(setup.get("/", &ana()).await.status, 200);
    assert_eq!(setup.sessions().await.iter().map(|session| session.id).collect::<Vec<_>>(), [first]);
}

#[tokio::test]
async fn guessing_is_throttled_with_the_time_to_wait() {
    let setup = Setup::new().await;
    let mut last = None;
    for attempt in 0..40 {
        let reply = setup.get("/", &basic("ana", &format!("guess {attempt}"))).await;
        let throttled = reply.status == 429;
        last = Some(reply);
        if throttled {
            break;
        }
    }
    let reply = last.unwrap();
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (429, "rate_limited"));
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(reply.header("www-authenticate"), None);
    assert_eq!(setup.upstream.count(), 0);
}

#[tokio::test]
async fn bearer_tokens_go_on_working_beside_it() {
    let setup = Setup::new().await;
    let form = format!("grant_type=client_credentials&client_id=legacy&client_secret={SECRET}");
    let reply = token(&setup.sidegate, &form).await;
    let bearer = reply.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(get(setup.sidegate.public, "/", &bearer).await.status, 200);
    assert_eq!(setup.get("/", &ana()).await.status, 200);
    let reply = get(setup.sidegate.public, "/", "nonsense").await;
    assert_eq!(reply.code(), "invalid_token");
    assert_eq!(reply.headers.get_all("www-authenticate").iter().count(), 2);
    assert_invalid_token(&get(setup.sidegate.public, "/new", "nonsense").await);
}

#[tokio::test]
async fn a_header_of_its_own_and_basic_are_both_taken_but_never_together() {
    let setup = Setup::new().await;
    assert_eq!(setup.get("/keyed", &ana()).await.status, 200);
    let mut both = request("GET", "/keyed", "");
    both.headers_mut().insert("authorization", HeaderValue::from_str(&ana()).unwrap());
    both.headers_mut().insert("x-token", HeaderValue::from_static("x"));
    assert_eq!(send(setup.sidegate.public, both).await.status, 400);
}

#[tokio::test]
async fn only_where_the_credential_is_the_clients_own_the_upstream_gets_it() {
    for (credential, seen) in [("original: {}", Some(ana())), ("none: {}", None)] {
        let setup = Setup::with(credential, &good_user()).await;
        for path in ["/", "/keyed"] {
            assert_eq!(setup.get(path, &ana()).await.status, 200);
            assert_eq!(setup.upstream.last().header("authorization"), seen.as_deref());
        }
    }
}
