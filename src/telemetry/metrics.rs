//! The metric families, prefix `sidegate_`. The only room that names the `prometheus` crate's types.
//!
//! Handles are resolved once per configuration; a request only increments atomics.

mod journal;
mod link;
mod oauth;
mod observed;
mod remote;
mod replay;
mod replicas;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Mutex, time::Duration};

use http::{Method, StatusCode};
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};

pub use self::{journal::*, link::*, oauth::*, observed::*, remote::*, replay::*, replicas::*};
use super::reason::Reason;
use crate::config::Way;

/// The media type of the text exposition format.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every family of the process. It outlives a reload.
pub struct Metrics {
    registry: Registry,
    /// The `process_*` families, which carry no prefix.
    process: Registry,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    overhead: HistogramVec,
    in_flight: IntGaugeVec,
    connections: IntGaugeVec,
    connections_total: IntCounterVec,
    tls_handshakes: IntCounterVec,
    upstream_duration: HistogramVec,
    upstream_errors: IntCounterVec,
    upstream_connections: IntGaugeVec,
    service_token_valid: IntGaugeVec,
    service_token_expires: GaugeVec,
    decisions: IntCounterVec,
    cache_requests: IntCounterVec,
    cache_entries: IntGaugeVec,
    cache_bytes: IntGaugeVec,
    cache_evictions: IntCounterVec,
    rate_limited: IntCounterVec,
    jwks_fetches: IntCounterVec,
    jwks_last_success: GaugeVec,
    jwks_keys: IntGaugeVec,
    introspections: IntCounterVec,
    probes: IntCounterVec,
    streams_closed: IntCounterVec,
    reloads: IntCounterVec,
    reload_successful: IntGauge,
    reload_success_time: Gauge,
    /// The token endpoints and their sessions.
    pub oauth: OauthMetrics,
    pub remote: RemoteMetrics,
    pub replay: ReplayMetrics,
    pub observed: ObservedMetrics,
    pub journal: JournalMetrics,
    pub link: LinkFamilies,
    replicas: ReplicaMetrics,
    /// Monotonic totals that are kept elsewhere as plain atomics: last value seen, so that only the growth is added.
    seen: Mutex<HashMap<String, u64>>,
}

/// The handles of one route.
pub struct RouteMetrics {
    /// By method (see [`METHODS`]) and class of status, 1xx to 5xx.
    requests: Box<[[IntCounter; 5]]>,
    duration: Histogram,
    decisions: Box<[IntCounter]>,
}

/// The handles of one listener.
pub struct ListenerMetrics {
    pub in_flight: IntGauge,
    pub overhead: Histogram,
}

/// The handles of one cache.
pub struct CacheMetrics {
    pub hit: IntCounter,
    pub miss: IntCounter,
    pub evictions: IntCounter,
}

/// The handles of one upstream.
pub struct UpstreamMetrics {
    pub duration: Histogram,
}

