//! What `mode: observe` has let pass.

use prometheus::{IntCounter, IntCounterVec};

use super::Families;
use crate::telemetry::reason::Reason;

pub struct ObservedMetrics {
    refusals: IntCounterVec,
}

/// The handles of one route that observes; nothing for what is no refusal.
pub struct RouteObserved(Box<[Option<IntCounter>]>);

impl ObservedMetrics {
    pub(super) fn new(family: &Families<'_>) -> ObservedMetrics {
        ObservedMetrics {
            refusals: family.counters(
                "observed_refusals_total",
                "Requests that were forwarded although they would have been refused, since their route only observes.",
                &["route", "reason"],
            ),
        }
    }

    pub fn route(&self, route: &str) -> RouteObserved {
        let counter = |reason: &Reason| self.refusals.with_label_values(&[route, reason.as_str()]);
        RouteObserved(Reason::ALL.iter().map(|reason| (reason.result() != "allow").then(|| counter(reason))).collect())
    }
}

impl RouteObserved {
    pub fn refused(&self, reason: Reason) {
        if let Some(counter) = &self.0[reason as usize] {
            counter.inc();
        }
    }
}
