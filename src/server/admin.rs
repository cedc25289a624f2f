//! What operators ask, on loopback: how it goes (`/status`, `/report`), and behind a token of its own the sessions and the
//! signing keys of the local authority.
//!
//! Without the token stands what the configuration says and how it goes: states, ages, numbers, the texts of errors, the names
//! that the configuration has. Who is signed in, and whatever changes something, asks for it.

mod access;
mod answer;
mod browsers;
mod keys;
mod pages;
mod query;
mod report;
mod sessions;
mod status;
mod visits;

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::Serialize;

use self::{
    access::Access,
    answer::{json, not_allowed, refusal, text},
    browsers::{Browsers, is_local},
};
use super::{Handler, ListenerStats, Shutdown};
use crate::{
    gate::Gate,
    model::{Connection, Time, UnixTime},
    telemetry::metrics::{Limited, Metrics},
};

/// What an operator asks.
pub struct Admin {
    gate: Arc<ArcSwap<Gate>>,
    metrics: Arc<Metrics>,
    listeners: Arc<dyn Fn() -> Vec<Arc<ListenerStats>> + Send + Sync>,
    reloads: Arc<Mutex<Reloads>>,
    shutdown: Shutdown,
    time: Time,
    started: UnixTime,
    access: Access,
    browsers: Browsers,
}

/// How configurations were taken over while the program ran.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Reloads {
    pub succeeded: u64,
    pub failed: u64,
    /// Why the running configuration is still the old one; `None` after a success.
    pub last_error: Option<String>,
    /// The last one; `None`: there was none yet.
    pub last: Option<Reload>,
    /// When the configuration in force was taken over, in seconds since 1970.
    pub in_force_since: u64,
    /// Settings that were changed, and that take effect at the next start only.
    pub pending_restart: Vec<&'static str>,
    /// `None`: a reload is asked for by signal.
    pub watch: Option<Watching>,
}

/// One reload.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Reload {
    /// In seconds since 1970.
    pub at: u64,
    pub source: ReloadSource,
    pub succeeded: bool,
    /// The files and folders that were changed, new or gone since the last one.
    pub files: Vec<String>,
    /// The sections of the configuration that say something else than before. Empty if it was refused.
    pub sections: Vec<&'static str>,
}

/// What asked for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReloadSource {
    /// SIGHUP.
    Signal,
    /// A file that changed.
    Watch,
}

/// The files that are looked at.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Watching {
    pub interval_seconds: u64,
    /// How many there are, folders among them.
    pub files: usize,
    /// Why they cannot be taken over as they are; it counts as a refusal only if it stays so.
    pub unsettled: Option<String>,
}

impl Handler for Admin {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, connection: &Arc<Connection>) -> Response<Full<Bytes>> {
        // A page on another site may make a browser send this; Host then is a name that is not ours (DNS rebinding).
        if !is_local(request.headers().get(header::HOST)) {
            return text(StatusCode::MISDIRECTED_REQUEST, "loopback only\n");
        }
        if visits::is_visit(&request) {
            return self.visit(request, connection).await;
        }
        let path = request.uri().path();
        match path {
            "/status" | "/" => match *request.method() {
                Method::GET | Method::HEAD => self.status(wants_page(&request)).await,
                _ => not_allowed("GET, HEAD"),
            },
            "/report" => match *request.method() {
                Method::GET | Method::HEAD => self.report(),
                Method::DELETE => self.guarded(&request, connection, self.reset_report(&request)).await,
                _ => not_allowed("GET, HEAD, DELETE"),
            },
            "/sessions" => match *request.method() {
                Method::GET | Method::HEAD => self.guarded(&request, connection, self.list_sessions(&request)).await,
                Method::DELETE => self.guarded(&request, connection, self.revoke_sessions(&request)).await,
                _ => not_allowed("GET, HEAD, DELETE"),
            },
            "/keys/rotate" => match *request.method() {
                Method::POST => self.guarded(&request, connection, self.rotate_keys(&request)).await,
                _ => not_allowed("POST"),
            },
            _ => match path.strip_prefix("/sessions/") {
                Some(id) => match *request.method() {
                    Method::GET | Method::HEAD => self.guarded(&request, connection, self.show_session(id)).await,
                    Method::DELETE => self.guarded(&request, connection, self.revoke_session(id)).await,
                    _ => not_allowed("GET, HEAD, DELETE"),
                },
                None => text(StatusCode::NOT_FOUND, "/status /report /sessions /keys/rotate\n"),
            },
        }
    }
}

impl Admin {
    pub fn new(
        gate: Arc<ArcSwap<Gate>>,
        metrics: Arc<Metrics>,
        listeners: Arc<dyn Fn() -> Vec<Arc<ListenerStats>> + Send + Sync>,
        reloads: Arc<Mutex<Reloads>>,
        shutdown: Shutdown,
        time: Time,
    ) -> Admin {
        let started = time.now();
        Admin {
            gate,
            metrics,
            listeners,
            reloads,
            shutdown,
            time,
            started,
            access: Access::default(),
            browsers: Browsers::default(),
        }
    }

    /// Answers by `then` where the request carries the token of operators.
    async fn guarded(
        &self,
        request: &Request<Incoming>,
        connection: &Connection,
        then: impl Future<Output = Response<Full<Bytes>>>,
    ) -> Response<Full<Bytes>> {
        let gate = self.gate.load_full();
        let token = gate.config().admin.as_ref().and_then(|admin| admin.token.as_ref());
        match self.access.check(token, request.headers(), connection, self.time.now()) {
            Ok(()) => then.await,
            Err(denied) => {
                if denied.is_throttled() {
                    self.metrics.rate_limited(Limited::Admin);
                }
                denied.answer()
            }
        }
    }
}

/// A browser asks for one.
fn wants_page(request: &Request<Incoming>) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    accept.is_some_and(|accept| accept.as_bytes().windows(9).any(|part| part == b"text/html"))
}
