//! Spans on their way to a collector.

use prometheus::{IntCounter, IntCounterVec};

use super::families::Families;

pub struct SpanMetrics {
    dropped: IntCounterVec,
    exported: IntCounter,
}

/// Why a span never came to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostSpan {
    /// Too many waited already.
    NoRoom,
    /// It did not answer, or had no time, again and again.
    Unanswered,
    /// It does not want them.
    Refused,
}

impl LostSpan {
    const ALL: [LostSpan; 3] = [LostSpan::NoRoom, LostSpan::Unanswered, LostSpan::Refused];

    fn as_str(self) -> &'static str {
        match self {
            LostSpan::NoRoom => "no_room",
            LostSpan::Unanswered => "unanswered",
            LostSpan::Refused => "refused",
        }
    }
}

impl SpanMetrics {
    pub(super) fn new(family: &Families<'_>) -> SpanMetrics {
        let dropped =
            family.counters("spans_dropped_total", "Spans that never came to the collector, and why.", &["reason"]);
        for reason in LostSpan::ALL {
            dropped.with_label_values(&[reason.as_str()]);
        }
        SpanMetrics { dropped, exported: family.counter("spans_exported_total", "Spans that the collector has taken.") }
    }

    pub fn lost(&self, why: LostSpan, count: u64) {
        self.dropped.with_label_values(&[why.as_str()]).inc_by(count);
    }

    pub fn sent(&self, count: u64) {
        self.exported.inc_by(count);
    }
}
