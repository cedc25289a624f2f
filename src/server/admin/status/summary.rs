//! How it stands, in one sentence; why, if not well; and what an operator may want to do.

use schemars::JsonSchema;
use serde::Serialize;

use super::Page;
use crate::{
    gate::{
        status::{JournalState, RemoteStatus},
        trial::Judgement,
    },
    model::words::{grouped, span},
    telemetry::metrics::BreakerState,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// All that is configured works.
    #[default]
    Good,
    /// Something does not; what is still valid is served.
    Degraded,
    /// The process is about to end.
    Draining,
}

/// How it stands.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct Health {
    pub(super) state: Standing,
    /// For people.
    pub(super) sentence: String,
    /// Everything that is not as it should be.
    pub(super) reasons: Vec<String>,
    /// What works, and could be better or needs a decision.
    pub(super) hints: Vec<String>,
}

impl Health {
    /// `trouble`: with the signing keys of the local authority.
    pub(super) fn of(page: &Page, trouble: Option<String>) -> Health {
        let mut reasons = reasons(page);
        reasons.extend(trouble.map(|trouble| format!("The signing keys cannot be looked after: {trouble}.")));
        let state = match (page.state, reasons.is_empty()) {
            ("draining", _) => Standing::Draining,
            (_, true) => Standing::Good,
            (_, false) => Standing::Degraded,
        };
        let sentence = match (state, &reasons[..]) {
            (Standing::Draining, _) => "Draining: what is under way is finished, and nothing new is taken.".to_owned(),
            (Standing::Good, _) => "Good: everything that is configured works.".to_owned(),
            (Standing::Degraded, [reason]) => format!("Degraded: {reason}"),
            (Standing::Degraded, reasons) => {
                format!("Degraded: {} things are not as they should be; what is still valid is served.", reasons.len())
            }
        };
        Health { state, sentence, reasons, hints: hints(page) }
    }
}

fn reasons(page: &Page) -> Vec<String> {
    let mut reasons = Vec::new();
    for issuer in &page.gate.issuers {
        let (name, error) = (&issuer.name, issuer.last_error.as_deref());
        let because = error.map(|error| format!(": {error}")).unwrap_or_default();
        match (issuer.usable, error) {
            (true, None) => {}
            (true, Some(error)) => {
                reasons.push(format!("Issuer {name}: {error}; its tokens are judged by the keys that are there."));
            }
            (false, _) => reasons.push(format!("Issuer {name} is not usable, and its tokens get 503{because}.")),
        }
    }
    if let Some(remote) = page.gate.authority.as_ref().and_then(|authority| authority.remote.as_ref()) {
        reasons.extend(of_remote(remote));
    }
    for upstream in &page.gate.upstreams {
        let Some(service) = upstream.service.as_ref().filter(|service| service.degraded) else { continue };
        let because = service.last_error.as_deref().unwrap_or("it was not given yet");
        let what = if service.valid { "cannot be renewed" } else { "is missing, and its requests get 503" };
        reasons.push(format!("The service token for upstream {} {what}: {because}.", upstream.name));
    }
    if let Some(sessions) = &page.sessions {
        if let Some(error) = &sessions.error {
            reasons.push(format!("The session store ({}) does not answer: {error}.", sessions.store));
        }
        if let Some(journal) = &sessions.journal {
            if journal.state == JournalState::Failing {
                let error = journal.last_error.as_deref().unwrap_or("the reason is in the log");
                reasons.push(format!("The journal cannot be written: {error}; a crash may now cost sessions."));
            }
            if journal.unreadable > 0 {
                let count = grouped(journal.unreadable as u64);
                reasons.push(format!(
                    "{count} entries of the journal cannot be read: look at the keys in keys.master_file."
                ));
            }
        }
        if let Some(degraded) = sessions.replicas.as_ref().and_then(|replicas| replicas.degraded) {
            reasons.push(format!("Other replicas: {degraded}."));
        }
    }
    for (name, _) in certificates(page).filter(|(_, left)| *left == 0) {
        reasons.push(format!("The certificate of {name} has ended."));
    }
    if let Some(error) = &page.reloads.last_error {
        let first = error.lines().next().unwrap_or_default();
        reasons.push(format!("The last reload was refused, and the configuration before it runs on: {first}"));
    }
    reasons
}

