//! Tokens of our own: opaque ones by the session store, JWTs by our keys and then the state of their session.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    Auth, Refusal, basic::Flights, cache::TokenDigest, policy::Policy, successor::Successions, validate::refusal_of,
    verdict::Verdict,
};
use crate::{
    authority::Authority,
    config::{self, LOCAL, LOCAL_ISSUER},
    jose::{Peek, SigningKeys, verify},
    model::Context,
    rate::Key,
    refresh::Renewals,
    session::{
        Access, Session, SessionId, Sessions, StoreError, Watched, about::ACCESS_TOKEN, ring::digest16,
        tokens::may_be_compact,
    },
    telemetry::{metrics::Limited, reason::Reason},
};

/// What tokens of the local authority are judged by.
#[derive(Clone)]
pub struct Own {
    pub settings: Arc<config::Config>,
    pub sessions: Arc<Sessions>,
    pub signing: Arc<SigningKeys>,
    pub authority: Arc<Authority>,
    /// Renews what an authority outside gave; `None`: nobody outside vouches.
    pub renewals: Option<Arc<Renewals>>,
    /// What JWTs of our own must be like.
    rules: Arc<config::Issuer>,
    pub(super) flights: Arc<Flights>,
    pub(super) successions: Arc<Successions>,
}

impl Own {
    pub fn new(
        settings: Arc<config::Config>,
        sessions: Arc<Sessions>,
        signing: Arc<SigningKeys>,
        authority: Arc<Authority>,
        renewals: Option<Arc<Renewals>>,
    ) -> Own {
        let rules = Arc::new(rules(authority.settings()));
        Own {
            settings,
            sessions,
            signing,
            authority,
            renewals,
            rules,
            flights: Arc::default(),
            successions: Arc::default(),
        }
    }

    /// The `iss` of our own tokens.
    pub fn issuer(&self) -> &str {
        &self.rules.issuer
    }

    pub fn rules(&self) -> &config::Issuer {
        &self.rules
    }

    /// The session `id`, if its tokens are good now; with the flag that says so from here on.
    pub(super) async fn live_session(&self, id: SessionId) -> Result<(Session, Arc<Watched>), Refusal> {
        // Before the store is read: a session that ends from here on ends this flag too, so that a verdict which is
        // written late cannot revive it.
        let live = self.sessions.watch(id);
        let found = self.sessions.find(id).await.map_err(unavailable)?;
        let gone = |code| Refusal::new(Reason::TokenRevoked, code);
        let session = found.ok_or(gone("session_unknown"))?;
        if session.state.revoked.is_some() {
            return Err(gone("session_revoked"));
        }
        if !session.is_alive(self.sessions.now()) {
            return Err(Refusal::new(Reason::TokenExpired, "session_over"));
        }
        if !self.authority.client(&session.state.client).is_some_and(|client| client.enabled) {
            return Err(gone("client_disabled"));
        }
        let granted = &session.granted;
        if granted.outside {
            // Who was vouched for outside is nobody without that authority.
            return if self.renewals.is_some() { Ok((session, live)) } else { Err(gone("authority_removed")) };
        }
        let vouched = |name: &String| self.authority.still_vouches(name, granted.credential.as_ref());
        if !granted.username.as_ref().is_none_or(vouched) {
            return Err(gone("account_changed"));
        }
        Ok((session, live))
    }

    /// Whether clients have the tokens of the authority outside.
    pub(super) fn passes_through(&self) -> bool {
        self.renewals.as_ref().is_some_and(|renewals| renewals.remote().settings().pass_through)
    }

    /// Whether `token` is a compact refresh token of ours. It has no sign of its own: only the salt of its family tells it
    /// from what others hand out, so the store is asked.
    pub(super) async fn is_compact_refresh_token(&self, token: &str) -> Result<bool, Refusal> {
        Ok(may_be_compact(token) && self.sessions.find_any_refresh(token).await.map_err(unavailable)?.is_some())
    }

    /// The token that was handed out with the newest refresh token has come: so the client has both.
    fn acknowledge(&self, session: &Session, access: &Access) {
        let state = &session.state;
        if access.generation == state.generation && state.acknowledged < state.generation {
            self.sessions.acknowledge(session.id, state.generation);
        }
    }
}

impl Auth {
    /// An opaque token of our own. Never remembered as refused: the store is ours, and what is false never gets there.
    pub(super) async fn validate_own_opaque(
        &self,
        own: &Own,
        token: &str,
        digest: TokenDigest,
        policy: &Policy,
    ) -> Result<Arc<Verdict>, Refusal> {
        trusts_local(policy)?;
        let opaque = own.sessions.ring().read_access(token);
        let opaque = opaque.ok_or(Refusal::new(Reason::TokenInvalid, "bad_mac"))?;
        let (session, live) = own.live_session(opaque.session).await?;
        self.verdict_of_access(own, &session, live, &opaque.digest, digest)
    }

    /// A token of the authority outside that we handed out; `None`: it is none.
    pub(super) async fn validate_passed(
        &self,
        own: &Own,
        token: &str,
        digest: TokenDigest,
        cx: &Context,
    ) -> Result<Option<Arc<Verdict>>, Refusal> {
        // Nothing about its form tells it from what somebody makes up.
        if cx.client.is_some_and(|address| self.questions.check(Key::address(address), cx.started).is_err()) {
            self.metrics.rate_limited(Limited::Store);
            return Err(Refusal::new(Reason::Undecided, "store_limited"));
        }
        let Some(id) = own.sessions.find_foreign(token).await.map_err(unavailable)? else { return Ok(None) };
        let (session, live) = own.live_session(id).await?;
        self.verdict_of_access(own, &session, live, &digest16(token.as_bytes()), digest).map(Some)
    }

