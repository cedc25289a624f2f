//! The families of the journal beside a store that many replicas share.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use super::{Families, clamp};

/// Outlives a reload.
pub struct JournalMetrics {
    entries: IntGaugeVec,
    failures: IntCounter,
    replays: IntCounterVec,
}

/// What came of an entry that a process left behind, or that the store may have forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// The session goes on with it.
    Kept,
    /// It is kept aside: somebody has begun to renew the session since.
    Aside,
    /// The store had it.
    Known,
    /// The session is over.
    Gone,
}

impl JournalMetrics {
    pub(super) fn new(family: &Families<'_>) -> JournalMetrics {
        let failures = "Answers of an authority that could not be made durable here before the store was told.";
        let metrics = JournalMetrics {
            entries: family.gauges(
                "journal_entries",
                "Entries of the journal: those that the store has not spoken of, and those that cannot be read.",
                &["state"],
            ),
            failures: family.counters("journal_failures_total", failures, &[]).with_label_values(&[] as &[&str]),
            replays: family.counters(
                "journal_replays_total",
                "Entries of the journal that the store was told of once more, by what it said.",
                &["result"],
            ),
        };
        for replayed in [Replayed::Kept, Replayed::Aside, Replayed::Known, Replayed::Gone] {
            metrics.replays.with_label_values(&[replayed.as_str()]);
        }
        metrics
    }

    /// How the journal stands; called before each scrape where there is one.
    pub fn observe(&self, waiting: usize, unreadable: usize) {
        for (state, count) in [("waiting", waiting), ("unreadable", unreadable)] {
            self.entries.with_label_values(&[state]).set(clamp(count as u64));
        }
    }

    pub fn failed(&self) {
        self.failures.inc();
    }

    pub fn replayed(&self, result: Replayed) {
        self.replays.with_label_values(&[result.as_str()]).inc();
    }
}

impl Replayed {
    fn as_str(self) -> &'static str {
        match self {
            Replayed::Kept => "kept",
            Replayed::Aside => "aside",
            Replayed::Known => "known",
            Replayed::Gone => "gone",
        }
    }
}
