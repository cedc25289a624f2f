//! Three sidegates on one Redis, in front of the same upstream.

use std::{
    fs::OpenOptions, io::Write as _, net::SocketAddr, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration,
};

use http::StatusCode;
use serde_json::Value;
use sidegate::{
    config::MasterRing,
    model::Time,
    session::{SessionId, tokens},
};

use crate::{
    oauth::house::{PASSWORD, REDIRECT, SECRET, client, form, text, token, user},
    support::{Reply, Sidegate, Upstream, get, issuer::scratch, redis::Redis, request, send},
};

/// So many of them.
pub const REPLICAS: usize = 3;
/// Seconds by which their clocks are wrong: nothing may hang on a clock of one of them.
const CLOCKS: [i64; REPLICAS] = [45, -45, 0];
/// Of operators.
const OPERATOR: &str = "operators-token-4f1d2c7e9b";

pub struct Replicas {
    pub redis: Redis,
    pub upstream: Upstream,
    /// The servers' time: none of the first two tells it right.
    pub time: Time,
    all: Vec<Sidegate>,
}

/// What a test wants otherwise than others do.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// Who vouches, and further keys of the authority: lines.
    pub authority: &'a str,
    pub credential: &'a str,
    /// Further keys of the store.
    pub store: &'a str,
    /// Further keys: lines.
    pub more: &'a str,
    /// Where the last of them finds Redis, if not where it is.
    pub last: Option<SocketAddr>,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan { authority: "", credential: "none: {}", store: "", more: "", last: None }
    }
}

impl Replicas {
    pub async fn start() -> Replicas {
        Replicas::with(Plan::default()).await
    }

    pub async fn with(plan: Plan<'_>) -> Replicas {
        Replicas::before(Upstream::start().await, Redis::start().await, Time::default(), plan).await
    }

    pub async fn before(upstream: Upstream, redis: Redis, time: Time, plan: Plan<'_>) -> Replicas {
        let folder = scratch("replicas");
        write(&folder.join("master"), MasterRing::generate().unwrap().text().expose());
        write(&folder.join("operator"), OPERATOR);
        let mut all = Vec::new();
        for (number, wrong_by) in (1..=REPLICAS).zip(CLOCKS) {
            let place = plan.last.filter(|_| number == REPLICAS).unwrap_or(redis.address);
            all.push(Sidegate::at(&yaml(&plan, &folder, place, &upstream), time.wrong_by(wrong_by)).await);
        }
        Replicas { redis, upstream, time, all }
    }

    /// In turns, whatever the number.
    pub fn at(&self, number: usize) -> &Sidegate {
        &self.all[number % REPLICAS]
    }

    pub fn all(&self) -> &[Sidegate] {
        &self.all
    }

    /// What `id` gets for the password of `ana` at the replica `number`.
    pub async fn sign_in(&self, number: usize, id: &str) -> Reply {
        let body =
            format!("grant_type=password&username=ana&password={PASSWORD}&client_id={id}&client_secret={SECRET}");
        let reply = token(self.at(number), &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    }

    /// What each of them answers to a request with `token`.
    pub async fn statuses(&self, token: &str) -> Vec<StatusCode> {
        let mut statuses = Vec::new();
        for sidegate in &self.all {
            statuses.push(get(sidegate.public, "/", token).await.status);
        }
        statuses
    }

    /// Each of them has it in its cache from here on.
    pub async fn assert_served(&self, token: &str) {
        assert_eq!(self.statuses(token).await, [StatusCode::OK; REPLICAS]);
    }

    /// Within a second, by each of them.
    pub async fn assert_refused_soon(&self, token: &str) {
        for sidegate in &self.all {
            soon(async || get(sidegate.public, "/", token).await.status == 401).await;
        }
    }

    /// What the metric of this name says of all of them.
    pub async fn metric(&self, series: &str) -> u64 {
        let mut sum = 0;
        for sidegate in &self.all {
            sum += sidegate.metric(series).await;
        }
        sum
    }

    /// What operators ask of the replica `number`.
    pub async fn operator(&self, number: usize, method: &str, path: &str) -> Value {
        let mut asked = request(method, path, OPERATOR);
        asked.headers_mut().insert("host", "localhost".parse().unwrap());
        let reply = send(self.at(number).admin, asked).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }
}

/// The session that a refresh token is of.
pub fn session(granted: &Reply) -> SessionId {
    tokens::read_refresh(&text(granted, "refresh_token")).unwrap().session
}

/// What `sidegate` tells the client `id` of its token.
pub async fn told(sidegate: &Sidegate, id: &str, token: &str) -> Value {
    let body = format!("token={token}&client_id={id}&client_secret={SECRET}");
    send(sidegate.public, form("/oauth20/introspect", &body, &[])).await.json()
}

/// Waits until `probe` is true: for a second at the most.
#[track_caller]
pub fn soon(probe: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    let mut probe = probe;
    async move {
        let looking = async {
            while !probe().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(1), looking).await;
        assert!(came.is_ok(), "not within a second: {place}");
    }
}

fn write(file: &Path, secret: &str) {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).unwrap();
    file.write_all(secret.as_bytes()).unwrap();
}

fn yaml(plan: &Plan<'_>, folder: &Path, redis: SocketAddr, upstream: &Upstream) -> String {
    let path = |name: &str| Value::from(folder.join(name).to_str().unwrap());
    let grants = "grants: [password, refresh_token, authorization_code, client_credentials], scopes: [orders, openid]";
    let of = |id: &str, more: &str| client(id, &format!("{grants}, redirect_uris: [\"{REDIRECT}\"]{more}"));
    let clients = [
        of("app", ""),
        of("jwt", ", access_token: { format: jwt }"),
        of("slides", ", access_token: { renewal: sliding, lifetime: 1h }"),
        of("next", ", access_token: { renewal: successor, format: jwt, lifetime: 1h }"),
    ];
    let Plan { authority, credential, store, more, .. } = *plan;
    let people =
        if authority.contains("remote:") { String::new() } else { format!("  users: [{}]\n", user("ana", "")) };
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n{authority}{people}  clients: [{}]\n\
         store: {{ redis: {{ url: \"redis://{redis}\"{store} }} }}\nkeys: {{ master_file: {} }}\n\
         admin: {{ address: \"127.0.0.1:0\", token_file: {} }}\n{more}\
         upstreams: [{{ name: app, url: \"http://{}\", credential: {{ {credential} }} }}]\n\
         routes: [{{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ issuers: [local], audiences: [orders-api] }} }}]\n",
        clients.join(", "),
        path("master"),
        path("operator"),
        upstream.address
    )
}
