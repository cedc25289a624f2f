//! The families of upstreams.

use std::{collections::BTreeMap, time::Duration};

use http::StatusCode;
use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::{
    Families, Metrics, REQUEST_BUCKETS, clamp,
    requests::{CLASSES, class},
};

pub(super) struct UpstreamFamilies {
    requests: IntCounterVec,
    duration: HistogramVec,
    errors: IntCounterVec,
    connections: IntGaugeVec,
    connects: IntCounterVec,
    retries: IntCounterVec,
    broken: IntCounterVec,
    service_valid: IntGaugeVec,
    service_expires: GaugeVec,
}

/// The handles of one upstream.
pub struct UpstreamMetrics {
    /// By class of status; the last one for those that were not answered.
    requests: [IntCounter; CLASSES.len() + 1],
    duration: Histogram,
}

/// What an upstream counts by itself, read at a scrape. Those that share a label are added up.
pub struct UpstreamSnapshot<'a> {
    /// Its label, see [`bounded`](super::bounded).
    pub label: &'a str,
    pub name: &'a str,
    pub active: u64,
    pub idle: u64,
    pub opened: u64,
    pub retried: u64,
    pub broken: u64,
    /// Requests not answered, by the code of the error.
    pub errors: Vec<(&'static str, u64)>,
}

/// The token that an upstream is shown for everybody.
pub struct ServiceSnapshot<'a> {
    pub upstream: &'a str,
    pub valid: bool,
    /// Seconds since 1970; 0: there was no token.
    pub expires: u64,
}

impl UpstreamFamilies {
    pub(super) fn new(family: &Families<'_>) -> UpstreamFamilies {
        UpstreamFamilies {
            requests: family.counters(
                "upstream_requests_total",
                "Requests sent to an upstream, repetitions after a 401 included, by class of status; none: no answer.",
                &["upstream", "code"],
            ),
            duration: family.histograms(
                "upstream_request_duration_seconds",
                "Seconds from sending a request to the head of its response.",
                &["upstream"],
                REQUEST_BUCKETS,
            ),
            errors: family.counters(
                "upstream_errors_total",
                "Requests that an upstream did not answer.",
                &["upstream", "reason"],
            ),
            connections: family.gauges(
                "upstream_connections",
                "Open connections to an upstream.",
                &["upstream", "state"],
            ),
            connects: family.counters(
                "upstream_connections_opened_total",
                "Connections that were opened to an upstream.",
                &["upstream"],
            ),
            retries: family.counters(
                "upstream_retries_total",
                "Requests that were sent again, since a pooled connection had died under them.",
                &["upstream"],
            ),
            broken: family.counters(
                "upstream_responses_broken_total",
                "Responses whose body did not come to its end: the upstream broke off, or the client went away.",
                &["upstream"],
            ),
            service_valid: family.gauges(
                "service_token_valid",
                "Whether there is a token that the upstream may be shown for everybody.",
                &["upstream"],
            ),
            service_expires: family.float_gauges(
                "service_token_expires_timestamp_seconds",
                "When the token ends that an upstream is shown for everybody, in seconds since 1970; 0: there was none.",
                &["upstream"],
            ),
        }
    }
}

impl Metrics {
    pub fn upstream(&self, upstream: &str) -> UpstreamMetrics {
        let requests = |at| {
            let code = CLASSES.get(at).copied().unwrap_or(NO_ANSWER);
            self.upstreams.requests.with_label_values(&[upstream, code])
        };
        UpstreamMetrics {
            requests: std::array::from_fn(requests),
            duration: self.upstreams.duration.with_label_values(&[upstream]),
        }
    }

    pub(super) fn observe_upstreams(&self, upstreams: &[UpstreamSnapshot<'_>], services: &[ServiceSnapshot<'_>]) {
        let family = &self.upstreams;
        let mut connections: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for upstream in upstreams {
            let (active, idle) = connections.entry(upstream.label).or_default();
            *active += upstream.active;
            *idle += upstream.idle;
            let (label, name) = (upstream.label, upstream.name);
            self.grow(&family.connects, &[label], name, upstream.opened);
            self.grow(&family.retries, &[label], name, upstream.retried);
            self.grow(&family.broken, &[label], name, upstream.broken);
            for (reason, count) in &upstream.errors {
                self.grow(&family.errors, &[label, reason], name, *count);
            }
        }
        for (label, (active, idle)) in connections {
            family.connections.with_label_values(&[label, "active"]).set(clamp(active));
            family.connections.with_label_values(&[label, "idle"]).set(clamp(idle));
        }
        family.service_valid.reset();
        family.service_expires.reset();
        for service in services {
            family.service_valid.with_label_values(&[service.upstream]).set(i64::from(service.valid));
            family.service_expires.with_label_values(&[service.upstream]).set(service.expires as f64);
        }
    }
}

impl UpstreamMetrics {
    /// Counts one request; no `status`: it was not answered.
    pub fn answered(&self, status: Option<StatusCode>, took: Duration) {
        self.requests[status.map_or(CLASSES.len(), class)].inc();
        self.duration.observe(took.as_secs_f64());
    }
}

const NO_ANSWER: &str = "none";
