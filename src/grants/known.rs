//! Tokens of ours that come back: which session they are of, to end it (RFC 7009) or to tell of it (RFC 7662).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Grants;
use crate::{
    config::Client,
    jose::{Peek, mint::MintError, peek, verify},
    model::{Context, PresentedClient, Secret, TokenError},
    session::{
        Access, Session, SessionId,
        about::{ACCESS_TOKEN, About},
        record::RevocationReason,
        ring::digest16,
        tokens::{Presented, is_access_token},
    },
    telemetry::audit::{Entry, Event},
};

/// A token of ours, its MAC or signature being right.
enum Known {
    Access {
        session: Session,
        access: Access,
        /// Of a JWT.
        jti: Option<String>,
    },
    Refresh {
        session: Session,
        presented: Presented,
    },
}

impl Known {
    fn session(&self) -> &Session {
        match self {
            Known::Access { session, .. } | Known::Refresh { session, .. } => session,
        }
    }
}

impl Grants {
    /// Ends the session that `token` is of, whichever of its tokens it is. A token that is not good any more, or never
    /// was, is no error (RFC 7009, section 2.2).
    ///
    /// # Errors
    /// If the client did not prove itself, if the token is another client's, or if the store is not available: then the
    /// token must be assumed to be good.
    pub async fn revoke(
        self: &Arc<Self>,
        client: PresentedClient,
        token: Secret<String>,
        cx: &Context,
    ) -> Result<(), TokenError> {
        let (grants, cx) = (self.clone(), cx.clone());
        self.to_its_end(async move { grants.end(client, &token, &cx).await }).await
    }

    async fn end(&self, client: PresentedClient, token: &Secret<String>, cx: &Context) -> Result<(), TokenError> {
        let client = self.caller(client, cx).await?;
        let Some(known) = self.find(token.expose()).await? else { return Ok(()) };
        let session = known.session();
        if session.state.client != *client.id {
            // Who can be anybody is not told what they hold.
            if client.is_public() {
                return Ok(());
            }
            return Err(TokenError::invalid_request("the token is not of this client").because("other_client"));
        }
        if self.sessions.revoke(session.id, RevocationReason::Client).await? {
            let mut entry = Entry::new(Event::Revoked, Some(cx));
            entry.client = Some(&client.id);
            entry.subject = Some(&session.granted.subject);
            entry.session = Some(&session.id);
            entry.reason = Some(RevocationReason::Client.as_str());
            entry.write();
        }
        Ok(())
    }

    /// What `client` may know of `token`; `None`: it is not good, or not for this client to know.
    ///
    /// # Errors
    /// If the client did not prove itself or cannot, or if the store is not available.
    pub async fn introspect(
        &self,
        client: PresentedClient,
        token: &Secret<String>,
        cx: &Context,
    ) -> Result<Introspected, TokenError> {
        let client = self.caller(client, cx).await?;
        if client.is_public() {
            return Err(TokenError::invalid_client().because("public_client"));
        }
        let known = self.find(token.expose()).await?;
        let known = known.filter(|known| match known {
            // A resource server that takes "active" for "let it in" must not be shown the tokens that renew others.
            Known::Refresh { session, .. } => session.state.client == *client.id,
            Known::Access { session, .. } => client.introspects_all || session.state.client == *client.id,
        });
        let claims = known.and_then(|known| self.tell(&known));
        Ok(Introspected { caller: client.id.to_string(), claims })
    }

