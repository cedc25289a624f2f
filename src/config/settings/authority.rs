//! Token endpoints of our own: who may ask, who signs in, and what they get.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Account, Algorithm, Consinco, DeclaredMount, Pairs, Rate, Redex, Remote, Span};

/// The local authority: token endpoints served by sidegate itself.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Authority {
    /// The `iss` of its tokens: the public URL of the host on which its endpoints are reached. Policies call it `local`.
    pub issuer: Option<String>,
    /// `aud` of access tokens, unless the client has its own.
    pub audiences: Vec<String>,
    /// Who may ask for tokens.
    pub clients: Vec<Client>,
    /// The same list in a file of its own, under the key `clients`.
    pub clients_file: Option<PathBuf>,
    /// Who may sign in.
    pub users: Vec<User>,
    /// The same list in a file of its own, under the key `users`.
    pub users_file: Option<PathBuf>,
    /// Users are verified elsewhere, instead of `users`.
    pub user_service: Option<UserService>,
    /// An authority outside that vouches in our place.
    pub remote: Option<Remote>,
    /// Scopes and what the consent page says of them; a client may only name scopes of this list, if there is one.
    pub scopes: Pairs<String>,
    /// Where the endpoints are; `off` switches one off.
    pub endpoints: Endpoints,
    /// Keys for tokens that are JWTs.
    pub signing: Signing,
    /// What the sign-in and consent pages look like.
    pub pages: Pages,
    /// What travels with a grant besides its scope.
    pub intent: Intent,
    /// Attempts before further ones are slowed down.
    pub throttle: Throttle,
    /// Origins of browsers that may read the answers of the token endpoint and of the documents; never of the pages.
    pub cors_origins: Vec<String>,
    /// Sessions that one user may have at once; the oldest ends for a new one. Default: 100.
    pub sessions_per_user: Option<u32>,
    /// The same for one client on its own behalf. Default: 10000.
    pub sessions_per_client: Option<u32>,
}

/// Who may ask for tokens.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Client {
    /// `client_id`.
    pub id: Option<String>,
    /// What the consent page calls it. Default: `id`.
    pub name: Option<String>,
    /// false: refused, also at its next refresh. Default: true.
    pub enabled: Option<bool>,
    /// No secret at all: an application on a device or in a browser. Default: false.
    pub public: Option<bool>,
    /// Hashes of its secret, as `sidegate hash` prints them; more than one while it is changed.
    pub secret_hashes: Vec<String>,
    /// A JWK Set for `private_key_jwt` (RFC 7523).
    pub jwks_file: Option<PathBuf>,
    /// authorization_code, client_credentials, password, refresh_token, api_key, implicit, basic.
    pub grants: Vec<Grant>,
    /// Compared byte for byte; only the port of a loopback address may vary.
    pub redirect_uris: Vec<String>,
    /// What it may have.
    pub scopes: Vec<String>,
    /// What it gets when it asks for none. Default: `scopes`.
    pub default_scopes: Option<Vec<String>>,
    /// `aud` of its access tokens. Default: `audiences` of the authority.
    pub audiences: Vec<String>,
    /// Access tokens.
    pub access_token: AccessToken,
    /// Refresh tokens.
    pub refresh_token: RefreshToken,
    /// An authorization request must carry an intent. Default: false.
    pub intent: Option<bool>,
    /// PKCE with S256; public clients always. Default: true.
    pub pkce: Option<bool>,
    /// ask: the user confirms each sign-in; skip: for applications of your own. Default: ask.
    pub consent: Option<Consent>,
    /// It may ask about the tokens of all clients at the introspection endpoint. Default: false (only its own).
    pub introspects_all: Option<bool>,
    /// Claims of tokens that it gets on its own behalf.
    pub claims: Pairs<serde_json::Value>,
    /// Its account at the authority outside, for tokens on its own behalf; with `accounts: mapped`.
    pub account: Option<Account>,
}

/// How a client gets tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    AuthorizationCode,
    ClientCredentials,
    /// The user's password passes through the client (RFC 9700 advises against it).
    Password,
    RefreshToken,
    /// The token stands in the redirect (RFC 9700 advises against it).
    Implicit,
    /// A key that stands for one user; the dialect redex asks for it.
    ApiKey,
    /// Name and password on every request, on routes with `basic`.
    Basic,
}

/// Whether users are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    Ask,
    Skip,
}

/// What access tokens are like.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessToken {
    /// opaque, or jwt (RFC 9068). Default: opaque.
    pub format: Option<TokenFormat>,
    /// Default: 1h; implicit: at most 10m.
    pub lifetime: Option<Span>,
    /// none: it ends when it says so, and the client renews it; sliding: an opaque one that is used goes on being good
    /// until the session's absolute end, for clients that know nothing of refreshing; successor: the answer to a request
    /// with a JWT carries the next one (`refresh.successor_headers`), for clients that take it from there. Default: none.
    pub renewal: Option<TokenRenewal>,
}

/// Who renews an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRenewal {
    None,
    Sliding,
    Successor,
}

/// Whether a token can be read by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenFormat {
    Opaque,
    Jwt,
}

