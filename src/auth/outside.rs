//! The token of the authority outside, as the upstream is shown it: never one that has expired.

use std::{sync::Arc, time::Duration};

use super::{
    Auth, Principal, Refusal,
    another::{NoOther, over},
    own::unavailable,
};
use crate::{
    model::UnixTime,
    refresh::{NotRenewed, Renewals, Timing, Wanted, left, timing},
    session::{Sessions, Showing, Watched},
    telemetry::{
        metrics::{Forced, Renewable},
        reason::Reason,
    },
};

impl Auth {
    /// The newest token that the authority outside gave for the session of `principal`. One that will be over soon is
    /// renewed beside the request; for one that is over, or has less than `need` left, the request waits.
    ///
    /// # Errors
    /// If there is none that is good, and none can be had now.
    pub async fn authority_token(
        &self,
        principal: &Principal,
        need: Duration,
        now: UnixTime,
    ) -> Result<Arc<Showing>, Refusal> {
        let outside = self.own.as_ref().and_then(|own| Some((&*own.sessions, own.renewals.as_deref()?)));
        // A route with this credential trusts the local authority alone, whose tokens all have a session.
        let (Some((sessions, renewals)), Some(watched)) = (outside, &principal.verdict.session) else {
            return Err(Refusal::new(Reason::TokenRevoked, "no_authority_token"));
        };
        if let Some(showing) = watched.showing()
            && is_ready(&showing, watched, renewals, need, sessions.on_its_clock(now))
        {
            return Ok(showing);
        }
        // Apart, so that requests which need not wait do not carry what waiting takes.
        Box::pin(waited_for(watched, sessions, renewals, need)).await
    }

    /// One that is newer than `seen`, which the upstream has refused. Nobody asks the authority for it twice in 30 seconds.
    ///
    /// # Errors
    /// If there is none, or the session has ended.
    pub(super) async fn another_authority_token(
        &self,
        principal: &Principal,
        seen: &Showing,
        need: Duration,
        now: UnixTime,
    ) -> Result<Arc<Showing>, NoOther> {
        let own = self.own.as_ref().and_then(|own| Some((&*own.sessions, own.renewals.as_deref()?)));
        let (Some((sessions, renewals)), Some(watched)) = (own, &principal.verdict.session) else {
            return Err(NoOther::None);
        };
        let now = sessions.on_its_clock(now);
        let newer = || {
            let showing = watched.showing().filter(|showing| showing.generation > seen.generation)?;
            // An authority may give the same one again.
            (showing.authorization != seen.authorization && lasts(&showing, need, now)).then_some(showing)
        };
        if let Some(newer) = newer() {
            return Ok(newer);
        }
        // Twice: the first time it may join a renewal that finds nothing to do, since it was wanted by time.
        for _ in 0..2 {
            let outcome = renewals.force(watched.id(), seen.generation).await;
            if !watched.is_alive() {
                return Err(over("session_revoked"));
            }
            if let Some(newer) = newer() {
                return Ok(newer);
            }
            match outcome {
                Some(Ok(session)) if session.state.vouched.is_some_and(|now| now.generation > seen.generation) => break,
                Some(Ok(_)) => {}
                Some(Err(NotRenewed::Ended)) => return Err(over("authority_session_over")),
                Some(Err(_)) => break,
                None => {
                    self.metrics.replay.forced(Renewable::AuthorityToken, Forced::TooSoon);
                    break;
                }
            }
        }
        Err(NoOther::None)
    }

    /// The same for those who come next: nobody waits for it.
    pub(super) fn another_authority_token_beside(&self, principal: &Principal, seen: &Showing) {
        let renewals = self.own.as_ref().and_then(|own| own.renewals.as_deref());
        let (Some(renewals), Some(watched)) = (renewals, &principal.verdict.session) else { return };
        if watched.showing().is_none_or(|showing| showing.generation <= seen.generation)
            && !renewals.force_beside(watched.id(), seen.generation)
        {
            self.metrics.replay.forced(Renewable::AuthorityToken, Forced::TooSoon);
        }
    }
}

async fn waited_for(
    watched: &Arc<Watched>,
    sessions: &Sessions,
    renewals: &Renewals,
    need: Duration,
) -> Result<Arc<Showing>, Refusal> {
    if watched.showing().is_none() {
        // The store shows what it finds to those who watch.
        sessions.find(watched.id()).await.map_err(unavailable)?;
    }
    let showing = watched.showing().ok_or(Refusal::new(Reason::TokenRevoked, "no_authority_token"))?;
    if is_ready(&showing, watched, renewals, need, sessions.now()) {
        return Ok(showing);
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
        (_, Some(showing)) => Ok(showing),
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

/// Whether it may be sent without waiting.
fn is_ready(showing: &Showing, watched: &Arc<Watched>, renewals: &Renewals, need: Duration, now: UnixTime) -> bool {
    match timing(showing.issued, showing.expires, now, need, watched.id().into(), renewals.settings()) {
        Timing::Fresh => {}
        Timing::Soon => renewals.renew_beside(watched.id(), Wanted::ByTime { need }),
        Timing::Due => return false,
    }
    lasts(showing, need, now)
}

fn lasts(showing: &Showing, need: Duration, now: UnixTime) -> bool {
    let left = left(showing.issued, showing.expires, now);
    !left.is_zero() && left >= need
}
