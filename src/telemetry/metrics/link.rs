//! The families of the connections to servers that hold sessions.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Families;

/// Outlives a reload.
pub struct LinkFamilies {
    connections: IntGaugeVec,
    connects: IntCounterVec,
}

/// The handles of one store.
#[derive(Clone)]
pub struct LinkMetrics {
    /// Open now.
    pub connections: IntGauge,
    pub connected: IntCounter,
    pub failed: IntCounter,
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
        }
    }

    pub fn store(&self, store: &'static str) -> LinkMetrics {
        LinkMetrics {
            connections: self.connections.with_label_values(&[store]),
            connected: self.connects.with_label_values(&[store, "ok"]),
            failed: self.connects.with_label_values(&[store, "failed"]),
        }
    }
}
