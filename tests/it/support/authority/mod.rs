//! An authority outside, as a test scripts it: it keeps one user, one API key and one client, gives refresh tokens that
//! are good once and no longer, and remembers what it was asked. What it reads and writes is its own code.

pub mod told;
mod wire;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use sidegate::model::{Time, UnixTime};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::JoinSet,
};

/// Which token API it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    OAuth2,
    Redex,
    Consinco,
}

/// What it does instead of answering as it should.
#[derive(Debug, Clone, PartialEq)]
pub enum Mood {
    Good,
    /// It does as it should, but answers only after a while.
    Slow(Duration),
    /// The same, but answers only once it is in another mood.
    Held,
    /// Nobody listens there.
    Away,
    /// Connections end without an answer.
    Dead,
    /// No answer ever comes.
    Hanging,
    Status(u16),
    /// 429, and after how many seconds to come back.
    TooMany(u64),
    /// 200, and what no token API says.
    Garbage,
    /// It does not know sidegate.
    InvalidClient,
    /// Exactly this, as JSON or XML by its first byte.
    Saying(u16, Bytes),
}

/// What was asked of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    Password { username: String, password: String, company: Option<String> },
    ApiKey(String),
    ClientCredentials,
    Refresh(String),
}

/// One request, as it came and as it was understood.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// `None`: it is not one of this API.
    pub wanted: Option<Wanted>,
    pub client: Option<(String, String)>,
}

/// One access token that it gave.
#[derive(Debug, Clone)]
pub struct Issued {
    pub access: String,
    /// Which of its tokens began the session: their numbers begin with 1.
    pub root: usize,
    /// By its own clock.
    pub expires: UnixTime,
}

pub struct Script {
    mood: watch::Sender<Mood>,
    /// Its own clock.
    pub time: Time,
    /// Seconds that its access tokens live.
    pub lifetime: u64,
    /// Whether it tells when its access tokens end, and not how long they live.
    pub stamped: bool,
    /// Whether it gives refresh tokens.
    pub refreshes: bool,
    /// What of refresh tokens is good, and to whom and to which session it belongs.
    live: BTreeMap<String, (Option<String>, usize)>,
    issued: Vec<Issued>,
    redeemed: usize,
    asked: Vec<Asked>,
}

pub struct Authority {
    pub address: SocketAddr,
    pub speech: Speech,
    script: Arc<Mutex<Script>>,
}

/// Tokens that it gives, before they are written in a dialect.
pub struct Given {
    pub access: String,
    pub refresh: Option<String>,
    pub lifetime: u64,
    /// When they were given, by its own clock, if that is all it tells.
    pub stamped: Option<UnixTime>,
    /// Who signed in; `None` for a client on its own behalf.
    pub username: Option<String>,
}

/// Why it gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum No {
    Malformed,
    Client,
    Grant,
}

impl Authority {
    pub async fn start(speech: Speech) -> Authority {
        Authority::at(speech, Time::default()).await
    }

