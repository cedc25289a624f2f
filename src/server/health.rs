//! `/startupz`, `/livez`, `/readyz` and `/metrics`, on a listener of their own.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;

use super::{Handler, ListenerStats, Phase, Shutdown};
use crate::{
    authority::remote::State,
    config::LOCAL,
    gate::{
        Gate,
        status::{RemoteStatus, ReplicasStatus},
    },
    model::{Connection, Time},
    telemetry::metrics::{BreakerState, CertificateSnapshot, ListenerSnapshot, Metrics, Snapshot, TEXT_FORMAT},
};

/// What the probes and Prometheus ask.
pub struct Health {
    pub gate: Arc<ArcSwap<Gate>>,
    pub metrics: Arc<Metrics>,
    pub listeners: Arc<dyn Fn() -> Vec<Arc<ListenerStats>> + Send + Sync>,
    pub shutdown: Shutdown,
    pub time: Time,
}

/// The body of `/readyz`: why not, or what is not as it should be although requests are served.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    draining: bool,
    /// Required issuers whose keys were never there.
    waiting_for: Vec<Reason>,
    /// Issuers, the authority outside, the givers of service tokens and the store of our signing keys, where they cannot be
    /// asked; what is still valid is served.
    degraded: Vec<Degraded>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Degraded {
    Issuer(Reason),
    Authority {
        authority: &'static str,
        reason: String,
        #[serde(flatten)]
        condition: Condition,
    },
    Service {
        upstream: String,
        reason: String,
    },
    Own {
        authority: &'static str,
        reason: String,
    },
    Replicas {
        replicas: &'static str,
        reason: &'static str,
    },
}

/// As on `/status`.
#[derive(Serialize)]
struct Condition {
    state: State,
    state_age: Option<u64>,
    breaker: BreakerState,
    next_attempt: Option<u64>,
}

#[derive(Serialize)]
struct Reason {
    issuer: String,
    reason: String,
}

impl Handler for Health {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, _: &Arc<Connection>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n");
        }
        match request.uri().path() {
            // Nothing remote: the configuration was valid and the listeners are open, otherwise nobody would answer.
            "/startupz" | "/livez" => text(StatusCode::OK, "text/plain", "ok\n"),
            "/readyz" => {
                let readiness = self.readiness();
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                text(status, "application/json", serde_json::to_vec(&readiness).unwrap_or_default())
            }
            "/metrics" => text(StatusCode::OK, TEXT_FORMAT, self.metrics().await),
            path => match self.gate.load().key_set(path) {
                Some(keys) => text(StatusCode::OK, "application/jwk-set+json", keys),
                None => text(StatusCode::NOT_FOUND, "text/plain", "/startupz /livez /readyz /metrics\n"),
            },
        }
    }
}

impl Health {
    fn readiness(&self) -> Readiness {
        let draining = self.shutdown.phase() != Phase::Running;
        let (mut waiting_for, mut degraded) = (Vec::new(), Vec::new());
        let (gate, now) = (self.gate.load_full(), self.time.now());
        for issuer in gate.issuer_statuses(now) {
            let unready = issuer.required && !issuer.ever_loaded;
            if issuer.usable && issuer.last_error.is_none() {
                continue;
            }
            let reason = issuer.last_error.unwrap_or_else(|| "its keys have not been fetched yet".into());
            let reason = Reason { issuer: issuer.name, reason };
            if unready { waiting_for.push(reason) } else { degraded.push(Degraded::Issuer(reason)) }
        }
        if let Some(remote) = gate.remote_status(now)
            && let Some(reason) = remote.last_error
        {
            let RemoteStatus { state, state_age, breaker, next_attempt, .. } = remote;
            let condition = Condition { state, state_age, breaker, next_attempt };
            degraded.push(Degraded::Authority { authority: "remote", reason, condition });
        }
        if let Some(reason) = gate.endpoints().and_then(|endpoints| endpoints.grants.keys.trouble()) {
            degraded.push(Degraded::Own { authority: LOCAL, reason });
        }
        for (upstream, service) in gate.service_statuses(now).filter(|(_, service)| service.degraded) {
            let reason = service.last_error.unwrap_or_else(|| "there is no service token yet".to_owned());
            degraded.push(Degraded::Service { upstream: upstream.to_owned(), reason });
        }
        if let Some(ReplicasStatus { state: replicas, degraded: Some(reason), .. }) = gate.replicas_status() {
            degraded.push(Degraded::Replicas { replicas, reason });
        }
        let ready = !draining && waiting_for.is_empty();
        Readiness { ready, draining, waiting_for, degraded }
    }

    async fn metrics(&self) -> Vec<u8> {
        let (gate, listeners) = (self.gate.load_full(), (self.listeners)());
        if let Some((store, alive)) = gate.sessions_alive().await {
            self.metrics.oauth.observe_store(store, alive.ok());
        }
        if let Some(own) = gate.proxy().auth().own() {
            let (running, waiting) = own.authority.hashing();
            self.metrics.oauth.observe_passwords(running, waiting);
        }
        if let Some(journal) = gate.proxy().auth().own().and_then(|own| own.sessions.journal()) {
            let standing = journal.standing();
            self.metrics.journal.observe(standing.waiting, standing.unreadable);
        }
        let mut snapshot = Snapshot::default();
        gate.fill(&mut snapshot);
        snapshot.ready = self.readiness().ready;
        snapshot.listeners.extend(listeners.iter().map(|stats| ListenerSnapshot {
            name: &stats.name,
            open: stats.open() as u64,
            accepted: stats.accepted(),
            tls12: stats.tls12(),
            tls13: stats.tls13(),
            tls_failed: stats.tls_failed(),
        }));
        snapshot.certificates.extend(listeners.iter().filter_map(|stats| {
            let expires = stats.certificate_expires()?.0;
            Some(CertificateSnapshot { name: &stats.name, expires })
        }));
        self.metrics.scrape(&snapshot)
    }
}

fn text(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
