//! A scripted authority that speaks RFC 6749 and gives each refresh token for one use, and a sidegate in front of an
//! upstream that is shown its tokens.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sidegate::model::BoxError;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    oauth::house::{client, form, text},
    support::{Reply, Sidegate, Upstream, get, issuer::scratch, send},
};

pub const SECRET_THERE: &str = "canary-secret-there-Xq31";
pub const PASSWORD_THERE: &str = "canary-password-there-Lm08";

/// The authority: what it gives bears numbers, so that a test can tell them apart.
#[derive(Clone)]
pub struct Outside {
    pub url: String,
    inner: Arc<Inner>,
}

struct Inner {
    asked: Mutex<Vec<String>>,
    given: AtomicUsize,
    /// Without a refresh token.
    bare: AtomicBool,
    /// The same access token to everybody.
    same: AtomicBool,
    /// The one refresh token that is good for each number it gave.
    good: Mutex<Vec<String>>,
    /// Answered in place of anything else.
    broken: Mutex<Option<(u16, Option<&'static str>, Value)>>,
    held: watch::Sender<bool>,
    /// Answers still to be lost after everything was done.
    lost: AtomicUsize,
    /// A refresh token may be used again.
    forgiving: AtomicBool,
    /// Whoever connects is hung up on.
    dead: AtomicBool,
    connections: AtomicUsize,
}

impl Outside {
    pub async fn start() -> Outside {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outside = Outside {
            url: format!("http://{}/token", listener.local_addr().unwrap()),
            inner: Arc::new(Inner {
                asked: Mutex::default(),
                given: AtomicUsize::new(0),
                bare: AtomicBool::new(false),
                same: AtomicBool::new(false),
                good: Mutex::default(),
                broken: Mutex::default(),
                held: watch::Sender::new(false),
                lost: AtomicUsize::new(0),
                forgiving: AtomicBool::new(false),
                dead: AtomicBool::new(false),
                connections: AtomicUsize::new(0),
            }),
        };
        let shared = outside.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                shared.inner.connections.fetch_add(1, SeqCst);
                if shared.inner.dead.load(SeqCst) {
                    continue;
                }
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let shared = shared.clone();
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        if shared.inner.dead.load(SeqCst) {
                            return Err("dead".into());
                        }
                        Ok::<_, BoxError>(shared.answer(&String::from_utf8_lossy(&body)).await)
                    }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        outside
    }

    async fn answer(&self, body: &str) -> Response<Full<Bytes>> {
        let inner = &self.inner;
        inner.asked.lock().unwrap().push(body.to_owned());
        let _ = inner.held.subscribe().wait_for(|held| !held).await;
        if let Some((status, retry_after, body)) = inner.broken.lock().unwrap().clone() {
            return reply(status, retry_after, &body);
        }
        let pairs: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let value = |name: &str| pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
        let good = match value("grant_type") {
            "password" => value("password") == PASSWORD_THERE,
            "client_credentials" => true,
            "refresh_token" => {
                let mut good = inner.good.lock().unwrap();
                let place = good.iter().position(|known| known == value("refresh_token"));
                if let Some(place) = place.filter(|_| !inner.forgiving.load(SeqCst)) {
                    good.remove(place);
                }
                place.is_some()
            }
            _ => false,
        };
        if !good {
            return reply(400, None, &json!({"error": "invalid_grant"}));
        }
        let number = inner.given.fetch_add(1, SeqCst) + 1;
        let token = if inner.same.load(SeqCst) { 1 } else { number };
        let mut given = json!({"access_token": format!("canary-at-{token}"), "token_type": "Bearer",
            "expires_in": 300});
        if !inner.bare.load(SeqCst) {
            let refresh = format!("canary-rt-{number}");
            given["refresh_token"] = json!(refresh);
            inner.good.lock().unwrap().push(refresh);
        }
        let lost = value("grant_type") == "refresh_token"
            && inner.lost.fetch_update(SeqCst, SeqCst, |lost| lost.checked_sub(1)).is_ok();
        if lost { reply(502, None, &json!("a gateway")) } else { reply(200, None, &given) }
    }

    /// It does what it is asked to renew, and so many of its answers do not arrive.
    pub fn lose(&self, answers: usize) {
        self.inner.lost.store(answers, SeqCst);
    }

    /// From now on a refresh token may be used again.
    pub fn forgive(&self) {
        self.inner.forgiving.store(true, SeqCst);
    }

    pub fn forgive_no_more(&self) {
        self.inner.forgiving.store(false, SeqCst);
    }