    fn verdict_of_access(
        &self,
        own: &Own,
        session: &Session,
        live: Arc<Watched>,
        kept: &[u8; 16],
        digest: TokenDigest,
    ) -> Result<Arc<Verdict>, Refusal> {
        let Some(access) = session.state.access.iter().find(|access| access.digest == *kept) else {
            return Err(Refusal::new(Reason::TokenRevoked, "token_superseded"));
        };
        let expires = access.expires.min(session.state.absolute);
        if own.sessions.now() >= expires {
            return Err(Refusal::new(Reason::TokenExpired, "expired"));
        }
        own.acknowledge(session, access);
        let valid_until = own.sessions.on_our_clock(expires);
        let scope = access.scope.as_ref().unwrap_or(&session.granted.scope).to_string();
        let audiences = access.audiences.as_ref().unwrap_or(&session.granted.audiences);
        let verdict = Verdict {
            session: Some(live),
            slides: own.slides(session, access),
            ..self.verdict(
                LOCAL_ISSUER,
                &claims(own.issuer(), session, scope).into(),
                audiences.iter().map(String::as_str),
                valid_until,
                valid_until,
            )
        };
        self.keep_own(digest, verdict)
    }

    /// A JWT of our own: our key, our type, and a session that lives.
    pub(super) async fn validate_own_jwt(
        &self,
        own: &Own,
        peek: Peek<'_>,
        digest: TokenDigest,
        policy: &Policy,
    ) -> Result<Arc<Verdict>, Refusal> {
        trusts_local(policy)?;
        let verdict = self.read_own_jwt(own, peek, digest, Duration::ZERO).await?;
        self.keep_own(digest, verdict)
    }

    /// The same, not kept, for a token that may be over by less than `late`.
    pub(super) async fn read_own_jwt(
        &self,
        own: &Own,
        peek: Peek<'_>,
        digest: TokenDigest,
        late: Duration,
    ) -> Result<Verdict, Refusal> {
        // Another replica may have made it, by the store's clock as well.
        let now = own.sessions.now();
        if !own.signing.are_there() {
            return Err(Refusal::new(Reason::Undecided, "keys_unavailable"));
        }
        let verified = peek.verify_late(&own.rules, &own.signing.keys(), now, late).map_err(refusal_of)?;
        let text = |name| verified.claims.text(name);
        let id = text("sid").and_then(|id| id.parse().ok());
        let id = id.ok_or(Refusal::new(Reason::TokenInvalid, "no_session"))?;
        let (session, live) = own.live_session(id).await?;
        // The leeway is for clocks that run ahead (`iat`); our own tokens end when they say so.
        let expires = verified.expires.min(session.state.absolute);
        if late.is_zero() && now >= expires {
            return Err(Refusal::new(Reason::TokenExpired, "expired"));
        }
        let valid_until = own.sessions.on_our_clock(expires);
        let digest_of = text("jti").map(|jti| digest16(jti.as_bytes()));
        let access = session.state.access.iter().find(|access| Some(access.digest) == digest_of);
        if let Some(access) = access {
            own.acknowledge(&session, access);
        }
        Ok(Verdict {
            liveness: Some(verified.key.liveness().clone()),
            session: Some(live),
            succession: access.and_then(|access| own.succession(&session, access, digest, verified.key.liveness())),
            ..self.verdict(
                LOCAL_ISSUER,
                verified.claims.members(),
                verified.claims.audiences(),
                valid_until,
                valid_until,
            )
        })
    }

    pub(super) fn keep_own(&self, digest: TokenDigest, verdict: Verdict) -> Result<Arc<Verdict>, Refusal> {
        let verdict = Arc::new(verdict);
        self.cache.keep(digest, verdict.clone());
        // The session may have ended while the store was read; whoever comes from here on sees it on the hit.
        if !verdict.is_alive() {
            return Err(Refusal::new(Reason::TokenRevoked, "session_revoked"));
        }
        Ok(verdict)
    }
}

/// Nothing that a token of ours could say opens a route that does not trust us.
pub(super) fn trusts_local(policy: &Policy) -> Result<(), Refusal> {
    let trusted = policy.issuers.contains(&LOCAL_ISSUER);
    trusted.then_some(()).ok_or(Refusal::new(Reason::IssuerRefused, "local_not_trusted"))
}

/// The store did not answer: nothing is decided by that.
pub(super) fn unavailable(error: StoreError) -> Refusal {
    tracing::warn!(%error, "the session store could not be asked");
    Refusal::new(Reason::Undecided, "store_unavailable")
}

/// What a JWT of this session would say.
pub(super) fn claims(issuer: &str, session: &Session, scope: String) -> Map<String, Value> {
    let granted = &session.granted;
    let mut claims = granted.claims.clone();
    for (name, value) in [
        ("iss", issuer.into()),
        ("sub", granted.subject.clone().into()),
        ("client_id", session.state.client.clone().into()),
        ("scope", scope.into()),
        ("sid", session.id.to_string().into()),
    ] {
        claims.insert(name.to_owned(), value);
    }
    if granted.username.is_some() {
        claims.insert("auth_time".to_owned(), granted.auth_time.0.into());
    }
    claims
}

/// RFC 9068, section 4: `at+jwt` and nothing else, so that neither an ID token nor an internal one passes.
fn rules(settings: &config::Authority) -> config::Issuer {
    config::Issuer { name: LOCAL.into(), ..verify::rules(&settings.issuer, &[ACCESS_TOKEN], true) }
}
