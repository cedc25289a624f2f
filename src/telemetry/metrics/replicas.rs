//! The families of what replicas hear of each other through the store that they share.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Families, Metrics};

/// Outlives a reload.
pub struct ReplicaMetrics {
    heard: IntGaugeVec,
    ahead: IntGaugeVec,
    looked_up: IntCounterVec,
    repeated: IntCounterVec,
}

/// How it stands with the others, read at a scrape.
pub struct ReplicasSnapshot {
    pub store: &'static str,
    pub heard: bool,
    /// Seconds that the store's clock is ahead of ours.
    pub ahead: i64,
    pub kept: u64,
    pub ended: u64,
    pub doubted: u64,
    pub repeated: u64,
}

impl ReplicaMetrics {
    pub(super) fn new(family: &Families<'_>) -> ReplicaMetrics {
        ReplicaMetrics {
            heard: family.gauges(
                "session_news_heard",
                "Whether this replica hears at once what others do; 0: revocations may come late.",
                &["store"],
            ),
            ahead: family.gauges(
                "session_store_clock_ahead_seconds",
                "Seconds by which the session store's clock is ahead of this replica's.",
                &["store"],
            ),
            looked_up: family.counters(
                "session_looks_total",
                "Cached sessions that were looked up in the store since something may not have been heard, by what came of it; \
                 doubted: they could not be in time.",
                &["store", "result"],
            ),
            repeated: family.counters(
                "session_revocations_repeated_total",
                "Revocations that the store had lost, and that this replica made once more.",
                &["store"],
            ),
        }
    }
}

impl Metrics {
    pub(super) fn observe_replicas(&self, snapshot: &ReplicasSnapshot) {
        let (store, replicas) = (snapshot.store, &self.replicas);
        replicas.heard.with_label_values(&[store]).set(i64::from(snapshot.heard));
        replicas.ahead.with_label_values(&[store]).set(snapshot.ahead);
        for (result, total) in [("kept", snapshot.kept), ("ended", snapshot.ended), ("doubted", snapshot.doubted)] {
            self.grow(&replicas.looked_up, &[store, result], store, total);
        }
        self.grow(&replicas.repeated, &[store], store, snapshot.repeated);
    }
}
