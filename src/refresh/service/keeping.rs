//! The task that keeps a service token good, and each of its attempts.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{Kept, LONGEST_PAUSE, Shared, Shown};
use crate::{
    backoff,
    model::{ErrorCode, Grant, Secret, TokenError, TokenGrant, UnixTime},
    refresh::renews_from,
    telemetry::{
        audit::{Entry, Event},
        metrics::{Forced, Renewable, Renewal},
    },
};

/// What an attempt came to.
type Outcome = Result<(TokenGrant, Renewal), Failed>;

/// Why there is no new token.
struct Failed {
    renewal: Renewal,
    /// For people; no secret.
    cause: String,
    /// Seconds, where the authority said so.
    retry_after: Option<u64>,
}

impl Shared {
    pub(super) async fn keep_good(self: Arc<Shared>) {
        loop {
            tokio::select! {
                () = self.time.sleep_until(self.next()) => {}
                () = self.wake.notified() => {}
            }
            let wanted = std::mem::take(&mut self.state().wanted);
            // Looked at anew: what woke it may be that there is another one now, or that nobody wants it.
            if wanted || self.time.now() >= self.next() {
                self.renew().await;
            }
        }
    }

    /// When the token is asked for if nobody wants it earlier.
    fn next(&self) -> UnixTime {
        let (state, now) = (self.state(), self.time.now());
        if state.retired && self.ended.receiver_count() == 0 {
            return UnixTime(u64::MAX);
        }
        if let Some(until) = state.rests_until {
            // Further away than any pause is long: the clock was set back.
            return if now.until(until) > LONGEST_PAUSE { now } else { until };
        }
        let kept = self.kept.load();
        let Some(kept) = kept.as_ref() else { return UnixTime(0) };
        // Whatever it says of itself, not without a pause.
        let soonest = state.last_attempt.filter(|at| *at <= now).map_or(UnixTime(0), |at| at.plus(1));
        if !kept.lasts(Duration::ZERO, now) {
            return soonest;
        }
        renews_from(kept.issued, kept.expires, self.spread, &self.refresh).max(soonest)
    }

    async fn renew(self: &Arc<Shared>) {
        let span = {
            let mut state = self.state();
            state.under_way = true;
            state.span.clone()
        };
        // On its own: an attempt that breaks must not end all the others.
        let outcome = self.background.spawn(span.around(self.clone().attempt())).await;
        self.settle(outcome.unwrap_or_else(|_| Err(Failed::unavailable("the attempt was cut short"))));
        self.ended.send_modify(|ended| *ended += 1);
    }

