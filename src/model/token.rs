//! What is asked of a token endpoint and what it answers, whatever dialect it was said in.

use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Secret, UnixTime};

/// A set of scope tokens (RFC 6749, section 3.3), in the order in which they were first named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Vec<String>);

/// A scope that RFC 6749 does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope")]
pub struct MalformedScope;

impl Scope {
    /// Reads tokens separated by spaces; a repeated one counts once.
    ///
    /// # Errors
    /// If a character stands there that no scope may have.
    pub fn parse(text: &str) -> Result<Scope, MalformedScope> {
        let good = |token: &str| token.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        if !text.split(' ').all(good) {
            return Err(MalformedScope);
        }
        Ok(text.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn contains(&self, token: &str) -> bool {
        self.iter().any(|own| own == token)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every token of `self` stands in `other`.
    pub fn is_within(&self, other: &Scope) -> bool {
        self.iter().all(|token| other.contains(token))
    }

    /// The tokens of `self` that stand in `other` as well.
    pub fn within(&self, other: &Scope) -> Scope {
        self.iter().filter(|token| other.contains(token)).map(str::to_owned).collect()
    }
}

impl FromIterator<String> for Scope {
    fn from_iter<I: IntoIterator<Item = String>>(tokens: I) -> Scope {
        let mut seen = BTreeSet::new();
        Scope(tokens.into_iter().filter(|token| seen.insert(token.clone())).collect())
    }
}

/// Separated by spaces.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// How a client gets a session, or goes on with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    AuthorizationCode,
    ClientCredentials,
    Password,
    RefreshToken,
    /// A key that stands for one user of one business account.
    ApiKey,
    /// `response_type=token` at the authorization endpoint.
    Implicit,
    /// HTTP Basic on a route.
    Basic,
}

impl GrantType {
    pub const ALL: [GrantType; 7] = [
        GrantType::AuthorizationCode,
        GrantType::ClientCredentials,
        GrantType::Password,
        GrantType::RefreshToken,
        GrantType::ApiKey,
        GrantType::Implicit,
        GrantType::Basic,
    ];

    /// As configuration, metrics and audit write it.
    pub fn as_str(self) -> &'static str {
        match self {
            GrantType::AuthorizationCode => "authorization_code",
            GrantType::ClientCredentials => "client_credentials",
            GrantType::Password => "password",
            GrantType::RefreshToken => "refresh_token",
            GrantType::ApiKey => "api_key",
            GrantType::Implicit => "implicit",
            GrantType::Basic => "basic",
        }
    }
}

/// Who a client says that it is, and how it proves it. More than one proof never gets here.
#[derive(Debug, Clone)]
pub struct PresentedClient {
    /// Missing where only an assertion names it, or nobody does.
    pub id: Option<String>,
    pub proof: ClientProof,
    /// By the `Authorization` header: then a refusal must carry the Basic challenge.
    pub by_header: bool,
}

#[derive(Debug, Clone)]
pub enum ClientProof {
    /// A public client.
    None,
    Secret(Secret<String>),
    /// `private_key_jwt` (RFC 7523, section 2.2).
    Assertion(Secret<String>),
}

/// What the refresh tokens of a session look like, from its first to its last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshForm {
    #[default]
    Full,
    /// 36 characters, for clients that have sized their columns by that.
    Compact,
}

impl RefreshForm {
    pub fn is_full(&self) -> bool {
        *self == RefreshForm::Full
    }
}

/// A request to a token endpoint, read from whatever dialect.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub client: PresentedClient,
    pub grant: Grant,
    /// For a session that begins here. One that goes on keeps its own, and that of a code was named before.
    pub refresh_form: RefreshForm,
    /// `None`: not given.
    pub scope: Option<Scope>,
    /// RFC 8707.
    pub resources: Vec<String>,
}

#[derive(Debug, Clone)]
pub enum Grant {
    AuthorizationCode {
        code: Secret<String>,
        redirect_uri: Option<String>,
        verifier: Option<Secret<String>>,
    },
    ClientCredentials,
    Password {
        username: String,
        password: Secret<String>,
        /// The business account to sign in to, where the dialect asks for one.
        company: Option<String>,
    },
    RefreshToken {
        token: Secret<String>,
    },
    ApiKey {
        key: Secret<String>,
    },
}

impl Grant {
    pub fn kind(&self) -> GrantType {
        match self {
            Grant::AuthorizationCode { .. } => GrantType::AuthorizationCode,
            Grant::ClientCredentials => GrantType::ClientCredentials,
            Grant::Password { .. } => GrantType::Password,
            Grant::RefreshToken { .. } => GrantType::RefreshToken,
            Grant::ApiKey { .. } => GrantType::ApiKey,
        }
    }
}

/// A successful answer, ready to be written in whatever dialect.
#[derive(Debug, Clone)]
pub struct TokenGrant {
    pub access_token: Secret<String>,
    /// Seconds.
    pub expires_in: u64,
    pub scope: Scope,
    pub refresh_token: Option<Secret<String>>,
    pub id_token: Option<Secret<String>>,
    /// What is known of the user, for dialects whose answers tell it.
    pub claims: Arc<Map<String, Value>>,
    /// What the user typed to sign in; `None` for a client on its own behalf.
    pub username: Option<String>,
    /// When the user signed in.
    pub auth_time: UnixTime,
    /// When the access token was issued: `expires_in` counts from here.
    pub issued: UnixTime,
}

