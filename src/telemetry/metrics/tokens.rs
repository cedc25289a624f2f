//! The families of judging tokens: caches, keys of issuers, and questions to them.

use std::time::Duration;

use prometheus::{GaugeVec, Histogram, IntCounter, IntCounterVec, IntGaugeVec};

use super::{Families, Metrics, clamp, families::each_histogram};
use crate::config::Way;

pub(super) struct TokenFamilies {
    cache_requests: IntCounterVec,
    cache_entries: IntGaugeVec,
    cache_bytes: IntGaugeVec,
    cache_most: IntGaugeVec,
    cache_evictions: IntCounterVec,
    jwks_fetches: IntCounterVec,
    jwks_last_success: GaugeVec,
    jwks_max_age: IntGaugeVec,
    jwks_keys: IntGaugeVec,
    issuer_usable: IntGaugeVec,
    introspections: IntCounterVec,
    probes: IntCounterVec,
    validation: [Histogram; Method::ALL.len()],
}

/// How a token is judged that the cache does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Method {
    /// By the keys of its issuer.
    Jwt,
    Introspection,
    Probe,
    /// It is one of our own, or of a session of ours.
    Session,
    /// Name and password.
    Basic,
}

/// What came of a question to an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Asked {
    Active,
    Inactive,
    /// Active, and not for us.
    Refused,
    Saturated,
    Unavailable,
    Misconfigured,
}

/// The handles of one issuer that can be asked, in the order of [`Asked::ALL`].
pub struct InquiryMetrics([IntCounter; Asked::ALL.len()]);

/// The handles of one cache.
pub struct CacheMetrics {
    pub hit: IntCounter,
    pub miss: IntCounter,
    /// Of the misses, those that waited for what somebody else had begun to find out.
    pub coalesced: IntCounter,
    pub evictions: IntCounter,
}

pub struct CacheSnapshot<'a> {
    pub name: &'a str,
    pub entries: u64,
    pub bytes: u64,
    pub max_bytes: u64,
}

pub struct IssuerSnapshot<'a> {
    pub name: &'a str,
    pub usable: bool,
    pub keys: u64,
    /// `None`: they are not fetched from anywhere.
    pub fetched: Option<FetchedKeys>,
}

/// Keys of an issuer that are fetched again and again.
pub struct FetchedKeys {
    /// Seconds since 1970; 0: never.
    pub last_success: u64,
    /// Seconds after which they are given up.
    pub max_age: u64,
    pub succeeded: u64,
    pub failed: u64,
}

impl TokenFamilies {
    pub(super) fn new(family: &Families<'_>) -> TokenFamilies {
        let validation = family.histograms(
            "token_validation_duration_seconds",
            "Seconds that it took to judge a token, or a password, which no cache knew.",
            &["method"],
            VALIDATION_BUCKETS,
        );
        TokenFamilies {
            cache_requests: family.counters(
                "cache_requests_total",
                "Look-ups in a cache; coalesced: misses, counted as such too, that joined a question under way.",
                &["cache", "result"],
            ),
            cache_entries: family.gauges("cache_entries", "Entries of a cache.", &["cache"]),
            cache_bytes: family.gauges("cache_bytes", "Weight of a cache's entries in bytes.", &["cache"]),
            cache_most: family.gauges(
                "cache_max_bytes",
                "Bytes that a cache's entries may weigh before it gives some up.",
                &["cache"],
            ),
            cache_evictions: family.counters(
                "cache_evictions_total",
                "Entries that a cache gave up for want of room.",
                &["cache"],
            ),
            jwks_fetches: family.counters("jwks_fetches_total", "Fetches of an issuer's keys.", &["issuer", "result"]),
            jwks_last_success: family.float_gauges(
                "jwks_last_success_timestamp_seconds",
                "When an issuer's keys were last fetched, in seconds since 1970; 0: never.",
                &["issuer"],
            ),
            jwks_max_age: family.gauges(
                "jwks_max_age_seconds",
                "The age in seconds at which an issuer's keys are given up.",
                &["issuer"],
            ),
            jwks_keys: family.gauges("jwks_keys", "Usable keys of an issuer.", &["issuer"]),
            issuer_usable: family.gauges(
                "issuer_usable",
                "Whether tokens of an issuer can be judged: it has keys, or can be asked.",
                &["issuer"],
            ),
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
            validation: each_histogram(&validation, Method::ALL.map(Method::as_str)),
        }
    }
}