/// Seconds that certificates are still good for, by the listener or upstream that they are shown at.
fn certificates(page: &Page) -> impl Iterator<Item = (String, u64)> {
    let listeners = page.listeners.iter();
    let listeners = listeners.map(|listener| ("listener", &listener.name, listener.certificate_expires_in));
    let upstreams = page.gate.upstreams.iter();
    let upstreams = upstreams.map(|upstream| ("upstream", &upstream.name, upstream.certificate_expires_in));
    let all = listeners.chain(upstreams);
    all.filter_map(|(what, name, left)| Some((format!("{what} {name}"), left?)))
}

fn of_remote(remote: &RemoteStatus) -> Option<String> {
    if !remote.degraded {
        return None;
    }
    let error = remote.last_error.as_deref().unwrap_or("the reason is in the log");
    let breaker = match remote.breaker {
        BreakerState::Open => "; its breaker is open",
        BreakerState::Closed | BreakerState::HalfOpen => "",
    };
    Some(format!("The authority outside: {error}{breaker}; no session ends for that."))
}

fn hints(page: &Page) -> Vec<String> {
    let mut hints = Vec::new();
    for route in &page.gate.observed {
        match route.verdict {
            Judgement::Enforce => {
                hints.push(format!("Route {} would refuse nothing: write `mode: enforce`.", route.route))
            }
            Judgement::Mend => hints.push(format!(
                "Route {} only observes and would refuse some: see below whose requests, and what to do.",
                route.route
            )),
            Judgement::Wait | Judgement::Unused => {}
        }
    }
    for cache in &page.gate.caches {
        let full = cache.max_bytes > 0 && cache.bytes >= cache.max_bytes / 10 * 9;
        if full && cache.lookups > MANY && cache.hit_ratio.is_some_and(|ratio| ratio < 0.5) {
            hints.push(format!(
                "The cache {} is full, and finds less than half of what it is asked for: raise its bound in `cache`.",
                cache.name
            ));
        }
    }
    for listener in &page.listeners {
        if let Some(most) = listener.max_connections
            && listener.open_connections >= most / 10 * 9
        {
            hints.push(format!(
                "Listener {} has {} of {} connections open: raise limits.connections, or add replicas.",
                listener.name,
                grouped(listener.open_connections as u64),
                grouped(most as u64)
            ));
        }
    }
    for issuer in page.gate.issuers.iter().filter(|issuer| issuer.usable) {
        if let Some(age) = issuer.key_age.filter(|age| *age > OLD_KEYS) {
            hints.push(format!("The keys of issuer {} are {} old: is it reachable?", issuer.name, span(age)));
        }
    }
    for (name, left) in certificates(page).filter(|(_, left)| (1..SOON).contains(left)) {
        hints.push(format!("The certificate of {name} ends in {}.", span(left)));
    }
    if !page.reloads.pending_restart.is_empty() {
        let settings = page.reloads.pending_restart.join(", ");
        hints.push(format!(
            "Restart it when you can: {settings} changed in the configuration, and that takes a new start."
        ));
    }
    if page.sessions.as_ref().is_some_and(|sessions| sessions.store == "memory") {
        hints.push("Sessions are kept in memory: they end with this process.".to_owned());
    }
    hints
}

/// Fewer look-ups say nothing of a cache.
const MANY: u64 = 1000;
/// Seconds.
const OLD_KEYS: u64 = 24 * 3600;
const SOON: u64 = 14 * 24 * 3600;
