//! How the authority was when it was last asked: nobody asks it only to know.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::model::{ErrorCode, TokenError, UnixTime};

#[derive(Default)]
pub(super) struct Health(Mutex<Seen>);

/// What `/readyz` and `/status` say of the authority outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// When it last gave or refused something, as it should.
    pub last_answer: Option<UnixTime>,
    /// Why the last question had no answer; `None` if it had one, or nothing was asked yet. No secret.
    pub last_error: Option<String>,
}

impl Health {
    pub(super) fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note<T>(&self, outcome: Result<T, &TokenError>, now: UnixTime) {
        let failure = outcome.err().filter(|error| is_its_own(error.code));
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None => *seen = Seen { last_answer: Some(now), last_error: None },
            Some(error) => {
                let cause = error.cause.as_deref().unwrap_or_else(|| error.code.as_str());
                if seen.last_error.is_none() {
                    tracing::warn!(cause, "the authority outside does not answer as it should");
                }
                seen.last_error = Some(cause.to_owned());
            }
        }
    }
}

/// Whether an error is the authority's own, or ours towards it, and not that of whoever presented something.
fn is_its_own(code: ErrorCode) -> bool {
    match code {
        ErrorCode::InvalidGrant => false,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidClient
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope
        | ErrorCode::InvalidTarget
        | ErrorCode::UnsupportedTokenType
        | ErrorCode::TemporarilyUnavailable
        | ErrorCode::ServerError => true,
    }
}
