//! `/status`: JSON for machines, a page for people.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use minijinja::Environment;
use serde::Serialize;

use super::{
    Admin, Reloads,
    answer::{html, json, text},
};
use crate::{
    gate::status::{JournalStatus, ReplicasStatus, Status},
    server::Phase,
};

#[derive(Serialize)]
struct Page<'a> {
    version: &'a str,
    state: &'a str,
    uptime_seconds: u64,
    listeners: Vec<ListenerStatus>,
    reloads: Reloads,
    /// `None` without an authority.
    sessions: Option<SessionsStatus>,
    #[serde(flatten)]
    gate: Status,
}

#[derive(Serialize)]
struct ListenerStatus {
    name: String,
    open_connections: usize,
    accepted: u64,
    /// Seconds until the first certificate of its chain ends; 0: it has. `None`: plain text.
    certificate_expires_in: Option<u64>,
}

#[derive(Serialize)]
struct SessionsStatus {
    store: &'static str,
    /// Whether the store answers.
    up: bool,
    /// Sessions that are neither revoked nor over.
    alive: Option<u64>,
    error: Option<String>,
    journal: Option<JournalStatus>,
    /// `None`: no other replica shares it.
    replicas: Option<ReplicasStatus>,
}

impl Admin {
    pub(super) async fn status(&self, as_page: bool) -> Response<Full<Bytes>> {
        let (now, gate) = (self.time.now(), self.gate.load_full());
        let sessions = gate.sessions_alive().await.map(|(store, counted)| SessionsStatus {
            store,
            up: counted.is_ok(),
            error: counted.as_ref().err().map(ToString::to_string),
            alive: counted.ok(),
            journal: gate.journal_status(now),
            replicas: gate.replicas_status(),
        });
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
                    certificate_expires_in: stats.certificate_expires().map(|expires| now.until(expires).as_secs()),
                })
                .collect(),
            reloads: self.reloads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
            sessions,
            gate: gate.status(now),
        };
        if !as_page {
            return json(StatusCode::OK, &page);
        }
        match render(&page) {
            Ok(page) => html(page),
            Err(error) => {
                tracing::error!(%error, "the status page could not be written");
                text(StatusCode::INTERNAL_SERVER_ERROR, "see /status as JSON\n")
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