    /// The answer as a JWT that can be passed on (RFC 9701, section 5).
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn signed_introspection(&self, caller: &str, answer: Map<String, Value>) -> Result<String, TokenError> {
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(self.settings().issuer));
        claims.insert("aud".to_owned(), json!(caller));
        claims.insert("iat".to_owned(), json!(self.sessions.now().0));
        claims.insert("token_introspection".to_owned(), Value::Object(answer));
        Ok(self.signing.sign(INTROSPECTION, &claims)?)
    }

    async fn caller(&self, presented: PresentedClient, cx: &Context) -> Result<Arc<Client>, TokenError> {
        let id = presented.id.clone();
        let result = self.authenticate(presented, cx).await;
        if result.as_ref().is_err_and(|error| error.throttled.is_some()) {
            let mut entry = Entry::new(Event::Throttled, Some(cx));
            entry.client = id.as_deref();
            entry.write();
        }
        result
    }

    fn tell(&self, known: &Known) -> Option<Map<String, Value>> {
        let now = self.sessions.now();
        let session = known.session();
        let (state, granted) = (&session.state, &session.granted);
        let client = self.authority.client(&state.client).filter(|client| client.enabled)?;
        if !session.is_alive(now) || !self.still_vouches(granted) {
            return None;
        }
        let (scope, audiences, issued, expires) = match known {
            Known::Access { access, .. } => {
                if now >= access.expires {
                    return None;
                }
                let scope = access.scope.as_ref().unwrap_or(&granted.scope);
                let audiences = access.audiences.as_ref().unwrap_or(&granted.audiences);
                (scope, audiences, access.issued, access.expires)
            }
            Known::Refresh { presented, .. } => {
                if presented.generation != state.generation || now >= state.idle_until {
                    return None;
                }
                (&granted.scope, &granted.audiences, state.rotated_at, state.idle_until)
            }
        };
        let about = About { session: session.id, client, granted, scope, audiences, issued, expires };
        let mut claims = about.claims(&self.settings().issuer);
        // What is said of the token stands above claims of the same name that somebody has.
        claims.insert("active".to_owned(), Value::Bool(true));
        claims.remove("token_type");
        if let Some(username) = &granted.username {
            claims.insert("username".to_owned(), json!(username));
        }
        match known {
            Known::Access { jti, .. } => {
                claims.insert("token_type".to_owned(), json!("Bearer"));
                claims.extend(jti.as_ref().map(|jti| ("jti".to_owned(), json!(jti))));
            }
            Known::Refresh { .. } => {}
        }
        Some(claims)
    }

    /// Every token says itself what it is, so the hint of its type is not needed.
    async fn find(&self, token: &str) -> Result<Option<Known>, TokenError> {
        if is_access_token(token) {
            let Some(opaque) = self.sessions.ring().read_access(token) else { return Ok(None) };
            return self.find_access(opaque.session, opaque.digest, None).await;
        }
        if let Some((presented, session)) = self.sessions.find_any_refresh(token).await? {
            return Ok(Some(Known::Refresh { session, presented }));
        }
        if let Some((session, jti)) = self.read_jwt(token)? {
            return self.find_access(session, digest16(jti.as_bytes()), Some(jti)).await;
        }
        // The authority's own, where clients have those.
        match self.sessions.find_foreign(token).await? {
            Some(session) => self.find_access(session, digest16(token.as_bytes()), None).await,
            None => Ok(None),
        }
    }

    async fn find_access(
        &self,
        id: SessionId,
        digest: [u8; 16],
        jti: Option<String>,
    ) -> Result<Option<Known>, TokenError> {
        let Some(session) = self.sessions.find(id).await? else { return Ok(None) };
        // Also one that is over and may yet slide: that can be revoked.
        let now = self.sessions.now();
        let found = session.state.access.iter().find(|access| access.digest == digest && now < access.over_at());
        let access = found.cloned();
        Ok(access.map(|access| Known::Access { session, access, jti }))
    }

    /// Session and `jti` of an access token that we have signed.
    fn read_jwt(&self, token: &str) -> Result<Option<(SessionId, String)>, TokenError> {
        let Ok(peek) = peek(token) else { return Ok(None) };
        if !self.signing.are_there() {
            return Err(MintError::NoCurrentKey.into());
        }
        Ok(self.read_signed(peek))
    }

    fn read_signed(&self, peek: Peek<'_>) -> Option<(SessionId, String)> {
        let rules = verify::rules(&self.settings().issuer, &[ACCESS_TOKEN], true);
        // One that is over and may yet have a successor can be revoked.
        let (now, late) = (self.sessions.now(), self.refresh.accept_expired_for);
        let verified = peek.verify_late(&rules, &self.signing.keys(), now, late).ok()?;
        let session = verified.claims.text("sid")?.parse().ok()?;
        Some((session, verified.claims.text("jti")?.to_owned()))
    }
}

/// The answer to an introspection, and who is told.
pub struct Introspected {
    pub caller: String,
    pub claims: Option<Map<String, Value>>,
}

/// The `typ` of signed answers: never mistaken for a token.
const INTROSPECTION: &str = "token-introspection+jwt";
