//! The families of the authority outside.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use super::{Families, OK, REQUEST_BUCKETS, THROTTLED};
use crate::model::{GrantType, TokenError};

/// What is asked of an authority outside. It outlives a reload.
pub struct RemoteMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    id_tokens: IntCounterVec,
}

/// What came of an ID token that the authority gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdToken {
    Accepted,
    Refused,
    /// The keys to verify it with were not there.
    Undecided,
}

impl RemoteMetrics {
    pub(super) fn new(family: &Families<'_>) -> RemoteMetrics {
        let metrics = RemoteMetrics {
            requests: family.counters(
                "authority_requests_total",
                "Questions to the authority outside, by what came of them.",
                &["dialect", "grant", "result"],
            ),
            duration: family.histograms(
                "authority_request_duration_seconds",
                "How long the authority outside took to answer, or not to.",
                &["dialect", "grant"],
                REQUEST_BUCKETS,
            ),
            id_tokens: family.counters(
                "authority_id_tokens_total",
                "ID tokens of the authority outside, by what came of them.",
                &["result"],
            ),
        };
        for result in IdToken::ALL {
            metrics.id_tokens.with_label_values(&[result.as_str()]);
        }
        metrics
    }

    /// Counts one question, which `outcome` is the answer to.
    pub fn asked<T>(&self, dialect: &str, grant: GrantType, outcome: Result<T, &TokenError>, took: Duration) {
        let result = match outcome {
            Ok(_) => OK,
            Err(error) if error.throttled.is_some() => THROTTLED,
            Err(error) => error.code.as_str(),
        };
        self.requests.with_label_values(&[dialect, grant.as_str(), result]).inc();
        self.duration.with_label_values(&[dialect, grant.as_str()]).observe(took.as_secs_f64());
    }

    pub fn id_token(&self, result: IdToken) {
        self.id_tokens.with_label_values(&[result.as_str()]).inc();
    }
}

impl IdToken {
    const ALL: [IdToken; 3] = [IdToken::Accepted, IdToken::Refused, IdToken::Undecided];

    fn as_str(self) -> &'static str {
        match self {
            IdToken::Accepted => "accepted",
            IdToken::Refused => "refused",
            IdToken::Undecided => "undecided",
        }
    }
}
