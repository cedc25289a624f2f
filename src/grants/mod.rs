//! `issue`: a token request and what is given for it.

mod api_key;
mod assertion;
pub mod authorize;
mod client;
mod client_credentials;
mod code;
pub mod keys;
mod known;
mod mint;
mod opening;
mod outside;
mod passed;
mod password;
mod refresh;
mod trail;

use std::sync::Arc;

pub use self::known::Introspected;
use self::{code::Redemption, keys::KeyKeeper, outside::Asked, password::Typed, refresh::Renewal, trail::Trail};
use crate::{
    authority::Authority,
    config::{self, Client},
    jose::{SigningKeys, mint::MintError},
    model::{Context, ErrorCode, Grant, GrantType, Scope, TokenError, TokenGrant, TokenRequest},
    refresh::Renewals,
    session::{Sessions, StoreError},
    spans,
    telemetry::metrics::Metrics,
};

/// Everything that a grant needs, of one generation of the configuration.
pub struct Grants {
    pub authority: Arc<Authority>,
    pub sessions: Arc<Sessions>,
    pub signing: Arc<SigningKeys>,
    /// Looks after [`Grants::signing`].
    pub keys: Arc<KeyKeeper>,
    /// Vouches in place of [`Grants::authority`].
    pub outside: Option<Arc<Renewals>>,
    pub refresh: config::Refresh,
    pub metrics: Arc<Metrics>,
}

impl Grants {
    /// Gives tokens for `request`, or says why not; either way one line of the audit stream tells of it.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn issue(self: &Arc<Self>, request: TokenRequest, cx: &Context) -> Result<TokenGrant, TokenError> {
        let (grants, cx) = (self.clone(), cx.clone());
        self.to_its_end(async move {
            let mut trail = Trail::new(request.grant.kind());
            let result = grants.decide(request, &mut trail, &cx).await;
            trail.write(result.as_ref().err(), &cx);
            result
        })
        .await
    }

    /// Detached: what changes a session is audited, also if the client has hung up meanwhile.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, TokenError>> + Send + 'static,
    ) -> Result<T, TokenError> {
        let ended = self.sessions.background().spawn(spans::carried(work)).await;
        ended.unwrap_or_else(|_| Err(TokenError::new(ErrorCode::ServerError).because("panicked")))
    }

    async fn decide(&self, request: TokenRequest, trail: &mut Trail, cx: &Context) -> Result<TokenGrant, TokenError> {
        trail.client = request.client.id.clone();
        let client = self.authenticate(request.client.clone(), cx).await?;
        trail.client = Some(client.id.to_string());
        let kind = request.grant.kind();
        if !client.may(kind) {
            return Err(TokenError::new(ErrorCode::UnauthorizedClient).because("grant_not_allowed"));
        }
        if let Some(outside) = self.outside.as_ref().filter(|_| begins_outside(kind)) {
            let TokenRequest { grant, scope, resources, refresh_form, .. } = request;
            let asked = Asked { grant, scope, resources, refresh_form };
            return Box::pin(self.begin_outside(outside, &client, asked, trail, cx)).await;
        }
        let (scope, resources, form) = (request.scope.as_ref(), &*request.resources, request.refresh_form);
        // Boxed, all but the most frequent one, which need not carry the room for the others.
        match &request.grant {
            Grant::AuthorizationCode { code, redirect_uri, verifier } => {
                let (redirect_uri, verifier) = (redirect_uri.as_deref(), verifier.as_ref());
                Box::pin(self.redeem(&client, Redemption { code, redirect_uri, verifier, resources }, trail)).await
            }
            Grant::ClientCredentials => Box::pin(self.client_credentials(&client, scope, resources, trail)).await,
            Grant::Password { username, password, company } => {
                let typed = Typed { username, password, company: company.as_deref(), scope, resources, form };
                Box::pin(self.password(&client, typed, trail, cx)).await
            }
            Grant::ApiKey { key } => Box::pin(self.api_key(&client, key, form, trail)).await,
            Grant::RefreshToken { token } => self.refresh(&client, Renewal { token, scope, resources }, trail).await,
        }
    }

    pub fn settings(&self) -> &config::Authority {
        self.authority.settings()
    }
}

/// Whether a session of this kind begins with a question to the authority outside. A code of ours was given for one
/// already, and a refresh goes on with one.
fn begins_outside(kind: GrantType) -> bool {
    match kind {
        GrantType::ClientCredentials | GrantType::Password | GrantType::ApiKey => true,
        GrantType::AuthorizationCode | GrantType::RefreshToken | GrantType::Implicit | GrantType::Basic => false,
    }
}

/// The scope of a new session: what was asked for, or what the client gets when it asks for none.
pub fn scope_for(client: &Client, asked: Option<&Scope>) -> Result<Scope, TokenError> {
    match asked {
        None => Ok(client.default_scopes.clone()),
        Some(asked) if asked.is_within(&client.scopes) => Ok(asked.clone()),
        Some(_) => Err(TokenError::new(ErrorCode::InvalidScope).because("scope_not_allowed")),
    }
}

/// The audiences of a token: all that are `allowed`, or those of them that were asked for (RFC 8707).
pub fn audiences_for(allowed: &[String], resources: &[String]) -> Result<Vec<String>, TokenError> {
    if !resources.iter().all(|resource| allowed.contains(resource)) {
        return Err(TokenError::new(ErrorCode::InvalidTarget).because("resource_not_allowed"));
    }
    let asked = |audience: &&String| resources.is_empty() || resources.contains(audience);
    Ok(allowed.iter().filter(asked).cloned().collect())
}

/// A store that is away is never a reason to refuse for good.
impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> TokenError {
        TokenError::unavailable().because(error.to_string())
    }
}

impl From<MintError> for TokenError {
    fn from(error: MintError) -> TokenError {
        match error {
            // They come when the store answers.
            MintError::NoCurrentKey => TokenError::unavailable().because("keys_unavailable"),
            error => TokenError::new(ErrorCode::ServerError).because(error.to_string()),
        }
    }
}

impl From<aws_lc_rs::error::Unspecified> for TokenError {
    fn from(_: aws_lc_rs::error::Unspecified) -> TokenError {
        TokenError::new(ErrorCode::ServerError).because("no_randomness")
    }
}