impl Metrics {
    pub fn cache(&self, cache: &str) -> CacheMetrics {
        let requests = |result| self.tokens.cache_requests.with_label_values(&[cache, result]);
        CacheMetrics {
            hit: requests("hit"),
            miss: requests("miss"),
            coalesced: requests("coalesced"),
            evictions: self.tokens.cache_evictions.with_label_values(&[cache]),
        }
    }

    pub fn inquiry(&self, way: &Way, issuer: &str) -> InquiryMetrics {
        let family = match way {
            Way::Introspection(_) => &self.tokens.introspections,
            Way::Probe(_) => &self.tokens.probes,
        };
        InquiryMetrics(Asked::ALL.map(|result| family.with_label_values(&[issuer, result.as_str(way)])))
    }

    /// Notes how long a token was judged that no cache knew.
    pub fn validated(&self, method: Method, took: Duration) {
        self.tokens.validation[method as usize].observe(took.as_secs_f64());
    }

    pub(super) fn observe_tokens(&self, caches: &[CacheSnapshot<'_>], issuers: &[IssuerSnapshot<'_>]) {
        let family = &self.tokens;
        for cache in caches {
            family.cache_entries.with_label_values(&[cache.name]).set(clamp(cache.entries));
            family.cache_bytes.with_label_values(&[cache.name]).set(clamp(cache.bytes));
            family.cache_most.with_label_values(&[cache.name]).set(clamp(cache.max_bytes));
        }
        // One that has keys to fetch may come to have none under the same name.
        family.jwks_last_success.reset();
        family.jwks_max_age.reset();
        for issuer in issuers {
            let name = issuer.name;
            family.issuer_usable.with_label_values(&[name]).set(i64::from(issuer.usable));
            family.jwks_keys.with_label_values(&[name]).set(clamp(issuer.keys));
            if let Some(keys) = &issuer.fetched {
                family.jwks_last_success.with_label_values(&[name]).set(keys.last_success as f64);
                family.jwks_max_age.with_label_values(&[name]).set(clamp(keys.max_age));
                self.grow(&family.jwks_fetches, &[name, "success"], name, keys.succeeded);
                self.grow(&family.jwks_fetches, &[name, "failure"], name, keys.failed);
            }
        }
    }
}

impl InquiryMetrics {
    pub fn came_to(&self, result: Asked) {
        self.0[result as usize].inc();
    }
}

impl Method {
    const ALL: [Method; 5] = [Method::Jwt, Method::Introspection, Method::Probe, Method::Session, Method::Basic];

    fn as_str(self) -> &'static str {
        match self {
            Method::Jwt => "jwt",
            Method::Introspection => "introspection",
            Method::Probe => "probe",
            Method::Session => "session",
            Method::Basic => "basic",
        }
    }
}

impl From<&Way> for Method {
    fn from(way: &Way) -> Method {
        match way {
            Way::Introspection(_) => Method::Introspection,
            Way::Probe(_) => Method::Probe,
        }
    }
}

impl Asked {
    const ALL: [Asked; 6] =
        [Asked::Active, Asked::Inactive, Asked::Refused, Asked::Saturated, Asked::Unavailable, Asked::Misconfigured];

    fn as_str(self, way: &Way) -> &'static str {
        match (self, way) {
            (Asked::Active, _) => "active",
            (Asked::Inactive, _) => "inactive",
            (Asked::Refused, _) => "refused",
            (Asked::Saturated, Way::Introspection(_)) => "introspection_saturated",
            (Asked::Unavailable, Way::Introspection(_)) => "introspection_unavailable",
            (Asked::Misconfigured, Way::Introspection(_)) => "introspection_misconfigured",
            (Asked::Saturated, Way::Probe(_)) => "probe_saturated",
            (Asked::Unavailable, Way::Probe(_)) => "probe_unavailable",
            (Asked::Misconfigured, Way::Probe(_)) => "probe_misconfigured",
        }
    }
}

/// From a signature to a slow issuer.
const VALIDATION_BUCKETS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];