/// The error codes of RFC 6749 (5.2), RFC 8707 and what we need beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    /// RFC 7009, section 2.2.1.
    UnsupportedTokenType,
    /// 503: not in section 5.2, but what clients understand.
    TemporarilyUnavailable,
    /// 500.
    ServerError,
}

impl ErrorCode {
    /// The code that is written so.
    pub fn parse(text: &str) -> Option<ErrorCode> {
        ErrorCode::ALL.into_iter().find(|code| code.as_str() == text)
    }

    pub const ALL: [ErrorCode; 10] = [
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidClient,
        ErrorCode::InvalidGrant,
        ErrorCode::UnauthorizedClient,
        ErrorCode::UnsupportedGrantType,
        ErrorCode::InvalidScope,
        ErrorCode::InvalidTarget,
        ErrorCode::UnsupportedTokenType,
        ErrorCode::TemporarilyUnavailable,
        ErrorCode::ServerError,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidRequest => "invalid_request",
            ErrorCode::InvalidClient => "invalid_client",
            ErrorCode::InvalidGrant => "invalid_grant",
            ErrorCode::UnauthorizedClient => "unauthorized_client",
            ErrorCode::UnsupportedGrantType => "unsupported_grant_type",
            ErrorCode::InvalidScope => "invalid_scope",
            ErrorCode::InvalidTarget => "invalid_target",
            ErrorCode::UnsupportedTokenType => "unsupported_token_type",
            ErrorCode::TemporarilyUnavailable => "temporarily_unavailable",
            ErrorCode::ServerError => "server_error",
        }
    }
}

/// A refusal: the client reads code and description, the log has the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", code.as_str())]
pub struct TokenError {
    pub code: ErrorCode,
    /// For the developer of a client; never what was sent. Only %x20-21, %x23-5B, %x5D-7E (RFC 6749, section 5.2).
    pub description: Option<Cow<'static, str>>,
    /// What is wrong with single members of the request, for dialects that tell it.
    pub faults: Vec<Fault>,
    /// What HTTP itself says, whatever the dialect and the code: 405, 408, 413 or 415.
    pub status: Option<StatusCode>,
    /// Too many requests: 429 with `Retry-After`, in seconds, whatever the code.
    pub throttled: Option<u64>,
    /// With 503, `Retry-After` in seconds, where somebody said it.
    pub retry_after: Option<u64>,
    /// For the log and the audit stream: no token, secret or password.
    pub cause: Option<String>,
}

/// What is wrong with one member of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// As the dialect calls it.
    pub member: String,
    /// Never what was sent.
    pub problem: &'static str,
}

impl TokenError {
    pub fn new(code: ErrorCode) -> TokenError {
        TokenError {
            code,
            description: None,
            faults: Vec::new(),
            status: None,
            throttled: None,
            retry_after: None,
            cause: None,
        }
    }

    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> TokenError {
        TokenError::new(ErrorCode::InvalidRequest).described(description)
    }

    pub fn invalid_client() -> TokenError {
        TokenError::new(ErrorCode::InvalidClient)
    }

    pub fn invalid_grant() -> TokenError {
        TokenError::new(ErrorCode::InvalidGrant)
    }

    pub fn unavailable() -> TokenError {
        TokenError::new(ErrorCode::TemporarilyUnavailable)
    }

    pub fn described(self, description: impl Into<Cow<'static, str>>) -> TokenError {
        TokenError { description: Some(description.into()), ..self }
    }

    /// At least one member is missing or wrong.
    pub fn faulty(faults: Vec<Fault>) -> TokenError {
        TokenError { faults, ..TokenError::new(ErrorCode::InvalidRequest) }
    }

    pub fn with_status(self, status: StatusCode) -> TokenError {
        TokenError { status: Some(status), ..self }
    }

    pub fn because(self, cause: impl Into<String>) -> TokenError {
        TokenError { cause: Some(cause.into()), ..self }
    }

    /// 429 instead of the code's own status; `seconds` become `Retry-After`.
    pub fn throttled(self, seconds: u64) -> TokenError {
        TokenError { throttled: Some(seconds.max(1)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_keeps_its_order_and_counts_each_token_once() {
        let scope = Scope::parse("b a  b c").unwrap();
        assert_eq!(scope.to_string(), "b a c");
        assert!(Scope::parse("").unwrap().is_empty());
        assert!(scope.contains("a") && !scope.contains(""));
        assert!(Scope::parse("c a").unwrap().is_within(&scope));
        assert_eq!(scope.within(&Scope::parse("c b x").unwrap()).to_string(), "b c");
    }

    #[test]
    fn what_rfc_6749_forbids_is_no_scope() {
        for text in ["a\"b", "a\\b", "é", "a\tb", "a\nb"] {
            assert_eq!(Scope::parse(text), Err(MalformedScope), "{text:?}");
        }
    }
}
