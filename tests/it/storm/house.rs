//! Many sessions of one authority outside, clients that use them all at once, and an upstream that believes nothing.

use std::{
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sidegate::model::Time;
use tokio::net::TcpStream;

use crate::{
    oauth::house::{SECRET, form, hash, text},
    pairs::spoken::{Accounts, Behind},
    support::{
        Reply, Sidegate, Upstream,
        authority::{Authority, PASSWORD, USERNAME},
        client::collect,
        h2,
        issuer::scratch,
        send,
    },
};

/// Seconds that the authority's tokens live.
pub const LIFETIME: u64 = 300;

pub struct House {
    pub authority: Arc<Authority>,
    pub sidegate: Sidegate,
    pub upstream: Upstream,
    /// What the upstream should never have been shown.
    objections: Arc<Mutex<Vec<String>>>,
}

/// How a house is.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub behind: Behind,
    pub kept: Kept,
    /// Seconds that the authority's clock is before everybody else's.
    pub ahead: i64,
    /// More keys of `remote`, of the client and of the configuration.
    pub remote: &'a str,
    pub client: &'a str,
    pub more: &'a str,
}

impl Setup<'_> {
    pub fn of(behind: Behind, kept: Kept) -> Setup<'static> {
        Setup { behind, kept, ahead: 0, remote: "", client: "", more: "" }
    }
}

/// One session, as its client knows it.
#[derive(Clone)]
pub struct Client {
    /// Which of the authority's tokens began it.
    pub root: usize,
    pub token: String,
    pub refresh: String,
}

#[derive(Debug, Clone, Copy)]
pub enum Kept {
    InMemory,
    OnDisk,
}

/// How a client speaks, on one connection.
pub enum Line {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// An upstream that asks the authority's books about each token that it is shown, and what it objected to.
pub async fn judging(authority: &Arc<Authority>) -> (Upstream, Arc<Mutex<Vec<String>>>) {
    let objections = Arc::new(Mutex::new(Vec::new()));
    let (judge, heard) = (authority.clone(), objections.clone());
    let upstream = Upstream::answering(move |seen| {
        let root = seen.header(ROOT).unwrap().parse().unwrap();
        heard.lock().unwrap().extend(judge.objection(seen.header("authorization"), root));
        Response::new(Full::new(Bytes::from_static(b"hello")))
    })
    .await;
    (upstream, objections)
}

impl House {
    pub async fn new(behind: Behind, kept: Kept) -> House {
        House::with(Setup::of(behind, kept)).await
    }

    pub async fn with(setup: Setup<'_>) -> House {
        let (time, there) = (Time::default(), Time::default());
        there.advance(setup.ahead);
        let authority = Arc::new(Authority::at(setup.behind.speech().unwrap(), there).await);
        authority.script(|script| script.lifetime = LIFETIME);
        let (upstream, objections) = judging(&authority).await;
        let sidegate = Sidegate::at(&yaml(&setup, &authority, &upstream), time).await;
        House { sidegate, authority, upstream, objections }
    }

    /// Moves all clocks.
    pub fn advance(&self, seconds: i64) {
        self.sidegate.time.advance(seconds);
        self.authority.script(|script| script.time.advance(seconds));
    }

