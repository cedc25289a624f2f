//! What the client gets once the user has agreed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Authorization, AuthorizeError, Refusal, ResponseType};
use crate::{
    authority::Identity,
    grants::Grants,
    model::{Context, ErrorCode, RefreshForm, Secret, TokenError, UnixTime},
    session::{Code, Granted, Held, SessionId},
    telemetry::audit::{Entry, Event},
};

/// A user who proved who they are, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignedIn {
    pub subject: String,
    pub username: String,
    pub claims: Map<String, Value>,
    pub credential: Option<[u8; 16]>,
    pub auth_time: UnixTime,
    /// What the authority outside gave for it; then nobody here vouches for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

impl SignedIn {
    pub fn new(identity: Identity, auth_time: UnixTime) -> SignedIn {
        let Identity { subject, username, claims, credential } = identity;
        SignedIn { subject, username, claims, credential, auth_time, held: None }
    }
}

impl Grants {
    /// The redirect that carries what was asked for.
    ///
    /// # Errors
    /// What the client is told instead.
    pub async fn authorize(
        &self,
        asked: &Authorization,
        user: &SignedIn,
        cx: &Context,
    ) -> Result<Secret<String>, Refusal> {
        let given = match asked.response {
            ResponseType::Code => self.code(asked, user).await,
            ResponseType::Token => self.token(asked, user, cx).await,
        };
        given.map_err(|error| {
            let cause = error.cause.as_deref().unwrap_or_default();
            tracing::error!(cause, "nothing could be given for an authorization");
            let unavailable = error.code == ErrorCode::TemporarilyUnavailable;
            Refusal::from(if unavailable {
                AuthorizeError::TemporarilyUnavailable
            } else {
                AuthorizeError::ServerError
            })
        })
    }

    /// RFC 6749, section 4.1.2.
    async fn code(&self, asked: &Authorization, user: &SignedIn) -> Result<Secret<String>, TokenError> {
        let id = SessionId::random()?;
        let made = self.sessions.ring().make_code(id)?;
        let code = Code {
            client: asked.client.id.to_string(),
            digest: made.digest,
            expires: self.sessions.now().plus(CODE_LIFE),
            redirect_uri: asked.redirect_uri.clone(),
            challenge: asked.challenge.clone(),
            nonce: asked.nonce.clone(),
            granted: self.granted_for(asked, user)?,
            held: user.held.clone(),
        };
        self.sessions.put_code(id, code).await?;
        Ok(Secret::new(asked.target.location(&[("code", made.token.expose())], &self.settings().issuer)))
    }

    /// RFC 6749, section 4.2.2.
    async fn token(&self, asked: &Authorization, user: &SignedIn, cx: &Context) -> Result<Secret<String>, TokenError> {
        let (session, given) =
            self.open(&asked.client, self.granted_for(asked, user)?, user.held.clone(), RefreshForm::Full).await?;
        self.metrics.oauth.issued("oauth2", asked.grant());
        let mut entry = Entry::new(Event::Granted, Some(cx));
        entry.client = Some(&asked.client.id);
        entry.subject = Some(&user.subject);
        entry.session = Some(&session);
        entry.grant = Some(asked.grant());
        entry.deprecated = true;
        entry.write();
        let pairs = [
            ("access_token", given.access_token.expose().as_str()),
            ("token_type", "bearer"),
            ("expires_in", &given.expires_in.to_string()),
            ("scope", &given.scope.to_string()),
        ];
        Ok(Secret::new(asked.target.location(&pairs, &self.settings().issuer)))
    }

    fn granted_for(&self, asked: &Authorization, user: &SignedIn) -> Result<Granted, TokenError> {
        let mut claims = user.claims.clone();
        if let Some(intent) = &asked.intent {
            claims.insert("intentid".to_owned(), intent.id.clone().into());
            claims.insert("itype".to_owned(), intent.kind.clone().into());
        }
        let identity = Identity {
            subject: user.subject.clone(),
            username: user.username.clone(),
            claims,
            credential: user.credential,
        };
        let granted = self.granted_by(identity, asked.grant(), asked.scope.clone(), asked.audiences.clone())?;
        let outside = user.held.is_some() && user.credential.is_none();
        Ok(Granted { auth_time: user.auth_time, outside, ..granted })
    }
}

/// Seconds in which a code is redeemed, or not at all (RFC 9700, section 4.5).
const CODE_LIFE: u64 = 60;
