//! `/status`: JSON for machines, a page for people. Nobody who is signed in is named here, and no request.

mod summary;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use schemars::JsonSchema;
use serde::Serialize;

use self::summary::Health;
use super::{Admin, Reloads, answer::json, pages::page};
use crate::{
    gate::{
        Gate,
        status::{JournalStatus, ReplicasStatus, Status},
    },
    model::{UnixTime, build, words::stamp},
    server::Phase,
    telemetry::recent::{RecentError, recent},
};

/// What `/status` answers with. Members are added, and those that are here keep their names and what they mean.
#[derive(Serialize, JsonSchema)]
struct Page {
    version: &'static str,
    /// The commit; empty where it is not known.
    revision: &'static str,
    /// `running` or `draining`.
    state: &'static str,
    health: Health,
    /// The moment of this answer.
    at: String,
    started: String,
    uptime_seconds: u64,
    listeners: Vec<ListenerStatus>,
    reloads: Reloads,
    /// `null` without an authority.
    sessions: Option<SessionsStatus>,
    #[serde(flatten)]
    gate: Status,
    /// The last distinct errors, the newest first: a few of each place, since the start.
    errors: Vec<RecentError>,
}

#[derive(Serialize, JsonSchema)]
struct ListenerStatus {
    name: String,
    open_connections: usize,
    /// More wait until one of these ends.
    max_connections: Option<usize>,
    accepted: u64,
    /// Seconds until the first certificate of its chain ends; 0: it has. `None`: plain text.
    certificate_expires_in: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
struct SessionsStatus {
    /// `memory`, `redb` or `redis`.
    store: &'static str,
    /// Whether the store answers.
    up: bool,
    /// Sessions that are neither revoked nor over.
    alive: Option<u64>,
    error: Option<String>,
    journal: Option<JournalStatus>,
    /// `null`: no other replica shares it.
    replicas: Option<ReplicasStatus>,
}

impl Admin {
    pub(super) async fn status(&self, as_page: bool) -> Response<Full<Bytes>> {
        let status = self.gather().await;
        if as_page { page(StatusCode::OK, "status.html", &status) } else { json(StatusCode::OK, &status) }
    }

    async fn gather(&self) -> Page {
        let (now, gate) = (self.time.now(), self.gate.load_full());
        let sessions = gate.sessions_alive().await.map(|(store, counted)| SessionsStatus {
            store,
            up: counted.is_ok(),
            error: counted.as_ref().err().map(ToString::to_string),
            alive: counted.ok(),
            journal: gate.journal_status(now),
            replicas: gate.replicas_status(),
        });
        let trouble = gate.endpoints().and_then(|endpoints| endpoints.grants.keys.trouble());
        let mut page = Page {
            version: build::VERSION,
            revision: build::REVISION,
            state: match self.shutdown.phase() {
                Phase::Running => "running",
                Phase::Draining(_) | Phase::Closing | Phase::Aborted | Phase::Ended => "draining",
            },
            health: Health::default(),
            at: stamp(now),
            started: stamp(self.started),
            uptime_seconds: self.started.until(now).as_secs(),
            listeners: self.listener_statuses(&gate, now),
            reloads: self.reloads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
            sessions,
            gate: gate.status(now),
            errors: recent().errors(),
        };
        page.health = Health::of(&page, trouble);
        page
    }

    fn listener_statuses(&self, gate: &Gate, now: UnixTime) -> Vec<ListenerStatus> {
        let limit = |name: &str| {
            let mut listeners = gate.config().listeners.iter();
            listeners.find(|listener| *listener.name == *name).map(|listener| listener.limits.connections)
        };
        (self.listeners)()
            .iter()
            .map(|stats| ListenerStatus {
                name: stats.name.to_string(),
                open_connections: stats.open(),
                max_connections: limit(&stats.name),
                accepted: stats.accepted(),
                certificate_expires_in: stats.certificate_expires().map(|expires| now.until(expires).as_secs()),
            })
            .collect()
    }
}
