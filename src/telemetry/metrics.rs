//! The metric families, prefix `sidegate_`. The only room that names the `prometheus` crate's types.
//!
//! Handles are resolved once per configuration; a request only increments atomics. `docs/metrics.md` says what each family
//! tells, and a test holds it to what is written out here.

mod families;
mod journal;
mod limits;
mod link;
mod listeners;
mod oauth;
mod observed;
mod program;
mod remote;
mod replay;
mod replicas;
mod requests;
#[cfg(feature = "otlp")]
mod spans;
#[cfg(test)]
mod tests;
mod tokens;
mod upstreams;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use arc_swap::ArcSwapOption;
use prometheus::{IntCounterVec, Registry, TextEncoder};

use self::families::{Families, Family};
#[cfg(feature = "otlp")]
pub use self::spans::*;
pub use self::{
    families::{Names, bounded},
    journal::*,
    limits::Limited,
    link::*,
    listeners::*,
    oauth::*,
    observed::*,
    program::ProgramMetrics,
    remote::*,
    replay::*,
    replicas::*,
    requests::*,
    tokens::*,
    upstreams::*,
};

/// The media type of the text exposition format.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every family of the process. It outlives a reload.
pub struct Metrics {
    registry: Registry,
    /// The `process_*` families, which carry no prefix.
    process: Registry,
    families: Vec<Box<dyn Family>>,
    requests: requests::RequestFamilies,
    listeners: listeners::ListenerFamilies,
    upstreams: upstreams::UpstreamFamilies,
    tokens: tokens::TokenFamilies,
    limits: limits::LimitMetrics,
    pub program: ProgramMetrics,
    /// The token endpoints and their sessions.
    pub oauth: OauthMetrics,
    pub remote: RemoteMetrics,
    pub replay: ReplayMetrics,
    pub observed: ObservedMetrics,
    pub journal: JournalMetrics,
    pub link: LinkFamilies,
    #[cfg(feature = "otlp")]
    pub spans: SpanMetrics,
    replicas: ReplicaMetrics,
    /// Of the configuration in force; `None` before there is one.
    names: ArcSwapOption<Names>,
    /// Totals that are kept elsewhere as plain atomics: last value seen, so that only the growth is added.
    seen: Mutex<HashMap<Seen, u64>>,
    scraping: Mutex<()>,
}

/// Family and labels, and the name of what keeps the total.
#[derive(PartialEq, Eq, Hash)]
struct Seen {
    series: String,
    source: String,
}

impl Metrics {
    pub fn new() -> Metrics {
        let registry = Registry::new_custom(Some("sidegate".into()), None).expect("a valid prefix");
        let family = Families { registry: &registry, all: RefCell::default() };
        Metrics {
            requests: requests::RequestFamilies::new(&family),
            listeners: listeners::ListenerFamilies::new(&family),
            upstreams: upstreams::UpstreamFamilies::new(&family),
            tokens: tokens::TokenFamilies::new(&family),
            limits: limits::LimitMetrics::new(&family),
            program: ProgramMetrics::new(&family),
            oauth: OauthMetrics::new(&family),
            remote: RemoteMetrics::new(&family),
            replay: ReplayMetrics::new(&family),
            observed: ObservedMetrics::new(&family),
            journal: JournalMetrics::new(&family),
            link: LinkFamilies::new(&family),
            replicas: ReplicaMetrics::new(&family),
            #[cfg(feature = "otlp")]
            spans: SpanMetrics::new(&family),
            names: ArcSwapOption::empty(),
            seen: Mutex::default(),
            scraping: Mutex::default(),
            process: process_registry(),
            families: family.all.into_inner(),
            registry,
        }
    }

    /// Counts one request that was refused since there were too many.
    pub fn rate_limited(&self, scope: Limited) {
        self.limits.count(scope);
    }

    /// Lets go of the series that tell of what is not in the configuration any more. To be called once the new one is in
    /// force: what still goes on under the old one counts where nobody looks.
    pub fn keep_only(&self, names: Names) {
        for family in &self.families {
            family.retire(&names);
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|seen, _| names.know(&seen.source));
        self.names.store(Some(names.into()));
    }

    /// The text exposition format 0.0.4, with what is counted elsewhere.
    pub fn scrape(&self, snapshot: &Snapshot<'_>) -> Vec<u8> {
        // What only the snapshot tells is removed before it is set: nobody else may look meanwhile.
        let _alone = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        self.observe(snapshot);
        self.render()
    }

    fn observe(&self, snapshot: &Snapshot<'_>) {
        self.program.observe(snapshot.generation, snapshot.workers, snapshot.ready);
        self.observe_tokens(&snapshot.caches, &snapshot.issuers);
        self.observe_listeners(&snapshot.listeners, &snapshot.limits, &snapshot.certificates);
        self.observe_upstreams(&snapshot.upstreams, &snapshot.services);
        self.remote.observe_breakers(&snapshot.breakers);
        if let Some(replicas) = &snapshot.replicas {
            self.observe_replicas(replicas);
        }
    }

    /// What is counted here. Families without any series are announced all the same.
    pub fn render(&self) -> Vec<u8> {
        let mut text = String::with_capacity(64 * 1024);
        let mut ours = self.registry.gather();
        if let Some(names) = &*self.names.load() {
            // A configuration that was refused, or whatever still goes on under an old one, may have made others.
            names.filter(&mut ours);
        }
        for families in [&ours, &self.process.gather()] {
            if let Err(error) = TextEncoder::new().encode_utf8(families, &mut text) {
                tracing::error!(%error, "metrics could not be written");
            }
        }
        for family in &self.families {
            let name = format!("{PREFIX}{}", family.name());
            if !ours.iter().any(|ours| ours.name() == name) {
                family.announce(PREFIX, &mut text);
            }
        }
        text.into_bytes()
    }

    /// Brings a counter to `total`, a number that only grows elsewhere, with `source`, which is a name of the configuration
    /// (and starts anew with a new one of that name).
    fn grow(&self, family: &IntCounterVec, labels: &[&str], source: &str, total: u64) {
        let counter = family.with_label_values(labels);
        let seen = Seen { series: format!("{}|{}", family.name(), labels.join("|")), source: source.to_owned() };
        let last = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(seen, total).unwrap_or(0);
        counter.inc_by(if total >= last { total - last } else { total });
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

/// What other rooms count by themselves, read at a scrape.
#[derive(Default)]
pub struct Snapshot<'a> {
    pub generation: u64,
    pub workers: usize,
    pub ready: bool,
    pub caches: Vec<CacheSnapshot<'a>>,
    pub issuers: Vec<IssuerSnapshot<'a>>,
    pub listeners: Vec<ListenerSnapshot<'a>>,
    /// Connections that each listener may have.
    pub limits: Vec<(&'a str, u64)>,
    pub certificates: Vec<CertificateSnapshot<'a>>,
    pub upstreams: Vec<UpstreamSnapshot<'a>>,
    pub services: Vec<ServiceSnapshot<'a>>,
    /// The authorities outside, by name.
    pub breakers: Vec<(&'a str, BreakerState)>,
    /// `None`: there are no others.
    pub replicas: Option<ReplicasSnapshot>,
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

const PREFIX: &str = "sidegate_";

const REQUEST_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
