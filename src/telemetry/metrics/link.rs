//! The families of the connections to servers that hold sessions.

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Families;

/// Outlives a reload.
pub struct LinkFamilies {
    connections: IntGaugeVec,
    connects: IntCounterVec,
    hears: IntGaugeVec,
    ahead: GaugeVec,
}

/// The handles of one store.
#[derive(Clone)]
pub struct LinkMetrics {
    /// Open now.
    pub connections: IntGauge,
    pub connected: IntCounter,
    pub failed: IntCounter,
    /// 1 while what other replicas do is heard of.
    pub hears: IntGauge,
    /// Of the servers' clock, in seconds.
    pub ahead: prometheus::Gauge,
}

impl LinkFamilies {
    pub(super) fn new(family: &Families<'_>) -> LinkFamilies {
        LinkFamilies {
            connections: family.gauges(
                "session_store_connections",
                "Open connections to the servers of the session store.",
                &["store"],
            ),
            connects: family.counters(
                "session_store_connects_total",
                "Attempts to connect to a server of the session store.",
                &["store", "result"],
            ),
            hears: family.gauges(
                "session_store_hears_replicas",
                "Whether what other replicas do with sessions is heard of at once.",
                &["store"],
            ),
            ahead: family.float_gauges(
                "session_store_clock_ahead_seconds",
                "How far the clock of the session store is ahead of this process's.",
                &["store"],
            ),
        }
    }

    pub fn store(&self, store: &'static str) -> LinkMetrics {
        LinkMetrics {
            connections: self.connections.with_label_values(&[store]),
            connected: self.connects.with_label_values(&[store, "ok"]),
            failed: self.connects.with_label_values(&[store, "failed"]),
            hears: self.hears.with_label_values(&[store]),
            ahead: self.ahead.with_label_values(&[store]),
        }
    }
}
