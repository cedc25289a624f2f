//! The authorization request (RFC 6749, section 4): whether it may go on, and what is given for it in the end.
//!
//! A request is checked anew at each step of its way through the pages, with the configuration of that moment.

mod away;
mod check;
mod intent;
mod issue;
mod parameters;
mod redirect;
#[cfg(test)]
mod tests;
mod vouched;

use std::sync::Arc;

pub use self::{
    away::{Away, NotSignedIn},
    check::check,
    intent::verify as verify_intent,
    issue::SignedIn,
    parameters::{Parameters, Repeated},
    redirect::Target,
};
use crate::{
    config::Client,
    model::{GrantType, Scope},
};

/// A request that may go on to the user.
#[derive(Debug, Clone, PartialEq)]
pub struct Authorization {
    pub client: Arc<Client>,
    pub target: Target,
    pub response: ResponseType,
    pub scope: Scope,
    /// What its access tokens will be for.
    pub audiences: Vec<String>,
    /// As it stood in the request, if it did: then it must stand in the token request as well.
    pub redirect_uri: Option<String>,
    /// S256 (RFC 7636).
    pub challenge: Option<String>,
    pub nonce: Option<String>,
    pub login_hint: Option<String>,
    /// Languages that the user prefers, in their order, separated by spaces.
    pub ui_locales: Option<String>,
    pub prompt: Prompt,
    /// Seconds that a sign-in may be old.
    pub max_age: Option<u64>,
    pub intent: Option<Intent>,
}

impl Authorization {
    /// What comes of it.
    pub fn grant(&self) -> GrantType {
        match self.response {
            ResponseType::Code => GrantType::AuthorizationCode,
            ResponseType::Token => GrantType::Implicit,
        }
    }
}

/// What the user is shown (OpenID Connect Core, section 3.1.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prompt {
    /// No page at all.
    pub none: bool,
    /// The sign-in page, whoever is remembered.
    pub login: bool,
    /// The same: another account may be meant.
    pub select_account: bool,
    /// The consent page, whatever the client's settings.
    pub consent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseType {
    Code,
    /// Implicit.
    Token,
}

/// What the user is to agree to, made by an earlier call of the client to an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub id: String,
    pub kind: String,
}

/// Why a request does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nobody knows where an answer should go: the user is told, and nothing is redirected.
    Page(Fault),
    /// The client is told.
    Redirect(Target, Refusal),
}

/// What makes it unknown where an answer should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    ClientMissing,
    ClientRepeated,
    /// Unknown or disabled.
    ClientUnknown,
    RedirectMissing,
    RedirectRepeated,
    RedirectUnknown,
    TooLong,
}

/// What a client reads in the redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub error: AuthorizeError,
    pub description: Option<&'static str>,
}

/// RFC 6749 (4.1.2.1), RFC 8707 (2) and OpenID Connect Core (3.1.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizeError {
    InvalidRequest,
    UnauthorizedClient,
    AccessDenied,
    UnsupportedResponseType,
    InvalidScope,
    InvalidTarget,
    ServerError,
    TemporarilyUnavailable,
    LoginRequired,
    ConsentRequired,
    InteractionRequired,
    AccountSelectionRequired,
    RequestNotSupported,
    RequestUriNotSupported,
}

impl AuthorizeError {
    pub fn as_str(self) -> &'static str {
        match self {
            AuthorizeError::InvalidRequest => "invalid_request",
            AuthorizeError::UnauthorizedClient => "unauthorized_client",
            AuthorizeError::AccessDenied => "access_denied",
            AuthorizeError::UnsupportedResponseType => "unsupported_response_type",
            AuthorizeError::InvalidScope => "invalid_scope",
            AuthorizeError::InvalidTarget => "invalid_target",
            AuthorizeError::ServerError => "server_error",
            AuthorizeError::TemporarilyUnavailable => "temporarily_unavailable",
            AuthorizeError::LoginRequired => "login_required",
            AuthorizeError::ConsentRequired => "consent_required",
            AuthorizeError::InteractionRequired => "interaction_required",
            AuthorizeError::AccountSelectionRequired => "account_selection_required",
            AuthorizeError::RequestNotSupported => "request_not_supported",
            AuthorizeError::RequestUriNotSupported => "request_uri_not_supported",
        }
    }
}

impl From<AuthorizeError> for Refusal {
    fn from(error: AuthorizeError) -> Refusal {
        Refusal { error, description: None }
    }
}

impl Refusal {
    pub fn invalid_request(description: &'static str) -> Refusal {
        Refusal { error: AuthorizeError::InvalidRequest, description: Some(description) }
    }

    pub fn location(&self, target: &Target, issuer: &str) -> String {
        let error = [("error", self.error.as_str())];
        match self.description {
            Some(description) => target.location(&[error[0], ("error_description", description)], issuer),
            None => target.location(&error, issuer),
        }
    }
}
