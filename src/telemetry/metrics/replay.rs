//! The families of what is done about a 401 of an upstream.

use prometheus::{IntCounter, IntCounterVec};

use super::Families;

/// Outlives a reload.
pub struct ReplayMetrics {
    replays: IntCounterVec,
    forced: IntCounterVec,
}

/// The handles of one route, in the order of [`Replay::ALL`].
pub struct RouteReplays([IntCounter; Replay::ALL.len()]);

/// What came of a request that the upstream answered with 401 to a credential that sidegate can renew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Replay {
    /// Sent once more, and the answer was another one.
    Accepted,
    /// Sent once more, and it was 401 again.
    Refused,
    /// Sent once more, and there was no answer.
    Failed,
    /// Not sent: there is no other credential.
    NotRenewed,
    /// Not sent: its body was not kept.
    NotKept,
}

/// What came of the wish to renew a credential since an upstream had refused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    Renewed,
    /// That was done a moment ago.
    TooSoon,
    Failed,
    /// The authority outside says that the session is over.
    Ended,
}

/// A credential that can be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewable {
    InternalJwt,
    AuthorityToken,
    Service,
}

impl ReplayMetrics {
    pub(super) fn new(family: &Families<'_>) -> ReplayMetrics {
        let metrics = ReplayMetrics {
            replays: family.counters(
                "replays_total",
                "Requests that an upstream answered with 401 to a renewable credential, by what came of them.",
                &["route", "result"],
            ),
            forced: family.counters(
                "forced_renewals_total",
                "Credentials to be renewed since an upstream had refused them, by what came of it.",
                &["credential", "result"],
            ),
        };
        for credential in [Renewable::InternalJwt, Renewable::AuthorityToken, Renewable::Service] {
            for result in [Forced::Renewed, Forced::TooSoon, Forced::Failed, Forced::Ended] {
                metrics.forced.with_label_values(&[credential.as_str(), result.as_str()]);
            }
        }
        metrics
    }

    pub fn route(&self, route: &str) -> RouteReplays {
        RouteReplays(Replay::ALL.map(|result| self.replays.with_label_values(&[route, result.as_str()])))
    }

    pub fn forced(&self, credential: Renewable, result: Forced) {
        self.forced.with_label_values(&[credential.as_str(), result.as_str()]).inc();
    }
}

impl RouteReplays {
    pub fn came_to(&self, result: Replay) {
        self.0[result as usize].inc();
    }
}

impl Replay {
    const ALL: [Replay; 5] = [Replay::Accepted, Replay::Refused, Replay::Failed, Replay::NotRenewed, Replay::NotKept];

    fn as_str(self) -> &'static str {
        match self {
            Replay::Accepted => "accepted",
            Replay::Refused => "refused",
            Replay::Failed => "failed",
            Replay::NotRenewed => "not_renewed",
            Replay::NotKept => "not_kept",
        }
    }
}

impl Forced {
    fn as_str(self) -> &'static str {
        match self {
            Forced::Renewed => "renewed",
            Forced::TooSoon => "too_soon",
            Forced::Failed => "failed",
            Forced::Ended => "ended",
        }
    }
}

impl Renewable {
    fn as_str(self) -> &'static str {
        match self {
            Renewable::InternalJwt => "internal_jwt",
            Renewable::AuthorityToken => "authority_token",
            Renewable::Service => "service",
        }
    }
}
