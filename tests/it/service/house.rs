//! An authority that gives tokens to sidegate, an issuer that gives others to clients, and an upstream that should see
//! the former only.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    Issuer, Reply, Sidegate, Upstream,
    authority::{API_KEY, Authority, CLIENT_ID, CLIENT_SECRET, COMPANY, Mood, PASSWORD, Speech, USERNAME},
    get,
    issuer::{now, scratch},
};

pub struct House {
    pub authority: Authority,
    pub upstream: Upstream,
    pub issuer: Issuer,
    pub sidegate: Sidegate,
}

/// How sidegate gets its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    ClientCredentials,
    Form,
    Password,
    Redex,
    ConsincoJson,
    ConsincoXml,
}

impl By {
    pub fn speech(self) -> Speech {
        match self {
            By::ClientCredentials | By::Form | By::Password => Speech::OAuth2,
            By::Redex => Speech::Redex,
            By::ConsincoJson | By::ConsincoXml => Speech::Consinco,
        }
    }

    /// The settings of the service.
    pub fn yaml(self, authority: &Authority) -> String {
        let secrets = scratch("service");
        let file = |name: &str, secret: &str| {
            let file = secrets.join(name);
            fs::write(&file, secret).unwrap();
            Value::from(file.to_str().unwrap()).to_string()
        };
        let base = format!("http://{}", authority.address);
        let client = format!("client: {{ id: {CLIENT_ID}, secret_file: {}", file("client", CLIENT_SECRET));
        let company = Value::from(COMPANY);
        let account =
            |password: String| format!("account: {{ username: {}, password_file: {password} }}", Value::from(USERNAME));
        let (dialect, rest) = match self {
            By::ClientCredentials => ("oauth2", format!("url: \"{base}/oauth20/token\", {client} }}")),
            By::Form => ("oauth2", format!("url: \"{base}/oauth20/token\", {client}, authentication: form }}")),
            By::Password => {
                let account = account(file("password", PASSWORD));
                ("oauth2", format!("url: \"{base}/oauth20/token\", {client} }}, {account}"))
            }
            By::Redex => {
                let account = format!("account: {{ api_key_file: {} }}", file("key", API_KEY));
                ("redex", format!("url: \"{base}\", {client} }}, {account}"))
            }
            By::ConsincoJson | By::ConsincoXml => {
                let format = if self == By::ConsincoXml { "xml" } else { "json" };
                let account = account(file("password", PASSWORD));
                ("consinco", format!("url: \"{base}\", format: {format}, company: {company}, {account}"))
            }
        };
        format!("dialect: {dialect}, {rest}")
    }
}

/// `/` wants a token of the issuer, `/public` none, `/lasting` a service token that has a minute left.
pub fn yaml(issuer: &Issuer, upstream: &Upstream, service: &str, more: &str) -> String {
    let policy = "policy: { audiences: [orders-api] }";
    format!(
        "{}upstreams:\n  - {{ name: vendor, url: \"http://{}\", credential: {{ service: {{ {service} }} }}, \
         identity_headers: {{ X-User: sub }} }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: vendor, {policy} }}\n  \
         - {{ name: public, paths: [/public], upstream: vendor, public: true }}\n  \
         - {{ name: lasting, paths: [/lasting], upstream: vendor, min_life: 60s, {policy} }}\n{more}",
        issuer.yaml(),
        upstream.address,
    )
}

/// Nobody who waits for nothing does so for long.
pub const IMPATIENT: &str = "refresh: { wait: 300ms }\n";

impl House {
    pub async fn new(by: By) -> House {
        House::with(by, "", |_| ()).await
    }

    /// Where the authority was told something before it is asked for the first time.
    pub async fn with(by: By, more: &str, tell: impl FnOnce(&Authority)) -> House {
        let authority = Authority::start(by.speech()).await;
        tell(&authority);
        let service = by.yaml(&authority);
        House::before(authority, &service, more).await
    }

    pub async fn before(authority: Authority, service: &str, more: &str) -> House {
        let (upstream, issuer) = (Upstream::start().await, Issuer::new());
        let sidegate = Sidegate::start(&yaml(&issuer, &upstream, service, more)).await;
        House { authority, upstream, issuer, sidegate }
    }

    /// What a client has: good for a day.
    pub fn token(&self) -> String {
        self.issuer.token_with(json!({"exp": now() + 86_400}))
    }

    pub async fn get(&self, path: &str) -> Reply {
        get(self.sidegate.public, path, &self.token()).await
    }

    /// What the upstream is shown for a request that it answers.
    pub async fn shown(&self) -> String {
        assert_eq!(self.get("/").await.status, 200);
        self.upstream.last().header("authorization").unwrap_or_default().to_owned()
    }

    /// What it would be shown by the last token of the authority.
    pub fn newest(&self) -> String {
        format!("Bearer {}", self.authority.newest())
    }

    /// Waits until it was asked so often.
    pub async fn asked(&self, times: usize) {
        self.until(async || self.authority.asked().len() >= times).await;
    }

    /// Waits until the token of this generation is there.
    pub async fn kept(&self, generation: u64) {
        let is_there = async || {
            let gate = self.sidegate.app.gate();
            let shown = gate.proxy().auth().service(0).unwrap().ready(Duration::ZERO, self.sidegate.time.now());
            shown.is_some_and(|shown| shown.generation >= generation)
        };
        self.until(is_there).await;
    }

    /// What is done in the background has no answer to wait for.
    pub async fn until(&self, is: impl AsyncFn() -> bool) {
        for _ in 0..1000 {
            if is().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come to be");
    }

    /// What `/status` says of the one upstream's token.
    pub async fn status(&self) -> Value {
        let page = self.sidegate.status_page("localhost", "application/json").await.json();
        page["upstreams"][0]["service"].clone()
    }

    /// What `/readyz` says is not as it should be.
    pub async fn degraded(&self) -> Value {
        let page = self.sidegate.health("/readyz").await;
        assert_eq!(page.status, 200);
        page.json()["degraded"].clone()
    }
}

/// No answer, now and always.
pub fn dead(authority: &Authority) {
    authority.is(Mood::Dead);
}

pub fn key_file(pem: &str) -> PathBuf {
    let file = scratch("service").join("key.pem");
    fs::write(&file, pem).unwrap();
    file
}
