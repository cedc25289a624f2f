//! The steps of one renewal.

use std::{sync::Arc, time::Duration};

use super::{NotRenewed, Outcome, Timing, Wanted, timing};
use crate::{
    authority::remote::Remote,
    config,
    model::{ErrorCode, Grant, GrantType, TokenError, TokenGrant, UnixTime},
    session::{Exchanged, Held, Renewed, Session, SessionId, Sessions, StoreError, Vouched, record::RevocationReason},
};

/// One renewal of one session.
pub(super) struct Flight {
    pub sessions: Arc<Sessions>,
    pub remote: Arc<Remote>,
    pub settings: config::Refresh,
    pub id: SessionId,
    pub wanted: Wanted,
}

impl Flight {
    pub(super) async fn fly(self) -> Outcome {
        // Another may have renewed since whoever asked looked.
        let session = self.session().await?;
        let Some((held, vouched)) = session.held.as_ref().zip(session.state.vouched) else {
            return Err(NotRenewed::NotRenewable);
        };
        let now = self.sessions.now();
        if self.is_met(held, vouched, now) {
            return Ok(Arc::new(session));
        }
        let Some(refresh_token) = held.refresh_token.clone() else { return Err(NotRenewed::NotRenewable) };
        match self.remote.ask(Grant::RefreshToken { token: refresh_token.clone() }, now).await {
            Ok(given) => {
                let held = Held {
                    expires: given.issued.plus(given.expires_in),
                    access_token: given.access_token.clone(),
                    issued: given.issued,
                    // Without a new one the old one stays good (RFC 6749, section 6).
                    refresh_token: given.refresh_token.clone().or(Some(refresh_token)),
                };
                let kept = self.keep(vouched.generation, held).await;
                // Only now: whatever it says, what came with it must not be lost.
                self.look_at_id_token(&session, given, now);
                kept
            }
            Err(error) if error.code == ErrorCode::InvalidGrant => self.refused(vouched.generation).await,
            Err(error) => Err(unavailable(&error)),
        }
    }

    fn is_met(&self, held: &Held, vouched: Vouched, now: UnixTime) -> bool {
        match self.wanted {
            Wanted::ByTime => timing(held.issued, held.expires, now, &self.settings) == Timing::Fresh,
            Wanted::ByClient { presented } => vouched.renewed_for >= presented,
        }
    }

    /// Before anybody sees them: what is lost here is lost for good.
    async fn keep(&self, seen: u64, held: Held) -> Outcome {
        let renewed_for = match self.wanted {
            Wanted::ByTime => None,
            Wanted::ByClient { presented } => Some(presented),
        };
        let mut pause = FIRST_PAUSE;
        for _ in 0..ATTEMPTS {
            let renewed = Renewed { seen, held: held.clone(), renewed_for };
            match self.sessions.renew(self.id, renewed).await {
                Ok(Exchanged::Kept { .. } | Exchanged::Moved) => return self.session().await.map(Arc::new),
                Ok(Exchanged::Gone) => return Err(NotRenewed::Ended),
                Err(error) => {
                    tracing::warn!(session = %self.id, %error, "what the authority gave could not be kept yet");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        tracing::error!(session = %self.id, "what the authority gave could not be kept, and its last refresh token is lost");
        Err(away("the store"))
    }

    /// Who somebody is was said at the sign-in, and stays: an ID token that says something else is not believed, and
    /// somebody should know. Beside: nobody waits for the keys.
    fn look_at_id_token(&self, session: &Session, given: TokenGrant, now: UnixTime) {
        if !session.granted.outside || session.granted.grant == GrantType::ClientCredentials {
            return;
        }
        let (remote, id, subject) = (self.remote.clone(), self.id, session.granted.subject.clone());
        self.sessions.background().spawn(async move {
            if let Err(error) = remote.still(&subject, &given, now).await {
                tracing::warn!(session = %id, %error, "the ID token that came with a renewal is not believed");
            }
        });
    }

    /// The authority does not know the refresh token any more. The session ends, unless somebody has renewed it since.
    async fn refused(&self, seen: u64) -> Outcome {
        let session = self.session().await?;
        if session.state.vouched.is_some_and(|vouched| vouched.generation != seen) {
            return Ok(Arc::new(session));
        }
        self.sessions.revoke(self.id, RevocationReason::Authority).await.map_err(store)?;
        Err(NotRenewed::Ended)
    }

    async fn session(&self) -> Result<Session, NotRenewed> {
        let session = self.sessions.find(self.id).await.map_err(store)?;
        session.filter(|session| session.is_alive(self.sessions.now())).ok_or(NotRenewed::Ended)
    }
}

fn store(error: StoreError) -> NotRenewed {
    NotRenewed::Unavailable { retry_after: None, cause: error.to_string() }
}

fn away(what: &str) -> NotRenewed {
    NotRenewed::Unavailable { retry_after: None, cause: format!("{what} is not available") }
}

fn unavailable(error: &TokenError) -> NotRenewed {
    let cause = error.cause.as_deref().unwrap_or_default();
    NotRenewed::Unavailable { retry_after: error.throttled, cause: format!("{} ({cause})", error.code.as_str()) }
}

/// To keep what was given: 6 seconds together.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