    /// It knows no refresh token but the one that it gave as number `number`.
    pub fn forget_all_but(&self, number: usize) {
        *self.inner.good.lock().unwrap() = vec![format!("canary-rt-{number}")];
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<String> {
        self.inner.asked.lock().unwrap().clone()
    }

    pub fn refreshes(&self) -> usize {
        self.asked().iter().filter(|body| body.contains("grant_type=refresh_token")).count()
    }

    /// From now on it gives no refresh tokens.
    pub fn bare(&self) {
        self.inner.bare.store(true, SeqCst);
    }

    /// From now on it gives everybody the access token that it gave first.
    pub fn same(&self) {
        self.inner.same.store(true, SeqCst);
    }

    /// It knows none of its refresh tokens any more.
    pub fn forget(&self) {
        self.inner.good.lock().unwrap().clear();
    }

    pub fn broken(&self, status: u16, retry_after: Option<&'static str>, body: Value) {
        *self.inner.broken.lock().unwrap() = Some((status, retry_after, body));
    }

    pub fn mended(&self) {
        *self.inner.broken.lock().unwrap() = None;
    }

    /// While dead it ends all connections without an answer.
    pub fn dead(&self, dead: bool) {
        self.inner.dead.store(dead, SeqCst);
    }

    /// Connections that were made to it, and questions that were put.
    pub fn contacts(&self) -> (usize, usize) {
        (self.inner.connections.load(SeqCst), self.asked().len())
    }

    /// While held it does not answer.
    pub fn hold(&self, held: bool) {
        self.inner.held.send_replace(held);
    }
}

fn reply(status: u16, retry_after: Option<&str>, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}

/// `/` is shown the authority's token, `/jwt` one of ours, `/original` what the client sent.
pub fn yaml(outside: &Outside, upstream: &Upstream, remote: &str, more: &str) -> String {
    let secret = scratch("outside").join("secret");
    std::fs::write(&secret, SECRET_THERE).unwrap();
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  \
         remote: {{ dialect: oauth2, url: \"{}\", client: {{ id: sidegate, secret_file: {} }}{remote} }}\n  clients:\n    \
         - {}\n    - {}\n{more}\
         internal_jwt: {{ issuer: \"http://sidegate.test\" }}\n\
         upstreams:\n  - {{ name: shown, url: \"http://{at}\", credential: {{ authority_token: {{}} }}, identity_headers: {{ X-User: sub }} }}\n  \
         - {{ name: minted, url: \"http://{at}\", credential: {{ internal_jwt: {{ audience: app }} }} }}\n  \
         - {{ name: passed, url: \"http://{at}\", credential: {{ original: {{}} }} }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: shown, policy: {{ issuers: [local], audiences: [orders-api] }} }}\n  \
         - {{ name: jwt, paths: [/jwt], upstream: minted, policy: {{ issuers: [local], audiences: [orders-api] }} }}\n  \
         - {{ name: original, paths: [/original], upstream: passed, policy: {{ issuers: [local], audiences: [orders-api] }} }}\n",
        outside.url,
        secret.display(),
        // On its own behalf a client needs an account where those are mapped.
        client(
            "app",
            &format!(
                "grants: [password, {}refresh_token]",
                if remote.contains("mapped") { "" } else { "client_credentials, " }
            )
        ),
        client("other", "grants: [password, refresh_token]"),
        at = upstream.address,
    )
}

pub struct House {
    pub outside: Outside,
    pub upstream: Upstream,
    pub sidegate: Sidegate,
}

impl House {
    pub async fn new() -> House {
        House::with("", "store: { memory: {} }\n").await
    }

    pub async fn with(remote: &str, more: &str) -> House {
        let (outside, upstream) = (Outside::start().await, Upstream::start().await);
        let sidegate = Sidegate::start(&yaml(&outside, &upstream, remote, more)).await;
        House { outside, upstream, sidegate }
    }

    pub async fn token(&self, body: &str) -> Reply {
        let body = format!("{body}&client_id=app&client_secret={}", crate::oauth::house::SECRET);
        send(self.sidegate.public, form("/oauth20/token", &body, &[])).await
    }

    /// What `app` gets for the password of `ana`.
    pub async fn signed_in(&self) -> Reply {
        let reply = self.token(&format!("grant_type=password&username=ana&password={PASSWORD_THERE}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    }

    /// Only the access token.
    pub async fn access(&self) -> String {
        text(&self.signed_in().await, "access_token")
    }

    pub async fn refreshed(&self, refresh: &str) -> Reply {
        self.token(&format!("grant_type=refresh_token&refresh_token={refresh}")).await
    }

    pub async fn get(&self, token: &str) -> Reply {
        get(self.sidegate.public, "/", token).await
    }

    /// What `/status` says of the authority.
    pub async fn seen(&self) -> Value {
        self.sidegate.status().await["authority"]["remote"].clone()
    }

    /// What the upstream was shown last.
    pub fn shown(&self) -> String {
        self.upstream.last().header("authorization").unwrap_or_default().to_owned()
    }

    /// Waits until `is` holds: what is done beside a request has no answer to wait for.
    pub async fn until(&self, is: impl AsyncFn() -> bool) {
        for _ in 0..500 {
            if is().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come to be");
    }
}
