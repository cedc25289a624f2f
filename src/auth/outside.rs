//! The token of the authority outside, as the upstream is shown it: never one that has expired.

use std::sync::Arc;

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
    /// will be over soon is renewed beside the request; for one that is over the request waits.
    ///
    /// # Errors
    /// If there is none that is good, and none can be had now.
    pub async fn authority_token(&self, principal: &Principal, now: UnixTime) -> Result<HeaderValue, Refusal> {
        let outside = self.own.as_ref().and_then(|own| Some((&*own.sessions, own.renewals.as_deref()?)));
        // A route with this credential trusts the local authority alone, whose tokens all have a session.
        let (Some((sessions, renewals)), Some(watched)) = (outside, &principal.verdict.session) else {
            return Err(Refusal::new(Reason::TokenRevoked, "no_authority_token"));
        };
        if let Some(showing) = watched.showing() {
            match stands(&showing, now, renewals) {
                Timing::Fresh => return Ok(showing.authorization.clone()),
                Timing::Soon => {
                    renewals.renew_beside(watched.id(), Wanted::ByTime);
                    return Ok(showing.authorization.clone());
                }
                Timing::Due => {}
            }
        }
        // Apart, so that requests which need not wait do not carry what waiting takes.
        Box::pin(waited_for(watched, sessions, renewals)).await
    }
}

async fn waited_for(watched: &Arc<Watched>, sessions: &Sessions, renewals: &Renewals) -> Result<HeaderValue, Refusal> {
    if watched.showing().is_none() {
        // The store shows what it finds to those who watch.
        sessions.find(watched.id()).await.map_err(unavailable)?;
    }
    let showing = watched.showing().ok_or(Refusal::new(Reason::TokenRevoked, "no_authority_token"))?;
    match stands(&showing, sessions.now(), renewals) {
        Timing::Fresh => return Ok(showing.authorization.clone()),
        Timing::Soon => {
            renewals.renew_beside(watched.id(), Wanted::ByTime);
            return Ok(showing.authorization.clone());
        }
        Timing::Due => {}
    }
    let outcome = renewals.renew(watched.id(), Wanted::ByTime).await;
    // Whatever came of it: somebody else may have renewed it meanwhile.
    let good = watched.showing().filter(|showing| sessions.now() < showing.expires);
    match (outcome, good) {
        // Also if it ended while the request waited for something else to become of it.
        _ if !watched.is_alive() => Err(Refusal::new(Reason::TokenRevoked, "session_revoked")),
        (Err(NotRenewed::Ended), _) => Err(Refusal::new(Reason::TokenRevoked, "authority_session_over")),
        (_, Some(showing)) => Ok(showing.authorization.clone()),
        (Err(NotRenewed::NotRenewable), None) => Err(Refusal::new(Reason::TokenExpired, "authority_token_expired")),
        (Err(NotRenewed::Unavailable { retry_after, .. }), None) => {
            Err(Refusal { retry_after, ..Refusal::new(Reason::Undecided, "authority_unavailable") })
        }
        // It gives tokens that are over when they come.
        (Ok(_), None) => Err(Refusal::new(Reason::Undecided, "authority_token_stillborn")),
    }
}

fn stands(showing: &Showing, now: UnixTime, renewals: &Renewals) -> Timing {
    timing(showing.issued, showing.expires, now, renewals.settings())
}
