//! The family of rate limits.

use prometheus::IntCounter;

use super::{Families, families::each};
use crate::config::Way;

pub(super) struct LimitMetrics([IntCounter; Limited::ALL.len()]);

/// What there was too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Limited {
    /// Requests of one address on a route.
    Address,
    /// Requests of one principal on a route.
    Principal,
    /// Questions to an issuer for one address.
    Introspection,
    Probe,
    /// Attempts to sign in.
    SignIn,
    /// Wrong tokens of operators.
    Admin,
    /// Looks at the session store for one address.
    Store,
    /// Questions to the authority outside.
    Authority,
}

impl LimitMetrics {
    pub(super) fn new(family: &Families<'_>) -> LimitMetrics {
        let limited = family.counters("rate_limited_total", "Requests refused by a rate limit.", &["scope"]);
        LimitMetrics(each(&limited, Limited::ALL.map(Limited::as_str)))
    }

    pub fn count(&self, scope: Limited) {
        self.0[scope as usize].inc();
    }
}

impl From<&Way> for Limited {
    fn from(way: &Way) -> Limited {
        match way {
            Way::Introspection(_) => Limited::Introspection,
            Way::Probe(_) => Limited::Probe,
        }
    }
}

impl Limited {
    const ALL: [Limited; 8] = [
        Limited::Address,
        Limited::Principal,
        Limited::Introspection,
        Limited::Probe,
        Limited::SignIn,
        Limited::Admin,
        Limited::Store,
        Limited::Authority,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Limited::Address => "address",
            Limited::Principal => "principal",
            Limited::Introspection => "introspection",
            Limited::Probe => "probe",
            Limited::SignIn => "sign_in",
            Limited::Admin => "admin",
            Limited::Store => "store",
            Limited::Authority => "authority",
        }
    }
}