    /// With this clock.
    pub async fn at(speech: Speech, time: Time) -> Authority {
        // Bound as long as the test runs, so that nobody else is met there while it does not listen.
        let place = bound("127.0.0.1:0".parse().unwrap());
        let address = place.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script {
            mood: watch::Sender::new(Mood::Good),
            time,
            lifetime: 3600,
            stamped: false,
            refreshes: true,
            live: BTreeMap::new(),
            issued: Vec::new(),
            redeemed: 0,
            asked: Vec::new(),
        }));
        let mood = script.lock().unwrap().mood.subscribe();
        let listener = bound(address).listen(1024).unwrap();
        let own = script.clone();
        tokio::spawn(async move {
            let _place = place;
            let mut first = Some(listener);
            loop {
                let listener = first.take().unwrap_or_else(|| bound(address).listen(1024).unwrap());
                serve(speech, &own, listener, mood.clone()).await;
                let _ = mood.clone().wait_for(|mood| *mood != Mood::Away).await;
            }
        });
        Authority { address, speech, script }
    }

    pub fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap())
    }

    pub fn is(&self, mood: Mood) {
        self.script(|script| script.mood.send_replace(mood));
    }

    /// No refresh token is good any more.
    pub fn forget_everybody(&self) {
        self.script(|script| script.live.clear());
    }

    /// What it was asked, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.script(|script| script.asked.clone())
    }

    pub fn last(&self) -> Asked {
        self.asked().pop().expect("the authority was asked nothing")
    }

    /// Refresh tokens that were redeemed.
    pub fn redeemed(&self) -> usize {
        self.script(|script| script.redeemed)
    }

    /// Refresh tokens that were presented, good ones and others.
    pub fn presented(&self) -> usize {
        self.script(|script| {
            script.asked.iter().filter(|asked| matches!(asked.wanted, Some(Wanted::Refresh(_)))).count()
        })
    }

    /// The access token that it gave last.
    pub fn newest(&self) -> String {
        self.issued().last().expect("it gave nothing").access.clone()
    }

    /// What it gave, oldest first.
    pub fn issued(&self) -> Vec<Issued> {
        self.script(|script| script.issued.clone())
    }

    /// What is wrong with a request that carries `authorization` and comes from the session that began with token number
    /// `root`.
    pub fn objection(&self, authorization: Option<&str>, root: usize) -> Option<String> {
        self.script(|script| {
            let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
            let issued = script.issued.iter().rev().find(|issued| Some(&*issued.access) == token);
            let now = script.time.now();
            match issued {
                None => Some(format!("nobody gave {authorization:?}")),
                Some(issued) if issued.root != root => Some(format!("{issued:?} is not of session {root}")),
                // A second may pass on the way.
                Some(issued) if issued.expires.plus(1) < now => Some(format!("{issued:?} is over at {now:?}")),
                Some(_) => None,
            }
        })
    }
}

fn moment(time: UnixTime) -> Timestamp {
    Timestamp::from_second(time.0.try_into().unwrap()).unwrap()
}