impl Metrics {
    pub fn new() -> Metrics {
        let registry = Registry::new_custom(Some("sidegate".into()), None).expect("a valid prefix");
        let family = Families(&registry);
        let metrics = Metrics {
            requests: family.counters(
                "http_requests_total",
                "Requests answered, by route, method and class of status.",
                &["route", "method", "code"],
            ),
            request_duration: family.histograms(
                "http_request_duration_seconds",
                "From the head of the request to the head of the response.",
                &["route"],
                REQUEST_BUCKETS,
            ),
            overhead: family.histograms(
                "http_overhead_seconds",
                "Time spent in sidegate itself until the head of the response: the request's time less the upstream's.",
                &["listener"],
                OVERHEAD_BUCKETS,
            ),
            in_flight: family.gauges(
                "http_requests_in_flight",
                "Requests whose response has not been started.",
                &["listener"],
            ),
            connections: family.gauges("connections", "Open client connections.", &["listener"]),
            connections_total: family.counters("connections_total", "Client connections accepted.", &["listener"]),
            tls_handshakes: family.counters(
                "tls_handshakes_total",
                "TLS handshakes with clients.",
                &["listener", "result"],
            ),
            upstream_duration: family.histograms(
                "upstream_request_duration_seconds",
                "From sending a request to the head of its response.",
                &["upstream"],
                REQUEST_BUCKETS,
            ),
            upstream_errors: family.counters(
                "upstream_errors_total",
                "Requests that an upstream did not answer.",
                &["upstream", "reason"],
            ),
            upstream_connections: family.gauges(
                "upstream_connections",
                "Open connections to an upstream.",
                &["upstream", "state"],
            ),
            service_token_valid: family.gauges(
                "service_token_valid",
                "Whether there is a token that the upstream may be shown for everybody.",
                &["upstream"],
            ),
            service_token_expires: family.float_gauges(
                "service_token_expires_timestamp_seconds",
                "When the token ends that an upstream is shown for everybody; 0: there was none.",
                &["upstream"],
            ),
            decisions: family.counters(
                "auth_decisions_total",
                "Decisions of authentication and policy; with `mode: observe`, what would have been decided.",
                &["route", "result", "reason"],
            ),
            cache_requests: family.counters("cache_requests_total", "Look-ups in a cache.", &["cache", "result"]),
            cache_entries: family.gauges("cache_entries", "Entries of a cache.", &["cache"]),
            cache_bytes: family.gauges("cache_bytes", "Weight of a cache's entries in bytes.", &["cache"]),
            cache_evictions: family.counters(
                "cache_evictions_total",
                "Entries that a cache gave up for want of room.",
                &["cache"],
            ),
            rate_limited: family.counters("rate_limited_total", "Requests refused by a rate limit.", &["scope"]),
            jwks_fetches: family.counters("jwks_fetches_total", "Fetches of an issuer's keys.", &["issuer", "result"]),
            jwks_last_success: family.float_gauges(
                "jwks_last_success_timestamp_seconds",
                "When an issuer's keys were last fetched.",
                &["issuer"],
            ),
            jwks_keys: family.gauges("jwks_keys", "Usable keys of an issuer.", &["issuer"]),
            introspections: family.counters(
                "introspections_total",
                "Questions put to an issuer's introspection endpoint.",
                &["issuer", "result"],
            ),
            probes: family.counters(
                "probes_total",
                "Tokens put to a server that judges its own.",
                &["issuer", "result"],
            ),
            streams_closed: family.counters(
                "streams_closed_total",
                "Streams that were closed since they had outlived their token, by route and reason.",
                &["route", "reason"],
            ),
            reloads: family.counters("config_reloads_total", "Reloads of the configuration.", &["result"]),
            reload_successful: family
                .gauges("config_last_reload_successful", "Whether the last reload was taken over.", &[])
                .with_label_values(&[] as &[&str]),
            reload_success_time: family
                .float_gauges(
                    "config_last_reload_success_timestamp_seconds",
                    "When a configuration was last taken over.",
                    &[],
                )
                .with_label_values(&[] as &[&str]),
            oauth: OauthMetrics::new(&family),
            remote: RemoteMetrics::new(&family),
            replay: ReplayMetrics::new(&family),
            observed: ObservedMetrics::new(&family),
            journal: JournalMetrics::new(&family),
            link: LinkFamilies::new(&family),
            replicas: ReplicaMetrics::new(&family),
            seen: Mutex::default(),
            process: process_registry(),
            registry,
        };
        let build = Families(&metrics.registry).gauges("build_info", "The running program.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for result in ["success", "failure"] {
            metrics.reloads.with_label_values(&[result]);
        }
        for scope in ["address", "principal", "introspection", "probe", "sign_in", "admin", "store", "authority"] {
            metrics.rate_limited.with_label_values(&[scope]);
        }
        metrics
    }