    async fn attempt(self: Arc<Shared>) -> Outcome {
        // Once only, since a lost answer may have spent it; nothing hangs on it.
        let refresh_token = self.state().refresh_token.take();
        if let Some(token) = refresh_token {
            match self.remote.ask(Grant::RefreshToken { token: token.clone() }, None, self.time.now()).await {
                Ok(given) => {
                    // Without a new one the old one stays good (RFC 6749, section 6).
                    let refresh_token = given.refresh_token.clone().or(Some(token));
                    return Ok((TokenGrant { refresh_token, ..given }, Renewal::Refreshed));
                }
                Err(error) if refuses_refresh(error.code) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let given = self.remote.ask(self.settings.grant(), None, self.time.now()).await?;
        Ok((given, Renewal::Obtained))
    }

    /// Takes over what an attempt brought.
    fn settle(&self, outcome: Outcome) {
        let now = self.time.now();
        let kept = outcome.and_then(|(given, how)| Ok((self.kept(&given, now)?, given.refresh_token, how)));
        let mut state = self.state();
        state.under_way = false;
        state.last_attempt = Some(now);
        let by_force = std::mem::take(&mut state.by_force);
        let renewal = match kept {
            Ok((kept, refresh_token, how)) => {
                if state.failures > 0 {
                    tracing::info!(upstream = &*self.upstream, "the service token is renewed again");
                }
                self.kept.store(Some(Arc::new(kept)));
                state.refresh_token = refresh_token;
                state.failures = 0;
                state.rests_until = None;
                state.last_error = None;
                how
            }
            Err(Failed { renewal, cause, retry_after }) => {
                if state.failures == 0 {
                    tracing::warn!(
                        upstream = &*self.upstream,
                        cause,
                        "the service token cannot be had; one that is good is used, and it is tried again"
                    );
                }
                state.failures = state.failures.saturating_add(1);
                let asked_for = Duration::from_secs(retry_after.unwrap_or(0)).min(LONGEST_PAUSE);
                // Whoever refuses us will go on doing so, and may lock an account that is tried too often.
                let longest = if renewal == Renewal::Misconfigured { LONGEST_PAUSE } else { LONGEST_BACKOFF };
                let pause = backoff::pause(state.failures, longest, backoff::chance()).max(asked_for);
                state.rests_until = Some(now.plus(pause.as_secs()));
                state.last_error = Some(cause);
                renewal
            }
        };
        let failed = state.last_error.is_some();
        let span = std::mem::take(&mut state.span);
        drop(state);
        span.end("renew service_token", if failed { "unavailable" } else { "renewed" }, failed);
        if by_force {
            self.metrics.replay.forced(Renewable::Service, if failed { Forced::Failed } else { Forced::Renewed });
        }
        self.note(renewal);
    }

    fn kept(&self, given: &TokenGrant, now: UnixTime) -> Result<Kept, Failed> {
        let expires = given.issued.plus(given.expires_in);
        if expires <= now {
            return Err(Failed::unavailable("the authority's token is over when it comes"));
        }
        let value = Secret::new(format!("Bearer {}", given.access_token.expose()));
        let mut authorization = HeaderValue::from_str(value.expose())
            .map_err(|_| Failed::unavailable("the authority's token holds what no header may hold"))?;
        authorization.set_sensitive(true);
        let generation = self.kept.load().as_ref().map_or(0, |kept| kept.shown.generation) + 1;
        Ok(Kept { shown: Shown { authorization, generation }, issued: given.issued, expires })
    }

    fn note(&self, renewal: Renewal) {
        self.metrics.oauth.service_renewed(renewal);
        let event = match renewal {
            Renewal::Refreshed | Renewal::Obtained => Event::ServiceRenewed,
            _ => Event::ServiceNotRenewed,
        };
        let mut entry = Entry::new(event, None);
        entry.upstream = Some(&self.upstream);
        entry.reason = Some(renewal.reason());
        entry.write();
    }
}

impl Failed {
    fn unavailable(cause: &str) -> Failed {
        Failed { renewal: Renewal::Unavailable, cause: cause.to_owned(), retry_after: None }
    }
}

impl From<TokenError> for Failed {
    fn from(error: TokenError) -> Failed {
        let renewal = match error.code {
            _ if error.throttled.is_some() => Renewal::Throttled,
            ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError => Renewal::Unavailable,
            ErrorCode::InvalidRequest
            | ErrorCode::InvalidClient
            | ErrorCode::InvalidGrant
            | ErrorCode::UnauthorizedClient
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::InvalidScope
            | ErrorCode::InvalidTarget
            | ErrorCode::UnsupportedTokenType => Renewal::Misconfigured,
        };
        let cause = error.cause.as_deref().unwrap_or_else(|| error.code.as_str()).to_owned();
        Failed { renewal, cause, retry_after: error.throttled.or(error.retry_after) }
    }
}

/// Whether the authority does not take the refresh token, or none at all; what it says of us stays true without one.
fn refuses_refresh(code: ErrorCode) -> bool {
    match code {
        ErrorCode::InvalidGrant
        | ErrorCode::InvalidRequest
        | ErrorCode::InvalidScope
        | ErrorCode::InvalidTarget
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::UnsupportedTokenType => true,
        ErrorCode::InvalidClient | ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError => false,
    }
}

const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