/// A socket that several may be bound beside.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Until it is away. What it has begun to answer it answers to the end.
async fn serve(speech: Speech, script: &Arc<Mutex<Script>>, listener: TcpListener, mood: watch::Receiver<Mood>) {
    let mut connections = JoinSet::new();
    let mut away = mood.clone();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = away.wait_for(|mood| *mood == Mood::Away) => break,
        };
        let (script, mut away) = (script.clone(), mood.clone());
        let service = service_fn(move |request| answer(speech, script.clone(), request));
        connections.spawn(async move {
            let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = &mut connection => return,
                _ = away.wait_for(|mood| *mood == Mood::Away) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    drop(listener);
    connections.detach_all();
}

impl Script {
    fn judge(&mut self, speech: Speech, asked: &Asked) -> Result<Given, No> {
        let client_is_good = match &asked.client {
            Some((id, secret)) => id == CLIENT_ID && secret == CLIENT_SECRET,
            None => speech == Speech::Consinco,
        };
        if !client_is_good {
            return Err(No::Client);
        }
        let number = self.issued.len() + 1;
        let (username, root) = match asked.wanted.as_ref().ok_or(No::Malformed)? {
            Wanted::Password { username, password, company } => {
                let company_is_good = company.as_deref().is_none_or(|company| company == COMPANY);
                match username == USERNAME && password == PASSWORD && company_is_good {
                    true => (Some(username.clone()), number),
                    false => return Err(No::Grant),
                }
            }
            Wanted::ApiKey(key) if key == API_KEY => (Some(USERNAME.to_owned()), number),
            Wanted::ApiKey(_) => return Err(No::Grant),
            Wanted::ClientCredentials => (None, number),
            Wanted::Refresh(token) => {
                let whose = self.live.remove(token).ok_or(No::Grant)?;
                self.redeemed += 1;
                whose
            }
        };
        let refresh =
            (self.refreshes && asked.wanted != Some(Wanted::ClientCredentials)).then(|| refresh(speech, number));
        if let Some(refresh) = &refresh {
            self.live.insert(refresh.clone(), (username.clone(), root));
        }
        let now = self.time.now();
        let expires = now.plus(self.lifetime);
        let stamped = self.stamped.then_some(now);
        self.issued.push(Issued { access: access(number), root, expires });
        Ok(Given { access: access(number), refresh, lifetime: self.lifetime, stamped, username })
    }
}

fn access(number: usize) -> String {
    format!("at-canary-{number}.~+/_==")
}

/// As hard to carry as the API allows: RFC 6749 has printable ASCII, the others any text.
fn refresh(speech: Speech, number: usize) -> String {
    match speech {
        Speech::OAuth2 => format!("rt canary {number} +<&>%41\"'\\;="),
        Speech::Redex | Speech::Consinco => format!("rt canary {number} +<&>%41\"'\\é漢字😀"),
    }
}

async fn answer(
    speech: Speech,
    script: Arc<Mutex<Script>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Lost> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let mut asked =
        Asked { method: head.method.to_string(), target, headers: head.headers, body, wanted: None, client: None };
    (asked.wanted, asked.client) = wire::read(speech, &asked);
    let (mood, mut moods) = {
        let mut script = script.lock().unwrap();
        script.asked.push(asked.clone());
        (script.mood.borrow().clone(), script.mood.subscribe())
    };
    match mood {
        Mood::Dead => return Err(Lost),
        Mood::Hanging => tokio::time::sleep(Duration::from_secs(3600)).await,
        Mood::Status(status) => return Ok(plain(status, "text/html", "<h1>Sorry</h1>")),
        Mood::TooMany(seconds) => {
            let mut answer = plain(429, "text/plain", "slow down");
            answer.headers_mut().insert("retry-after", seconds.into());
            return Ok(answer);
        }
        Mood::Garbage => return Ok(plain(200, "application/json", "{\"hello\": [1, 2")),
        Mood::InvalidClient => return Ok(wire::refuse(speech, &asked, No::Client)),
        Mood::Saying(status, body) => {
            let media = if body.starts_with(b"<") { "application/xml" } else { "application/json" };
            return Ok(plain(status, media, body));
        }
        Mood::Good | Mood::Slow(_) | Mood::Held | Mood::Away => {}
    }
    let (judged, date) = {
        let mut script = script.lock().unwrap();
        (script.judge(speech, &asked), script.time.now())
    };
    match mood {
        Mood::Slow(pause) => tokio::time::sleep(pause).await,
        Mood::Held => drop(moods.wait_for(|mood| *mood != Mood::Held).await),
        _ => {}
    }
    let mut answer = match judged {
        Ok(given) => wire::give(speech, &asked, &given),
        Err(no) => wire::refuse(speech, &asked, no),
    };
    let date = moment(date).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    answer.headers_mut().insert("date", date.parse().unwrap());
    Ok(answer)
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("lost")]
struct Lost;

fn plain(status: u16, media: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", media.parse().unwrap());
    response
}

pub const USERNAME: &str = "Ana <b>&\"'é漢字😀";
pub const COMPANY: &str = "Açaí & Filhos <12>\"'";
pub const CLIENT_ID: &str = "side-gate+1";

/// Stands in every secret that it knows and every token that it gives, and nowhere else.
pub const CANARY: &str = "canary";
pub const PASSWORD: &str = "canary <&>\"' %41+;\\é漢😀";
/// Not longer than the API allows.
pub const API_KEY: &str = "canary <&>\"' %41+é漢😀 0e02b2c3d479";
pub const CLIENT_SECRET: &str = "canary <&>\"' %41+:é漢😀";
