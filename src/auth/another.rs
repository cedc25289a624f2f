//! Another credential, since the upstream has refused the one that it was shown.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{
    Auth, Principal, Refusal,
    profile::Another,
    verdict::{Prepared, Standing},
};
use crate::{
    model::UnixTime,
    refresh::service,
    session::Showing,
    telemetry::{
        metrics::{Forced, Renewable},
        reason::Reason,
    },
};

/// What an upstream was shown, as far as sidegate can renew it.
#[derive(Debug, Default)]
pub enum Shown {
    InternalJwt(Arc<Prepared>),
    AuthorityToken(Arc<Showing>),
    Service(service::Shown),
    #[default]
    Other,
}

/// Why there is no other credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOther {
    /// And nothing else is known: what the upstream says stands.
    None,
    /// Whoever asks is no longer who they were.
    Over(Refusal),
}

impl Auth {
    /// `Authorization` for `upstream` in place of `shown`, which it has refused. What somebody else has renewed since is
    /// taken; otherwise it is renewed, at most once in 30 seconds for each token of a client, for each session where it is one
    /// of the authority outside, or for all where it is one of sidegate's own.
    ///
    /// # Errors
    /// If there is none, or `principal` may not be vouched for any more.
    pub async fn another(
        &self,
        principal: &Principal,
        upstream: usize,
        shown: &Shown,
        need: Duration,
        now: UnixTime,
    ) -> Result<HeaderValue, NoOther> {
        match principal.verdict.standing(now) {
            Standing::Good => {}
            Standing::Ended => return Err(over("ended_meanwhile")),
            // It would have to be judged anew, and the answer is there.
            Standing::Expired | Standing::Stale => return Err(NoOther::None),
        }
        match shown {
            Shown::InternalJwt(seen) => self.another_jwt(principal, upstream, seen, need, now),
            Shown::AuthorityToken(seen) => {
                let showing = self.another_authority_token(principal, seen, need, now).await?;
                Ok(showing.authorization.clone())
            }
            Shown::Service(seen) => self.another_service_token(upstream, seen, need).await,
            Shown::Other => Err(NoOther::None),
        }
    }

    /// The same for those who come next.
    pub fn another_beside(&self, principal: &Principal, upstream: usize, shown: &Shown, need: Duration, now: UnixTime) {
        match shown {
            _ if principal.verdict.standing(now) != Standing::Good => {}
            Shown::InternalJwt(seen) => drop(self.another_jwt(principal, upstream, seen, need, now)),
            Shown::AuthorityToken(seen) => self.another_authority_token_beside(principal, seen),
            Shown::Service(seen) => self.another_service_token_beside(upstream, seen, need, now),
            Shown::Other => {}
        }
    }

    fn another_jwt(
        &self,
        principal: &Principal,
        upstream: usize,
        seen: &Arc<Prepared>,
        need: Duration,
        now: UnixTime,
    ) -> Result<HeaderValue, NoOther> {
        let profile = self.profiles.of(upstream);
        let another =
            self.profiles.prepare_another(profile, &principal.verdict, self.minter.as_deref(), seen, need, now);
        let (prepared, told) = match another {
            Ok(Another::Made(prepared)) => (Some(prepared), Some(Forced::Renewed)),
            Ok(Another::There(prepared)) => (Some(prepared), None),
            Ok(Another::TooSoon) => (None, Some(Forced::TooSoon)),
            Err(error) => {
                tracing::error!(%error, "an internal token that an upstream has refused stays");
                (None, Some(Forced::Failed))
            }
        };
        if let Some(told) = told {
            self.metrics.replay.forced(Renewable::InternalJwt, told);
        }
        prepared.and_then(|prepared| prepared.credential.clone()).ok_or(NoOther::None)
    }
}

pub(super) fn over(code: &'static str) -> NoOther {
    NoOther::Over(Refusal::new(Reason::TokenRevoked, code))
}
