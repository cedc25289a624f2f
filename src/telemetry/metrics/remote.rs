//! The families of the authority outside.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Families, OK, REQUEST_BUCKETS, THROTTLED};
use crate::model::{ErrorCode, GrantType, TokenError};

/// What is asked of an authority outside. It outlives a reload.
pub struct RemoteMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    id_tokens: IntCounterVec,
    breaker_state: IntGaugeVec,
    breaker_opened: IntCounterVec,
    breaker_refused: IntCounterVec,
}

/// How the breaker of the authority outside stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
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
                &["authority", "dialect", "grant", "result"],
            ),
            duration: family.histograms(
                "authority_request_duration_seconds",
                "Seconds that the authority outside took to answer, or not to.",
                &["authority", "dialect", "grant"],
                REQUEST_BUCKETS,
            ),
            id_tokens: family.counters(
                "authority_id_tokens_total",
                "ID tokens of the authority outside, by what came of them.",
                &["result"],
            ),
            breaker_state: family.gauges(
                "authority_breaker_state",
                "How the breaker of the authority outside stands: 1 at the state that it is in.",
                &["authority", "state"],
            ),
            breaker_opened: family.counters(
                "authority_breaker_opened_total",
                "How often the authority outside was found to be away, so that nothing was asked for a while.",
                &["authority"],
            ),
            breaker_refused: family.counters(
                "authority_breaker_refused_total",
                "Questions that were not put to the authority outside, since it was away.",
                &["authority"],
            ),
        };
        for result in IdToken::ALL {
            metrics.id_tokens.with_label_values(&[result.as_str()]);
        }
        metrics
    }

    /// Counts one question to `authority`, which `outcome` is the answer to.
    pub fn asked<T>(
        &self,
        authority: &str,
        dialect: &str,
        grant: GrantType,
        outcome: Result<T, &TokenError>,
        took: Duration,
    ) {
        let result = match outcome {
            Ok(_) => OK,
            Err(error) if error.throttled.is_some() => THROTTLED,
            Err(error) => error.code.as_str(),
        };
        self.requests.with_label_values(&[authority, dialect, grant.as_str(), result]).inc();
        self.duration.with_label_values(&[authority, dialect, grant.as_str()]).observe(took.as_secs_f64());
    }

    /// So that its counters are there before they count anything: `grants` are what it may be asked for.
    pub fn prepare(&self, authority: &str, dialect: &str, grants: &[GrantType]) {
        for grant in grants {
            for result in ErrorCode::ALL.map(ErrorCode::as_str).into_iter().chain([OK, THROTTLED]) {
                self.requests.with_label_values(&[authority, dialect, grant.as_str(), result]);
            }
            self.duration.with_label_values(&[authority, dialect, grant.as_str()]);
        }
        self.breaker_opened.with_label_values(&[authority]);
        self.breaker_refused.with_label_values(&[authority]);
    }

    pub fn breaker_opened(&self, authority: &str) {
        self.breaker_opened.with_label_values(&[authority]).inc();
    }

    pub fn breaker_refused(&self, authority: &str) {
        self.breaker_refused.with_label_values(&[authority]).inc();
    }

    /// How all of them stand; called before each scrape, since a rest that is over changes nothing by itself.
    pub(super) fn observe_breakers(&self, breakers: &[(&str, BreakerState)]) {
        // Of one that a reload took away nothing is known.
        self.breaker_state.reset();
        for &(authority, now) in breakers {
            for state in BreakerState::ALL {
                let series = self.breaker_state.with_label_values(&[authority, state.as_str()]);
                series.set(i64::from(state == now));
            }
        }
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

impl BreakerState {
    const ALL: [BreakerState; 3] = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen];

    fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}
