//! How a session begins, whatever grant it is for.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand;
use serde_json::{Map, Value};

use super::Grants;
use crate::{
    authority::Identity,
    config::Client,
    model::{GrantType, RefreshForm, Scope, TokenError, TokenGrant},
    session::{Granted, Held, Opening, SessionId, about::About},
};

/// A session that is ready to be kept, and the answer that goes out once it is; only the refresh token is missing.
pub(super) struct Start {
    pub opening: Opening,
    pub reply: TokenGrant,
}

/// What the first access token is narrowed to, what stands in the ID token, and the form of refresh tokens.
#[derive(Default)]
pub(super) struct First<'a> {
    pub resources: &'a [String],
    pub nonce: Option<&'a str>,
    pub form: RefreshForm,
}

impl Grants {
    /// What a user grants to a client.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn granted_by(
        &self,
        user: Identity,
        grant: GrantType,
        scope: Scope,
        audiences: Vec<String>,
    ) -> Result<Granted, TokenError> {
        let granted = self.granted(user.subject, grant, scope, audiences, user.claims)?;
        Ok(Granted { username: Some(user.username), credential: user.credential, ..granted })
    }

    /// What a client has on its own behalf; its subject is the client itself, which no user may be called like.
    pub(super) fn granted_to(
        &self,
        client: &Client,
        scope: Scope,
        audiences: Vec<String>,
    ) -> Result<Granted, TokenError> {
        self.granted(client.id.to_string(), GrantType::ClientCredentials, scope, audiences, client.claims.clone())
    }

    fn granted(
        &self,
        subject: String,
        grant: GrantType,
        scope: Scope,
        audiences: Vec<String>,
        claims: Map<String, Value>,
    ) -> Result<Granted, TokenError> {
        let mut salt = [0; 16];
        rand::fill(&mut salt)?;
        Ok(Granted {
            subject,
            username: None,
            grant,
            scope,
            audiences,
            claims,
            auth_time: self.sessions.now(),
            credential: None,
            salt,
            master_key: self.sessions.ring().current(),
            outside: false,
        })
    }

    /// Begins and keeps a session; its tokens, the refresh token in `form`.
    ///
    /// # Errors
    /// If the store is not available, or nothing can be signed: then nothing was given.
    pub async fn open(
        &self,
        client: &Client,
        granted: Granted,
        held: Option<Held>,
        form: RefreshForm,
    ) -> Result<(SessionId, TokenGrant), TokenError> {
        for _ in 0..MOST_DRAWS {
            let id = SessionId::draw(form)?;
            let first = First { form, ..First::default() };
            let Start { opening, reply } = self.start(client, id, granted.clone(), held.clone(), &first)?;
            let _alone = match &opening.access {
                Some(access) => self.to_them_alone(access, &opening.client, &opening.granted).await?,
                None => None,
            };
            if let Some(tokens) = self.sessions.open(opening).await? {
                return Ok((id, TokenGrant { refresh_token: tokens.refresh, ..reply }));
            }
        }
        Err(TokenError::unavailable().because("no_free_session_id"))
    }

    /// Everything about a new session that may fail, before anything is kept.
    pub(super) fn start(
        &self,
        client: &Client,
        id: SessionId,
        granted: Granted,
        held: Option<Held>,
        first: &First<'_>,
    ) -> Result<Start, TokenError> {
        let now = self.sessions.now();
        let renewable = held.as_ref().is_none_or(|held| {
            self.outside.as_ref().is_some_and(|outside| outside.can_renew(&client.id, &granted, held))
        });
        let refresh = may_refresh(client, granted.grant) && renewable;
        let lifetime = match granted.grant {
            GrantType::Implicit => client.access_lifetime.min(LONGEST_IMPLICIT),
            _ => client.access_lifetime,
        };
        // What cannot be renewed behind it must not outlive it.
        let lifetime = match &held {
            Some(held) if !renewable => lifetime.min(now.until(held.expires)),
            _ => lifetime,
        };
        // With nothing to renew it the session is over when its token is.
        let renews = client.renews(granted.grant).is_some() && renewable;
        let absolute = if refresh || renews { client.absolute } else { lifetime };
        let audiences = super::audiences_for(&granted.audiences, first.resources)?;
        let about = About {
            session: id,
            client,
            granted: &granted,
            scope: &granted.scope,
            audiences: &audiences,
            issued: now,
            expires: now.plus(lifetime.min(absolute).as_secs()),
        };
        let minted = self.access_token(&about, held.as_ref())?;
        let about = About { expires: about.expires.min(minted.access.expires), ..about };
        let id_token = match granted.grant {
            GrantType::AuthorizationCode => self.id_token(&about, &minted.token, first.nonce)?,
            _ => None,
        };
        let reply = TokenGrant {
            access_token: minted.token,
            expires_in: now.until(about.expires).as_secs(),
            scope: granted.scope.clone(),
            refresh_token: None,
            id_token,
            claims: Arc::new(granted.claims.clone()),
            username: granted.username.clone(),
            auth_time: granted.auth_time,
            issued: now,
        };
        let settings = self.settings();
        let most = match granted.username {
            Some(_) => settings.sessions_per_user,
            None => settings.sessions_per_client,
        };
        let opening = Opening {
            id,
            client: client.id.to_string(),
            granted,
            held,
            idle: client.idle.as_secs(),
            absolute: absolute.as_secs(),
            refresh: refresh.then_some(first.form),
            access: Some(minted.access),
            most,
        };
        Ok(Start { opening, reply })
    }
}

/// Never for a client on its own behalf, which can ask again, and never by way of a redirect (RFC 6749, 4.4.3 and 4.2.2).
fn may_refresh(client: &Client, grant: GrantType) -> bool {
    match grant {
        GrantType::AuthorizationCode | GrantType::Password | GrantType::ApiKey => client.may(GrantType::RefreshToken),
        GrantType::ClientCredentials | GrantType::Implicit | GrantType::Basic | GrantType::RefreshToken => false,
    }
}

/// Ids that are drawn for one session. A compact one is another's once in 2^64 draws for each session that there is, so
/// the second draw is already for a store that is not as it should be.
const MOST_DRAWS: usize = 4;
/// A token that has stood in a URI lives no longer.
const LONGEST_IMPLICIT: Duration = Duration::from_secs(600);
