//! The steps of one renewal.

use std::{sync::Arc, time::Duration};

use super::{Means, NotRenewed, Outcome, Timing, Wanted, timing};
use crate::{
    authority::remote::NotGiven,
    model::{ErrorCode, Grant, GrantType, TokenGrant, UnixTime},
    session::{Answer, Exchanged, Held, Renewed, Session, SessionId, StoreError, Vouched},
    telemetry::{
        audit::{Entry, Event},
        metrics::Renewal,
    },
};

/// One renewal of one session.
pub(super) struct Flight {
    pub means: Arc<Means>,
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
        let now = self.means.sessions.now();
        if self.is_met(held, vouched, now) {
            return Ok(Arc::new(session));
        }
        let Some(grant) = self.means.grant(&session.state.client, &session.granted, held) else {
            // Nothing was asked, so there is nothing to audit.
            self.means.metrics.oauth.renewed(Renewal::NotRenewable);
            return Err(NotRenewed::NotRenewable);
        };
        let presented = match &grant {
            Grant::RefreshToken { token } => Some(token.clone()),
            _ => None,
        };
        let asked = match self.means.remote.turn().await {
            Ok(turn) => turn.ask(grant, now).await,
            Err(error) => Err(error.into()),
        };
        match asked {
            Ok(given) => {
                let how = if presented.is_some() { Renewal::Refreshed } else { Renewal::Obtained };
                let held = Held {
                    expires: given.issued.plus(given.expires_in),
                    access_token: given.access_token.clone(),
                    authority: self.means.remote.identity().to_owned(),
                    issued: given.issued,
                    // Without a new one the old one stays good (RFC 6749, section 6).
                    refresh_token: given.refresh_token.clone().or(presented),
                };
                let kept = self.keep(&session, vouched.generation, held, how).await;
                // Only now: whatever it says, what came with it must not be lost.
                self.look_at_id_token(&session, given, now);
                kept
            }
            // Only to a refresh token it is the end: what was configured to sign in with may be mended.
            Err(NotGiven { error, .. }) if error.code == ErrorCode::InvalidGrant && presented.is_some() => {
                self.refused(&session, vouched.generation).await
            }
            Err(not_given) => Err(self.unavailable(&session, &not_given)),
        }
    }

    fn is_met(&self, held: &Held, vouched: Vouched, now: UnixTime) -> bool {
        match self.wanted {
            Wanted::ByTime { need } => {
                timing(held.issued, held.expires, now, need, self.id.into(), &self.means.settings) == Timing::Fresh
            }
            Wanted::ByClient { presented } => vouched.renewed_for >= presented,
            Wanted::Forced { seen } => vouched.generation > seen,
        }
    }

    /// Before anybody sees them: what is lost here is lost for good.
    async fn keep(&self, session: &Session, seen: u64, held: Held, how: Renewal) -> Outcome {
        let renewed_for = match self.wanted {
            Wanted::ByTime { .. } | Wanted::Forced { .. } => None,
            Wanted::ByClient { presented } => Some(presented),
        };
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            let renewed = Renewed { seen, answer: Answer::Given { held: held.clone(), renewed_for } };
            match self.means.sessions.renew(self.id, renewed).await {
                Ok(Exchanged::Kept { .. }) => {
                    self.note(how, session);
                    return self.session().await.map(Arc::new);
                }
                // By somebody else, or by the attempt before, whose answer did not come.
                Ok(Exchanged::Moved) => return self.session().await.map(Arc::new),
                Ok(Exchanged::Gone | Exchanged::Ended) => return Err(NotRenewed::Ended),
                Err(error) => {
                    tracing::warn!(session = %self.id, %error, "what the authority gave could not be kept yet");
                    if attempt < ATTEMPTS {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        }
        tracing::error!(session = %self.id, "what the authority gave could not be kept, and its last refresh token is lost");
        self.note(Renewal::Store, session);
        Err(NotRenewed::Unavailable { retry_after: None, cause: "the store is not available".to_owned() })
    }

    /// Who somebody is was said at the sign-in, and stays: an ID token that says something else is not believed, and
    /// somebody should know. Beside: nobody waits for the keys.
    fn look_at_id_token(&self, session: &Session, given: TokenGrant, now: UnixTime) {
        if !session.granted.outside || session.granted.grant == GrantType::ClientCredentials {
            return;
        }
        let (remote, id, subject) = (self.means.remote.clone(), self.id, session.granted.subject.clone());
        self.means.sessions.background().spawn(async move {
            if let Err(error) = remote.still(&subject, &given, now).await {
                tracing::warn!(session = %id, %error, "the ID token that came with a renewal is not believed");
            }
        });
    }

    /// The authority does not know the refresh token any more. The session ends, unless somebody has renewed it since.
    async fn refused(&self, session: &Session, seen: u64) -> Outcome {
        let renewed = Renewed { seen, answer: Answer::Ended };
        match self.means.sessions.renew(self.id, renewed).await.map_err(|error| self.without_store(&error))? {
            Exchanged::Ended => {
                self.note(Renewal::Ended, session);
                Err(NotRenewed::Ended)
            }
            Exchanged::Moved | Exchanged::Kept { .. } | Exchanged::Gone => self.session().await.map(Arc::new),
        }
    }

    async fn session(&self) -> Result<Session, NotRenewed> {
        let session = self.means.sessions.find(self.id).await.map_err(|error| self.without_store(&error))?;
        session.filter(|session| session.is_alive(self.means.sessions.now())).ok_or(NotRenewed::Ended)
    }

    fn without_store(&self, error: &StoreError) -> NotRenewed {
        self.means.metrics.oauth.renewed(Renewal::Store);
        NotRenewed::Unavailable { retry_after: None, cause: error.to_string() }
    }

    /// No judgement on the session: it is kept.
    fn unavailable(&self, session: &Session, NotGiven { error, asked, .. }: &NotGiven) -> NotRenewed {
        let cause = format!("{} ({})", error.code.as_str(), error.cause.as_deref().unwrap_or_default());
        if let (false, Some(retry_after)) = (asked, error.throttled.or(error.retry_after)) {
            // Nothing was asked, so there is nothing to audit.
            self.means.metrics.oauth.renewed(Renewal::NotAsked);
            return NotRenewed::NotAsked { retry_after, busy: error.throttled.is_some(), cause };
        }
        let renewal = match error.code {
            _ if error.throttled.is_some() => Renewal::Throttled,
            ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError => Renewal::Unavailable,
            ErrorCode::InvalidGrant => {
                tracing::error!(session = %self.id, "the authority outside refuses what sidegate signs in with for a session: look at the accounts");
                Renewal::Misconfigured
            }
            ErrorCode::InvalidRequest
            | ErrorCode::InvalidClient
            | ErrorCode::UnauthorizedClient
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::InvalidScope
            | ErrorCode::InvalidTarget
            | ErrorCode::UnsupportedTokenType => Renewal::Misconfigured,
        };
        self.note(renewal, session);
        NotRenewed::Unavailable { retry_after: error.throttled, cause }
    }

    fn note(&self, renewal: Renewal, session: &Session) {
        self.means.metrics.oauth.renewed(renewal);
        let mut entry = Entry::new(
            match renewal {
                Renewal::Refreshed | Renewal::Obtained => Event::AuthorityRenewed,
                Renewal::Ended => Event::AuthorityEnded,
                Renewal::NotRenewable
                | Renewal::NotAsked
                | Renewal::Throttled
                | Renewal::Misconfigured
                | Renewal::Unavailable
                | Renewal::Store => Event::AuthorityNotRenewed,
            },
            None,
        );
        entry.client = Some(&session.state.client);
        entry.subject = Some(&session.granted.subject);
        entry.session = Some(&self.id);
        entry.reason = Some(renewal.reason());
        entry.write();
    }
}

/// To keep what was given: a minute together. Requests do not wait so long.
const ATTEMPTS: u32 = 18;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