    pub fn route(&self, route: &str) -> RouteMetrics {
        let by_class = |method: &str| {
            ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| self.requests.with_label_values(&[route, method, class]))
        };
        RouteMetrics {
            requests: METHODS.iter().map(|method| by_class(method)).collect(),
            duration: self.request_duration.with_label_values(&[route]),
            decisions: Reason::ALL
                .iter()
                .map(|reason| self.decisions.with_label_values(&[route, reason.result(), reason.as_str()]))
                .collect(),
        }
    }

    pub fn listener(&self, listener: &str) -> ListenerMetrics {
        ListenerMetrics {
            in_flight: self.in_flight.with_label_values(&[listener]),
            overhead: self.overhead.with_label_values(&[listener]),
        }
    }

    pub fn cache(&self, cache: &str) -> CacheMetrics {
        CacheMetrics {
            hit: self.cache_requests.with_label_values(&[cache, "hit"]),
            miss: self.cache_requests.with_label_values(&[cache, "miss"]),
            evictions: self.cache_evictions.with_label_values(&[cache]),
        }
    }

    pub fn upstream(&self, upstream: &str) -> UpstreamMetrics {
        UpstreamMetrics { duration: self.upstream_duration.with_label_values(&[upstream]) }
    }

    pub fn rate_limited(&self, scope: &'static str) {
        self.rate_limited.with_label_values(&[scope]).inc();
    }

    /// Counts one stream that was closed for its token.
    pub fn stream_closed(&self, route: &str, reason: &'static str) {
        self.streams_closed.with_label_values(&[route, reason]).inc();
    }

    /// Counts one question to an issuer.
    pub fn asked(&self, way: &Way, issuer: &str, result: &'static str) {
        let family = match way {
            Way::Introspection(_) => &self.introspections,
            Way::Probe(_) => &self.probes,
        };
        family.with_label_values(&[issuer, result]).inc();
    }

    /// Notes the outcome of a reload; `at` is the wall clock in seconds since 1970.
    pub fn reloaded(&self, success: bool, at: u64) {
        self.reloads.with_label_values(&[if success { "success" } else { "failure" }]).inc();
        self.reload_successful.set(i64::from(success));
        if success {
            self.reload_success_time.set(at as f64);
        }
    }

    /// The start counts as a configuration taken over, but not as a reload.
    pub fn started(&self, at: u64) {
        self.reload_successful.set(1);
        self.reload_success_time.set(at as f64);
    }

    /// Takes over what is counted elsewhere; called before each scrape.
    pub fn observe(&self, snapshot: &Snapshot<'_>) {
        for cache in &snapshot.caches {
            self.cache_entries.with_label_values(&[cache.name]).set(clamp(cache.entries));
            self.cache_bytes.with_label_values(&[cache.name]).set(clamp(cache.bytes));
        }
        for issuer in &snapshot.issuers {
            self.jwks_keys.with_label_values(&[issuer.name]).set(clamp(issuer.keys));
            self.jwks_last_success.with_label_values(&[issuer.name]).set(issuer.last_success as f64);
            self.grow(&self.jwks_fetches, &[issuer.name, "success"], issuer.fetched);
            self.grow(&self.jwks_fetches, &[issuer.name, "failure"], issuer.failed);
        }
        for listener in &snapshot.listeners {
            self.connections.with_label_values(&[listener.name]).set(clamp(listener.open));
            self.grow(&self.connections_total, &[listener.name], listener.accepted);
            self.grow(&self.tls_handshakes, &[listener.name, "success"], listener.handshakes);
            self.grow(&self.tls_handshakes, &[listener.name, "failure"], listener.failed_handshakes);
        }
        for upstream in &snapshot.upstreams {
            self.upstream_connections.with_label_values(&[upstream.name, "active"]).set(clamp(upstream.active));
            self.upstream_connections.with_label_values(&[upstream.name, "idle"]).set(clamp(upstream.idle));
            for (reason, count) in &upstream.errors {
                self.grow(&self.upstream_errors, &[upstream.name, reason], *count);
            }
        }
        for service in &snapshot.services {
            self.service_token_valid.with_label_values(&[service.upstream]).set(i64::from(service.valid));
            self.service_token_expires.with_label_values(&[service.upstream]).set(service.expires as f64);
        }
        if let Some(replicas) = &snapshot.replicas {
            self.observe_replicas(replicas);
        }
    }

    /// The text exposition format 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(32 * 1024);
        for registry in [&self.registry, &self.process] {
            if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut text) {
                tracing::error!(%error, "metrics could not be written");
            }
        }
        text
    }

    /// Brings a counter to `total`, a number that only grows elsewhere (and starts anew with a new generation).
    fn grow(&self, family: &IntCounterVec, labels: &[&str], total: u64) {
        let counter = family.with_label_values(labels);
        let name = family.desc().first().map_or("", |desc| desc.fq_name.as_str());
        let key = format!("{name}|{}", labels.join("|"));
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = seen.insert(key, total).unwrap_or(0);
        counter.inc_by(if total >= last { total - last } else { total });
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl RouteMetrics {
    /// Counts one answered request.
    pub fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.requests[method_index(method)][class].inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub fn decided(&self, reason: Reason) {
        self.decisions[reason as usize].inc();
    }

    pub fn decisions(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason, self.decisions[reason as usize].get()))
    }
}

/// What other rooms count by themselves, read at a scrape.
#[derive(Default)]
pub struct Snapshot<'a> {
    pub caches: Vec<CacheSnapshot<'a>>,
    pub issuers: Vec<IssuerSnapshot<'a>>,
    pub listeners: Vec<ListenerSnapshot<'a>>,
    pub upstreams: Vec<UpstreamSnapshot<'a>>,
    pub services: Vec<ServiceSnapshot<'a>>,
    /// `None`: there are no others.
    pub replicas: Option<ReplicasSnapshot>,
}

pub struct ServiceSnapshot<'a> {
    pub upstream: &'a str,
    pub valid: bool,
    /// Seconds since 1970; 0: there was no token.
    pub expires: u64,
}

pub struct CacheSnapshot<'a> {
    pub name: &'a str,
    pub entries: u64,
    pub bytes: u64,
}

pub struct IssuerSnapshot<'a> {
    pub name: &'a str,
    pub keys: u64,
    /// Seconds since 1970; 0: never.
    pub last_success: u64,
    pub fetched: u64,
    pub failed: u64,
}

pub struct ListenerSnapshot<'a> {
    pub name: &'a str,
    pub open: u64,
    pub accepted: u64,
    pub handshakes: u64,
    pub failed_handshakes: u64,
}

pub struct UpstreamSnapshot<'a> {
    pub name: &'a str,
    pub active: u64,
    pub idle: u64,
    /// Requests not answered, by the code of the error.
    pub errors: Vec<(&'static str, u64)>,
}

struct Families<'a>(&'a Registry);

impl Families<'_> {
    fn register<C: Collector + Clone + 'static>(&self, family: prometheus::Result<C>) -> C {
        let family = family.expect("names and labels of a family are constants");
        self.0.register(Box::new(family.clone())).expect("each family is registered once");
        family
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }
}

fn process_registry() -> Registry {
    let registry = Registry::new();
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())).expect("registered once");
    registry
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::PATCH => 5,
        Method::OPTIONS => 6,
        Method::CONNECT => 7,
        Method::TRACE => 8,
        _ => 9,
    }
}

/// The values of the `method` label.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "other"];

const REQUEST_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

const OVERHEAD_BUCKETS: &[f64] =
    &[0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 1.0];
