//! A sidegate with clients whose tokens have successors.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use crate::{
    oauth::house::{PASSWORD, SECRET, client, text, token, user},
    support::{Reply, Sidegate, Upstream, get, send},
};

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// A client whose JWTs have successors, each good for an hour, for 30 days in all.
pub const SUCCEEDS: &str =
    "access_token: { renewal: successor, format: jwt, lifetime: 1h }, refresh_token: { absolute: 30d, idle: 1d }";

/// What a test wants otherwise than others do.
pub struct Plan<'a> {
    pub clients: &'a [String],
    pub store: &'a str,
    /// Further keys.
    pub more: &'a str,
    pub credential: &'a str,
    /// Further keys of the route.
    pub route: &'a str,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan { clients: &[], store: "memory: {}", more: "", credential: "none: {}", route: "mode: enforce" }
    }
}

pub struct House {
    pub upstream: Upstream,
    pub sidegate: Sidegate,
}

impl House {
    pub async fn new() -> House {
        House::with(Plan::default()).await
    }

    /// `next` has successors; `plain` has JWTs that end when they say so.
    pub async fn with(plan: Plan<'_>) -> House {
        House::before(Upstream::start().await, plan).await
    }

    pub async fn before(upstream: Upstream, plan: Plan<'_>) -> House {
        let sidegate = Sidegate::start(&yaml(&upstream, &plan)).await;
        House { upstream, sidegate }
    }

    pub async fn sign_in(&self, id: &str) -> String {
        text(&self.grant(id).await, "access_token")
    }

    pub async fn grant(&self, id: &str) -> Reply {
        let body =
            format!("grant_type=password&username=ana&password={PASSWORD}&client_id={id}&client_secret={SECRET}");
        token(&self.sidegate, &body).await
    }

    pub async fn get(&self, token: &str) -> Reply {
        get(self.sidegate.public, "/", token).await
    }

    pub async fn status(&self, token: &str) -> StatusCode {
        self.get(token).await.status
    }

    /// What a good answer to `token` brings; `None`: nothing.
    pub async fn next(&self, token: &str) -> Option<String> {
        let reply = self.get(token).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        successor(&reply)
    }

    /// A GET with these headers.
    pub async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::get(path).header("host", "api.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(self.sidegate.public, request.body(Full::default()).unwrap()).await
    }

    /// Steps that made a successor.
    pub async fn made(&self) -> u64 {
        self.count("renewed", "succeeded").await
    }

    pub async fn count(&self, result: &str, reason: &str) -> u64 {
        let labels = format!("{{kind=\"access_token\",reason=\"{reason}\",result=\"{result}\"}}");
        self.sidegate.metric(&format!("sidegate_renewals_total{labels}")).await
    }

    pub async fn finds(&self) -> u64 {
        self.sidegate.metric("sidegate_session_operations_total{op=\"find\",result=\"ok\",store=\"memory\"}").await
    }
}

pub fn yaml(upstream: &Upstream, plan: &Plan<'_>) -> String {
    let of =
        |id: &str, more: &str| client(id, &format!("grants: [password, client_credentials], scopes: [orders], {more}"));
    let mut all = vec![of("next", SUCCEEDS), of("plain", "access_token: { format: jwt, lifetime: 1h }")];
    all.extend(plan.clients.iter().cloned());
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  clients: [{}]\n  users: [{}]\n\
         store: {{ {} }}\n{}\ninternal_jwt: {{ issuer: \"http://sidegate.test\" }}\n\
         upstreams: [{{ name: app, url: \"http://{}\", credential: {{ {} }} }}]\n\
         routes: [{{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [orders-api] }}, {} }}]\n",
        all.join(", "),
        user("ana", ""),
        plan.store,
        plan.more,
        upstream.address,
        plan.credential,
        plan.route,
    )
}

/// The next token and how long it is good for, where a client looks for them.
pub fn successor(reply: &Reply) -> Option<String> {
    let token = reply.header("x-access-token").map(str::to_owned);
    let left = reply.header("x-access-token-expires-in").map(|left| left.parse::<u64>().unwrap());
    assert_eq!(token.is_some(), left.is_some());
    if let Some(token) = &token {
        assert!(left <= Some(claims(token)["exp"].as_u64().unwrap() - claims(token)["iat"].as_u64().unwrap()));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    token
}

/// What a JWT says.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