    pub async fn sign_in(&self) -> Client {
        let password = form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect::<String>();
        let username = form_urlencoded::byte_serialize(USERNAME.as_bytes()).collect::<String>();
        let body = format!("grant_type=password&username={username}&password={password}");
        let reply = self.token(&body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let (token, refresh) = (text(&reply, "access_token"), text(&reply, "refresh_token"));
        Client { root: self.authority.issued().len(), token, refresh }
    }

    /// So many sessions, one after the other.
    pub async fn sign_in_all(&self, sessions: usize) -> Vec<Client> {
        let mut clients = Vec::with_capacity(sessions);
        for _ in 0..sessions {
            clients.push(self.sign_in().await);
        }
        clients
    }

    pub async fn token(&self, body: &str) -> Reply {
        let body = format!("{body}&client_id=app&client_secret={SECRET}");
        send(self.sidegate.public, form("/oauth20/token", &body, &[])).await
    }

    pub async fn get(&self, client: &Client) -> Reply {
        send(self.sidegate.public, client.request()).await
    }

    pub async fn refresh(&self, client: &Client) -> Reply {
        self.token(&format!("grant_type=refresh_token&refresh_token={}", client.refresh)).await
    }

    /// Asks again and again, for a minute of the clock at most.
    pub async fn until_all_are_served(&self, clients: &[Client]) {
        for _ in 0..60 {
            let replies = self.storm(clients, 1).await;
            let (served, others): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
            if served.len() == clients.len() {
                return;
            }
            assert!(others.iter().all(|reply| reply.status == 503), "{others:?}");
            self.advance(1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not all are served again");
    }

    /// `each` requests of every client, all at once: every other client over HTTP/1.1 with a connection for each, the
    /// others over HTTP/2 with one for all.
    pub async fn storm(&self, clients: &[Client], each: usize) -> Vec<Reply> {
        let mut lines = Vec::new();
        for (number, client) in clients.iter().enumerate() {
            let two = number % 2 == 1;
            let shared = if two { Some(h2(self.sidegate.public).await) } else { None };
            for _ in 0..each {
                let line = match &shared {
                    Some(shared) => Line::Two(shared.clone()),
                    None => Line::one(&self.sidegate).await,
                };
                lines.push((line, client));
            }
        }
        join_all(lines.into_iter().map(|(mut line, client)| async move { line.ask(client.request()).await })).await
    }

    /// Requests that sidegate has begun and not answered.
    pub async fn in_flight(&self) -> u64 {
        self.sidegate.metric("sidegate_http_requests_in_flight{listener=\"main\"}").await
    }

    #[track_caller]
    pub fn assert_nothing_wrong_was_shown(&self) {
        let objections = self.objections.lock().unwrap();
        assert!(objections.is_empty(), "{} wrong: {:?}", objections.len(), objections.first());
    }
}

impl Client {
    pub fn request(&self) -> Request<Full<Bytes>> {
        let request = Request::get("http://api.test/").header("host", "api.test").header(ROOT, self.root);
        request.header("authorization", format!("Bearer {}", self.token)).body(Full::default()).unwrap()
    }
}

impl Line {
    pub async fn one(sidegate: &Sidegate) -> Line {
        let stream = TokioIo::new(TcpStream::connect(sidegate.public).await.unwrap());
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Line::One(sender)
    }

    pub async fn two(sidegate: &Sidegate) -> Line {
        Line::Two(h2(sidegate.public).await)
    }

    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Reply {
        let response = match self {
            Line::One(sender) => sender.send_request(request).await,
            Line::Two(sender) => sender.send_request(request).await,
        };
        collect(response.unwrap()).await
    }
}

fn yaml(setup: &Setup<'_>, authority: &Authority, upstream: &Upstream) -> String {
    let Setup { behind, kept, remote, client, more, .. } = *setup;
    let folder = scratch("storm");
    let path = |name: &str| Value::from(folder.join(name).to_str().unwrap());
    let store = match kept {
        Kept::InMemory => "store: { memory: {} }\n".to_owned(),
        Kept::OnDisk => {
            let (sessions, master) = (path("sessions.redb"), path("master"));
            format!("store: {{ redb: {{ path: {sessions} }} }}\nkeys: {{ master_file: {master}, generate: true }}\n")
        }
    };
    // Who has an API key there must be mapped to it: nobody presents one in `oauth2`.
    let accounts = if behind == Behind::Redex { Accounts::Mapped } else { Accounts::Presented };
    let mut users = String::new();
    if accounts == Accounts::Mapped {
        let (username, password) = (Value::from(USERNAME), hash(PASSWORD));
        let account = behind.account(&folder);
        writeln!(users, "  users: [{{ username: {username}, password_hash: \"{password}\", {account} }}]").unwrap();
    }
    let written = behind.yaml(authority, accounts, &folder);
    let written = format!("{}{remote} }}\n", written.trim_end().strip_suffix('}').unwrap());
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  sessions_per_user: 5000\n{written}{users}  \
         clients: [{{ id: app, secret_hashes: [\"{}\"], grants: [password, refresh_token], {client} }}]\n{store}\
         upstreams: [{{ name: app, url: \"http://{}\", credential: {{ authority_token: {{}} }} }}]\n\
         routes: [{{ name: all, paths: [\"/*\"], upstream: app, policy: {{ issuers: [local], audiences: [orders-api] }} }}]\n{more}",
        hash(SECRET),
        upstream.address
    )
}

/// Tells the upstream of which session a request is.
pub const ROOT: &str = "x-root";
