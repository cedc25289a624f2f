//! The token of the authority outside, as the upstream is shown it: never one that has expired.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{Auth, Principal, Refusal, own::unavailable};
use crate::{
    model::UnixTime,
    refresh::{NotRenewed, Renewals, Timing, Wanted, timing},
    session::{Sessions, Showing, Watched},
    telemetry::reason::Reason,
};

impl Auth {
    /// `Authorization` with the newest token that the authority outside gave for the session of `principal`. One that
    /// will be over soon is renewed beside the request; for one that is over, or has less than `need` left, the request
    /// waits.
    ///
    /// # Errors
    /// If there is none that is good, and none can be had now.
    pub async fn authority_token(
        &self,
        principal: &Principal,
        need: Duration,
        now: UnixTime,
    ) -> Result<HeaderValue, Refusal> {
        let outside = self.own.as_ref().and_then(|own| Some((&*own.sessions, own.renewals.as_deref()?)));
        // A route with this credential trusts the local authority alone, whose tokens all have a session.
        let (Some((sessions, renewals)), Some(watched)) = (outside, &principal.verdict.session) else {
            return Err(Refusal::new(Reason::TokenRevoked, "no_authority_token"));
        };
        if let Some(showing) = watched.showing()
            && let Some(good) = ready(&showing, watched, renewals, need, now)
        {
            return Ok(good);
        }
        // Apart, so that requests which need not wait do not carry what waiting takes.
        Box::pin(waited_for(watched, sessions, renewals, need)).await
    }
}

async fn waited_for(
    watched: &Arc<Watched>,
    sessions: &Sessions,
    renewals: &Renewals,
    need: Duration,
) -> Result<HeaderValue, Refusal> {
    if watched.showing().is_none() {
        // The store shows what it finds to those who watch.
        sessions.find(watched.id()).await.map_err(unavailable)?;
    }
    let showing = watched.showing().ok_or(Refusal::new(Reason::TokenRevoked, "no_authority_token"))?;
    if let Some(good) = ready(&showing, watched, renewals, need, sessions.now()) {
        return Ok(good);
    }
    if lasts(&showing, Duration::ZERO, sessions.now()) && showing.issued.until(showing.expires) < need {
        return Err(Refusal::new(Reason::Undecided, "authority_token_too_short"));
    }
    let outcome = renewals.renew(watched.id(), Wanted::ByTime { need }).await;
    // Whatever came of it: somebody else may have renewed it meanwhile.
    let good = watched.showing().filter(|showing| lasts(showing, need, sessions.now()));
    match (outcome, good) {
        // Also if it ended while the request waited for something else to become of it.
        _ if !watched.is_alive() => Err(Refusal::new(Reason::TokenRevoked, "session_revoked")),
        (Err(NotRenewed::Ended), _) => Err(Refusal::new(Reason::TokenRevoked, "authority_session_over")),
        (_, Some(showing)) => Ok(showing.authorization.clone()),
        (Err(NotRenewed::NotRenewable), None) => Err(Refusal::new(Reason::TokenExpired, "authority_token_expired")),
        (Err(NotRenewed::NotAsked { retry_after, .. }), None) => {
            Err(Refusal { retry_after: Some(retry_after), ..Refusal::new(Reason::Undecided, "authority_away") })
        }
        (Err(NotRenewed::Unavailable { retry_after, .. }), None) => {
            Err(Refusal { retry_after, ..Refusal::new(Reason::Undecided, "authority_unavailable") })
        }
        // It gives tokens that are over when they come, or too soon after.
        (Ok(_), None) => Err(Refusal::new(Reason::Undecided, "authority_token_too_short")),
    }
}

/// What may be sent without waiting.
fn ready(
    showing: &Showing,
    watched: &Arc<Watched>,
    renewals: &Renewals,
    need: Duration,
    now: UnixTime,
) -> Option<HeaderValue> {
    match timing(showing.issued, showing.expires, now, need, watched.id().into(), renewals.settings()) {
        Timing::Fresh => {}
        Timing::Soon => renewals.renew_beside(watched.id(), Wanted::ByTime { need }),
        Timing::Due => return None,
    }
    lasts(showing, need, now).then(|| showing.authorization.clone())
}

fn lasts(showing: &Showing, need: Duration, now: UnixTime) -> bool {
    let left = now.until(showing.expires);
    !left.is_zero() && left >= need
}
