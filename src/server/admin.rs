//! `/status` on loopback: JSON for machines, a page for people.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use minijinja::Environment;
use serde::Serialize;

use super::{Handler, ListenerStats, Phase, Shutdown};
use crate::{
    gate::{Gate, status::Status},
    model::{Connection, Time, UnixTime},
};

/// What an operator asks.
pub struct Admin {
    pub gate: Arc<ArcSwap<Gate>>,
    pub listeners: Arc<dyn Fn() -> Vec<Arc<ListenerStats>> + Send + Sync>,
    pub reloads: Arc<Mutex<Reloads>>,
    pub shutdown: Shutdown,
    pub time: Time,
    pub started: UnixTime,
}

/// How the last reload went.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Reloads {
    pub succeeded: u64,
    pub failed: u64,
    /// Why the running configuration is still the old one; `None` after a success.
    pub last_error: Option<String>,
}

#[derive(Serialize)]
struct Page<'a> {
    version: &'a str,
    state: &'a str,
    uptime_seconds: u64,
    listeners: Vec<ListenerStatus>,
    reloads: Reloads,
    #[serde(flatten)]
    gate: Status,
}

#[derive(Serialize)]
struct ListenerStatus {
    name: String,
    open_connections: usize,
    accepted: u64,
}

impl Handler for Admin {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, _: &Arc<Connection>) -> Response<Full<Bytes>> {
        // A page on another site may make a browser send this; Host then is a name that is not ours (DNS rebinding).
        if !is_local(request.headers().get(header::HOST)) {
            return answer(StatusCode::MISDIRECTED_REQUEST, "text/plain; charset=utf-8", "loopback only\n");
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/status" | "/") => self.status(wants_page(&request)),
            (_, "/status" | "/") => answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "GET only\n"),
            _ => answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "/status\n"),
        }
    }
}

impl Admin {
    fn status(&self, as_page: bool) -> Response<Full<Bytes>> {
        let now = self.time.now();
        let page = Page {
            version: env!("CARGO_PKG_VERSION"),
            state: match self.shutdown.phase() {
                Phase::Running => "running",
                Phase::Draining(_) | Phase::Closing | Phase::Aborted | Phase::Ended => "draining",
            },
            uptime_seconds: self.started.until(now).as_secs(),
            listeners: (self.listeners)()
                .iter()
                .map(|stats| ListenerStatus {
                    name: stats.name.to_string(),
                    open_connections: stats.open(),
                    accepted: stats.accepted(),
                })
                .collect(),
            reloads: self.reloads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
            gate: self.gate.load().status(now),
        };
        if !as_page {
            let body = serde_json::to_vec_pretty(&page).unwrap_or_default();
            return answer(StatusCode::OK, "application/json", body);
        }
        match render(&page) {
            Ok(html) => answer(StatusCode::OK, "text/html; charset=utf-8", html),
            Err(error) => {
                tracing::error!(%error, "the status page could not be written");
                answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", "see /status as JSON\n")
            }
        }
    }
}

/// Everything from the configuration is escaped: the name ends in `.html`.
fn render(page: &Page<'_>) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.add_template("status.html", include_str!("status.html"))?;
    templates.get_template("status.html")?.render(minijinja::value::Serde(page))
}

fn wants_page(request: &Request<Incoming>) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    accept.is_some_and(|accept| accept.as_bytes().windows(9).any(|part| part == b"text/html"))
}

fn is_local(host: Option<&HeaderValue>) -> bool {
    let Some(authority) = host.and_then(|host| host.to_str().ok()?.parse::<http::uri::Authority>().ok()) else {
        return false;
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn answer(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
