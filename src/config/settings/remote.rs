//! The authority outside that vouches in our place, and how soon its tokens are renewed.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Pairs, Span};

/// An authority outside: an identity provider, or a token API that already exists. It vouches for users and clients, and
/// its tokens are kept with their sessions, where clients never see them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Remote {
    /// What it speaks: oauth2, redex, consinco, or the name of one of `dialects`.
    pub dialect: Option<String>,
    /// For oauth2: exactly the `iss` of its ID tokens. Its metadata is read below it (RFC 8414, OpenID Connect Discovery).
    pub issuer: Option<String>,
    /// For oauth2 without metadata: the token endpoint. For the others: the URL that their paths stand below.
    pub url: Option<String>,
    /// For oauth2 without metadata: where users sign in.
    pub authorization_endpoint: Option<String>,
    /// For oauth2 without metadata: the keys of its ID tokens.
    pub jwks_uri: Option<String>,
    /// redex and consinco: below `url`, where a session begins. Default: as published.
    pub token_path: Option<String>,
    /// redex and consinco: below `url`, where it is renewed. Default: as published.
    pub refresh_path: Option<String>,
    /// Who sidegate is to the authority.
    pub client: RemoteClient,
    /// oauth2, and what `dialects` tell of: what is asked for. Default: openid and offline_access where users sign in there, otherwise nothing.
    pub scopes: Option<Vec<String>>,
    /// oauth2: further parameters of each request to its token endpoint, for example audience.
    pub parameters: Pairs<String>,
    /// oauth2: further parameters of each request that sends a user there to sign in, for example prompt: consent, which
    /// some want before they give a refresh token.
    pub authorization_parameters: Pairs<String>,
    /// consinco: json or xml. Default: json.
    pub format: Option<Format>,
    /// consinco: the company of a sign-in that names none.
    pub company: Option<String>,
    /// own: clients get tokens of ours; pass_through: the authority's own access token, with a refresh token of ours.
    /// Default: own.
    pub tokens: Option<RemoteTokens>,
    /// presented: what a client sends goes on to the authority; mapped: users and clients of this file prove themselves
    /// here, and their `account` is used there. Default: presented.
    pub accounts: Option<Accounts>,
    /// sign_in: at /authorize users are sent to the authority; password: sidegate's own page asks for the password.
    /// Default: sign_in with oauth2, password with the others and with accounts: mapped.
    pub authorize: Option<AuthorizeAt>,
    /// oauth2: the path that the authority sends users back to. Default: /oauth20/callback
    pub callback: Option<String>,
    /// Instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// For one call. Default: 5s.
    pub timeout: Option<Span>,
    /// It is asked so much at once to begin sessions, and as much to renew them; more wait a moment, and are then told to
    /// come again. Default: 32.
    pub max_concurrent: Option<usize>,
}

/// Who sidegate is to the authority outside.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteClient {
    /// `client_id`.
    pub id: Option<String>,
    /// A file with its secret.
    pub secret_file: Option<PathBuf>,
    /// oauth2: a PKCS#8 PEM key for `private_key_jwt` (RFC 7523), instead of a secret.
    pub key_file: Option<PathBuf>,
    /// The `kid` of that key. Default: its thumbprint (RFC 7638).
    pub key_id: Option<String>,
    /// oauth2: basic, form, private_key_jwt or none. Default: by what is given.
    pub authentication: Option<RemoteAuthentication>,
}

/// How a client proves itself (OpenID Connect Core, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemoteAuthentication {
    Basic,
    Form,
    PrivateKeyJwt,
    None,
}

/// How a model is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Xml,
}

/// Whose access tokens clients get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemoteTokens {
    Own,
    PassThrough,
}

/// Whose credentials the authority sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Accounts {
    Presented,
    Mapped,
}

/// Where users sign in for an authorization code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizeAt {
    SignIn,
    Password,
}

/// An account at the authority outside: what sidegate signs in with there. A name and a password, or an API key.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Account {
    /// The user's name there.
    pub username: Option<String>,
    /// A file with the password.
    pub password_file: Option<PathBuf>,
    /// consinco: the business account.
    pub company: Option<String>,
    /// redex: a file with the API key.
    pub api_key_file: Option<PathBuf>,
}

/// When what is about to expire is renewed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Refresh {
    /// So long before its end a token is renewed beside the request. Default: a tenth of its life, between 5s and 60s.
    /// Each session is earlier by up to a quarter of that, so that those who began together are not renewed together.
    pub ahead: Option<Span>,
    /// A request waits this long for a renewal that it needs; then 503. Default: 5s.
    pub wait: Option<Span>,
    /// So long after its end a client's token that slides or has a successor is still taken, and is renewed once more.
    /// Default: 0s.
    pub accept_expired_for: Option<Span>,
    /// Whether a token that slides or gets a successor also moves the end of its session's refresh token
    /// (`refresh_token.idle`). Default: false.
    pub extends_idle: Option<bool>,
    /// Where clients with `renewal: successor` find the next token.
    pub successor_headers: SuccessorHeaders,
}

/// Headers of answers. What an upstream says under these names is removed as soon as there is a client with `renewal:
/// successor`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SuccessorHeaders {
    /// The next access token. Default: X-Access-Token
    pub token: Option<String>,
    /// Seconds that it is good for. Default: X-Access-Token-Expires-In
    pub expires_in: Option<String>,
}
