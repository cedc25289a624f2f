//! Refresh tokens (RFC 6749, section 6), by the order of oauth.md: everything that may fail comes before the one step
//! that changes anything.

use std::sync::Arc;

use super::{Grants, audiences_for, trail::Trail};
use crate::{
    config::{Client, Rotation},
    crash::{self, Point},
    model::{ErrorCode, GrantType, Scope, Secret, TokenError, TokenGrant},
    session::{
        Granted, Outcome, Refreshed, Rotate, Session,
        about::About,
        family::{LOST_ANSWER, Refused},
        record::RevocationReason,
        tokens::Family,
    },
    telemetry::{audit::Event, metrics::Refresh},
};

/// What the client has sent.
pub(super) struct Renewal<'a> {
    pub token: &'a Secret<String>,
    pub scope: Option<&'a Scope>,
    pub resources: &'a [String],
}

impl Grants {
    pub(super) async fn refresh(
        &self,
        client: &Client,
        renewal: Renewal<'_>,
        trail: &mut Trail,
    ) -> Result<TokenGrant, TokenError> {
        let result = self.renew(client, renewal, trail).await;
        self.metrics.oauth.refreshed(match (&result, trail.event) {
            (_, Some(Event::RefreshReused)) => Refresh::Reused,
            (Ok(_), Some(Event::RefreshRetried)) => Refresh::Retried,
            (Ok(_), Some(Event::RefreshHealed)) => Refresh::Healed,
            (Ok(_), _) => Refresh::Rotated,
            (Err(error), _) if error.code == ErrorCode::TemporarilyUnavailable && error.throttled.is_none() => {
                Refresh::Unavailable
            }
            (Err(_), _) => Refresh::Refused,
        });
        result
    }

    async fn renew(&self, client: &Client, renewal: Renewal<'_>, trail: &mut Trail) -> Result<TokenGrant, TokenError> {
        let refused = |cause: &str| TokenError::invalid_grant().because(cause);
        // Another client's token has a wrong MAC for this one, and revokes nothing.
        let found = self.sessions.find_refresh(renewal.token.expose(), &client.id).await?;
        let (presented, session, family) = found.ok_or_else(|| refused("token_unknown"))?;
        trail.session = Some(session.id);
        trail.subject = Some(session.granted.subject.clone());
        trail.generations = Some((presented.generation, session.state.generation));
        if session.state.revoked.is_some() {
            return Err(refused("revoked"));
        }
        self.check_account(&session).await?;
        self.check_still_granted(client, &session.granted)?;
        let scope = narrowed(client, &session.granted, renewal.scope)?;
        let audiences = audiences_for(&session.granted.audiences, renewal.resources)?;
        let session = match session.state.vouched {
            Some(_) => Box::pin(self.agreed(session, presented.generation)).await?,
            None => session,
        };
        let now = self.sessions.now();
        let about = About {
            session: session.id,
            client,
            granted: &session.granted,
            scope: &scope,
            audiences: &audiences,
            issued: now,
            expires: now.plus(client.access_lifetime.as_secs()).min(session.state.absolute),
        };
        let minted = self.access_token(&about, session.held.as_ref())?;
        let about = About { expires: about.expires.min(minted.access.expires), ..about };
        // Without a nonce: that one belonged to the authorization request (OpenID Connect Core, section 12.2).
        let id_token = match session.granted.grant {
            GrantType::AuthorizationCode => self.id_token(&about, &minted.token, None)?,
            _ => None,
        };
        let expires_in = now.until(about.expires).as_secs();
        let _alone = match minted.access.foreign {
            true => Box::pin(self.to_them_alone(&minted.access, &client.id, &session.granted)).await?,
            false => None,
        };
        let step = Rotate {
            client: client.id.to_string(),
            presented: presented.generation,
            stable: client.rotation == Rotation::Stable,
            idle: client.idle.as_secs(),
            access: minted.access,
        };
        let refresh_token = self.step(&session, &family, step, trail).await?;
        crash::point(Point::AfterRotation).await;
        Ok(TokenGrant {
            access_token: minted.token,
            expires_in,
            scope,
            refresh_token: Some(refresh_token),
            id_token,
            claims: Arc::new(session.granted.claims),
            username: session.granted.username,
            auth_time: session.granted.auth_time,
            issued: now,
        })
    }

    /// The one step. On the wire nothing tells a retry from a rotation, or a reuse from an unknown token.
    async fn step(
        &self,
        session: &Session,
        family: &Family,
        step: Rotate,
        trail: &mut Trail,
    ) -> Result<Secret<String>, TokenError> {
        let presented = step.presented;
        let refused = |cause: &str| Err(TokenError::invalid_grant().because(cause));
        match self.sessions.refresh(session, family, step).await? {
            Refreshed::Good { token, outcome } => {
                match outcome {
                    Outcome::Retried { generation } => {
                        trail.event = Some(Event::RefreshRetried);
                        trail.generations = Some((presented, generation));
                    }
                    Outcome::Healed { .. } => trail.event = Some(Event::RefreshHealed),
                    _ => {}
                }
                Ok(token)
            }
            Refreshed::Refused(Outcome::Reused { current, .. }) => {
                trail.event = Some(Event::RefreshReused);
                trail.generations = Some((presented, current));
                refused("reused")
            }
            // The token is not at fault, so the client must not throw it away.
            Refreshed::Refused(Outcome::RetriesExhausted) => {
                Err(TokenError::unavailable().throttled(LOST_ANSWER).because("too_many_retries"))
            }
            Refreshed::Refused(Outcome::Refused(Refused::Expired)) => refused("expired"),
            Refreshed::Refused(Outcome::Refused(Refused::Revoked)) => refused("revoked"),
            Refreshed::Refused(Outcome::Refused(Refused::LastGeneration)) => refused("last_generation"),
            Refreshed::Refused(_) => refused("token_unknown"),
        }
    }

    /// Whoever granted the session must still be there, with the password that was checked then.
    async fn check_account(&self, session: &Session) -> Result<(), TokenError> {
        if self.still_vouches(&session.granted) {
            return Ok(());
        }
        self.sessions.revoke(session.id, RevocationReason::AccountChanged).await?;
        Err(TokenError::invalid_grant().because("account_changed"))
    }

    pub(super) fn still_vouches(&self, granted: &Granted) -> bool {
        if granted.outside {
            return self.outside.is_some();
        }
        let vouched = |name: &String| self.authority.still_vouches(name, granted.credential.as_ref());
        granted.username.as_ref().is_none_or(vouched)
    }

    /// What the client was granted must be what it still may have: a grant or a scope that was taken from it in the
    /// configuration ends with the next refresh.
    pub(super) fn check_still_granted(&self, client: &Client, granted: &Granted) -> Result<(), TokenError> {
        let may = client.still_may(granted.grant, &granted.scope, &granted.audiences);
        may.map_err(|cause| TokenError::invalid_grant().because(cause))
    }
}

/// The scope of the new access token; that of the session stays as it is.
fn narrowed(client: &Client, granted: &Granted, asked: Option<&Scope>) -> Result<Scope, TokenError> {
    match asked.filter(|_| client.narrows) {
        None => Ok(granted.scope.clone()),
        Some(asked) if asked.is_within(&granted.scope) => Ok(asked.clone()),
        Some(_) => Err(TokenError::new(ErrorCode::InvalidScope).because("scope_not_granted")),
    }
}