/// What refresh tokens are like.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RefreshToken {
    /// rotate: a new one each time, and reuse of an old one ends the session; stable: always the same, only for clients
    /// with a secret. Default: rotate.
    pub rotation: Option<Rotation>,
    /// The session ends when it was not refreshed for this long. Default: 30d.
    pub idle: Option<Span>,
    /// The session ends, whatever happens. Default: 90d.
    pub absolute: Option<Span>,
    /// ignore: `scope` of a refresh has no effect; narrow: RFC 6749, section 6. Default: ignore.
    pub scope: Option<RefreshScope>,
}

/// What becomes of a refresh token that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rotation {
    Rotate,
    Stable,
}

/// What `scope` means in a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RefreshScope {
    Ignore,
    Narrow,
}

/// Who may sign in.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// What is typed at sign-in.
    pub username: Option<String>,
    /// `sub`: never changes, and is no client's `id`. Default: `username`.
    pub subject: Option<String>,
    /// As `sidegate hash` prints it. A user with api_key_hashes may have none: then no password is right.
    pub password_hash: Option<String>,
    /// Hashes of generated API keys that stand for the user, as `sidegate hash --generate` prints them. Users of a
    /// `user_service` have none.
    pub api_key_hashes: Vec<String>,
    /// false: refused, also at the next refresh. Default: true.
    pub enabled: Option<bool>,
    /// Claims of the user's tokens.
    pub claims: Pairs<serde_json::Value>,
    /// The user's account at the authority outside; with `accounts: mapped`.
    pub account: Option<Account>,
}

/// Users are verified elsewhere: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserService {
    /// By a call to a service of yours.
    pub http: Option<HttpUsers>,
    /// By a bind at a directory.
    pub ldap: Option<LdapUsers>,
}

/// POST `{"username": …, "password": …, "client_id": …}`; 200 `{"subject": …, "claims": {…}}` is a yes, 401 or 403 a no.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpUsers {
    /// https, or http on loopback.
    pub url: Option<String>,
    /// A file with the bearer token that the call carries.
    pub token_file: Option<PathBuf>,
    /// Instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// For one call. Default: 5s.
    pub timeout: Option<Span>,
}

/// A bind with the user's name and password (RFC 4511, section 4.2).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LdapUsers {
    /// ldaps://host, or ldap://host with `start_tls` or on loopback.
    pub url: Option<String>,
    /// TLS on a connection that began without. Default: false.
    pub start_tls: Option<bool>,
    /// Instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// The name to bind with; `{username}` is replaced, escaped (RFC 4514).
    pub bind_dn: Option<String>,
    /// Claim to attribute, read from the user's own entry after the bind.
    pub claims: Pairs<String>,
    /// The attribute that is the subject. Default: what was typed.
    pub subject: Option<String>,
    /// For one bind. Default: 5s.
    pub timeout: Option<Span>,
}

/// Where the endpoints are.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoints {
    /// Default: /oauth20/authorize
    pub authorize: Option<String>,
    /// Default: /oauth20/token
    pub token: Option<String>,
    /// Default: /oauth20/revoke
    pub revoke: Option<String>,
    /// Default: /oauth20/introspect
    pub introspect: Option<String>,
    /// Default: /.well-known/jwks.json
    pub jwks: Option<String>,
    /// The endpoints of this dialect; absent: not served.
    pub redex: Option<Redex>,
    /// The endpoints of this dialect; absent: not served.
    pub consinco: Option<Consinco>,
    /// The endpoints of dialects that `dialects` tells of.
    pub declared: Vec<DeclaredMount>,
}

/// Keys for tokens that are JWTs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signing {
    /// ES256, RS256 or EdDSA. Default: ES256.
    pub algorithm: Option<Algorithm>,
    /// A folder that `sidegate keys` keeps; without it keys are made, kept in the store and rotated.
    pub folder: Option<PathBuf>,
    /// Age at which a key of the store is replaced; 0s: never. Default: 90d.
    pub rotate_after: Option<Span>,
    /// The next key is published this long before it is used. Default: 1h.
    pub publish_ahead: Option<Span>,
}

/// What the pages look like.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pages {
    /// A folder whose templates and style take the place of the built-in ones of the same name.
    pub theme: Option<PathBuf>,
    /// Shown above the form. Default: the host of `issuer`.
    pub title: Option<String>,
    /// How long a form may lie open. Default: 15m.
    pub form_lifetime: Option<Span>,
    /// How long users who tick it stay signed in, so that the next application needs no password; 0s: nobody is offered
    /// it. Default: 0s.
    pub remember: Option<Span>,
}

/// What travels with a grant: the published `intentid` and `itype`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Intent {
    /// Values of `itype`. Default: payments, rewards, redemptions, accounts, customers.
    pub types: Option<Vec<String>>,
    /// POST `{"intentid": …, "itype": …, "client_id": …}`; 2xx: it is there, 404: it is not. Absent: any is taken.
    pub verifier_url: Option<String>,
}

/// Attempts before further ones get 429.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Throttle {
    /// Wrong passwords and secrets for one name from one address. Default: 5 per 1m, burst 10.
    pub per_pair: Option<Rate>,
    /// Wrong ones from one address. Default: 30 per 1m, burst 60.
    pub per_address: Option<Rate>,
    /// Wrong ones for one name; it never locks a user out wholly. Default: 60 per 1m, burst 120.
    pub per_name: Option<Rate>,
    /// Passwords checked at once; more wait, and then get 429. Default: half of the CPUs, at least 1.
    pub password_checks: Option<u32>,
}
