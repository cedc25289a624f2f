//! The local authority, its clients and users, its store and its keys, checked.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use url::Url;

use super::{Account, Consinco, DeclaredPlace, NamedFile, Rate, Redex, RedisStore, Remote};
use crate::model::{GrantType, Scope, Secret};

#[derive(Debug, Clone, PartialEq)]
pub struct Authority {
    /// Exactly the `iss` of its tokens: no query, no fragment, no slash at the end.
    pub issuer: String,
    pub audiences: Vec<String>,
    /// By `client_id`.
    pub clients: HashMap<String, Arc<Client>>,
    pub users: Users,
    /// Vouches in our place.
    pub remote: Option<Remote>,
    /// Scope to what the consent page says of it, in the order of the file.
    pub scopes: Vec<(String, String)>,
    pub endpoints: Endpoints,
    pub signing: Signing,
    pub pages: Pages,
    pub intent: Intent,
    pub throttle: Throttle,
    pub cors_origins: Vec<String>,
    pub sessions_per_user: u32,
    pub sessions_per_client: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    pub id: Arc<str>,
    pub name: String,
    pub enabled: bool,
    pub authentication: ClientAuthentication,
    pub grants: Vec<GrantType>,
    pub redirect_uris: Vec<String>,
    pub scopes: Scope,
    pub default_scopes: Scope,
    /// Never empty.
    pub audiences: Vec<String>,
    pub format: TokenFormat,
    pub access_lifetime: Duration,
    /// How access tokens that are used renew themselves; see [`Client::renews`].
    pub renewal: Option<Renewal>,
    /// `Stable` only for clients that authenticate.
    pub rotation: Rotation,
    pub idle: Duration,
    pub absolute: Duration,
    /// `scope` of a refresh narrows (RFC 6749, section 6).
    pub narrows: bool,
    pub intent: bool,
    pub pkce: bool,
    pub asks_consent: bool,
    pub introspects_all: bool,
    pub claims: Map<String, Value>,
    pub account: Option<Account>,
}

impl Client {
    pub fn may(&self, grant: GrantType) -> bool {
        self.grants.contains(&grant)
    }

    /// How an access token of `grant` renews itself by being used. Never that of a client on its own behalf, which can
    /// ask again, nor one that has stood in a URI.
    pub fn renews(&self, grant: GrantType) -> Option<Renewal> {
        match grant {
            GrantType::AuthorizationCode | GrantType::Password | GrantType::ApiKey => self.renewal,
            GrantType::ClientCredentials | GrantType::Implicit | GrantType::Basic | GrantType::RefreshToken => None,
        }
    }

    /// Whether the client still may have what it was granted; otherwise, in a word, what was taken from it.
    ///
    /// # Errors
    /// What was taken.
    pub fn still_may(&self, grant: GrantType, scope: &Scope, audiences: &[String]) -> Result<(), &'static str> {
        if !self.may(grant) {
            Err("grant_removed")
        } else if !scope.is_within(&self.scopes) {
            Err("scope_removed")
        } else if !audiences.iter().all(|audience| self.audiences.contains(audience)) {
            Err("audience_removed")
        } else {
            Ok(())
        }
    }

    pub fn is_public(&self) -> bool {
        matches!(self.authentication, ClientAuthentication::Public)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum ClientAuthentication {
    Public,
    /// One of them fits; at least one.
    Secrets(Vec<SecretHash>),
    /// The JWK Set as it stands in the file.
    PrivateKeyJwt(bytes::Bytes),
}

/// A hash as `sidegate hash` prints it.
#[derive(Debug, Clone, PartialEq)]
pub enum SecretHash {
    /// A PHC string, for what a person chose; checked to be argon2id within bounds.
    Argon2id(Secret<String>),
    /// `sha256:` and 64 hexadecimal digits, only for generated secrets of 120 random bits or more.
    Sha256(Secret<[u8; 32]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFormat {
    Opaque,
    Jwt,
}

/// What becomes of an access token that is used in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The same one goes on being good. Only opaque ones.
    Sliding,
    /// The answer carries the next one. Only JWTs.
    Successor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    Rotate,
    Stable,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Users {
    /// By username; may be empty.
    Listed(HashMap<String, Arc<User>>),
    Http(HttpUsers),
    Ldap(LdapUsers),
}

#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub username: String,
    pub subject: String,
    /// `None`: nobody signs in as this user with a password; then there is an API key.
    pub password: Option<SecretHash>,
    /// All of them SHA-256.
    pub api_keys: Vec<SecretHash>,
    pub enabled: bool,
    pub claims: Map<String, Value>,
    pub account: Option<Account>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HttpUsers {
    pub url: Url,
    pub token: Option<Secret<String>>,
    pub ca_file: Option<NamedFile>,
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LdapUsers {
    pub url: Url,
    pub start_tls: bool,
    pub ca_file: Option<NamedFile>,
    /// Holds `{username}` exactly once.
    pub bind_dn: String,
    /// Claim to attribute.
    pub claims: Vec<(String, String)>,
    pub subject: Option<String>,
    pub timeout: Duration,
}

/// Canonical paths, all different; `None`: switched off.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoints {
    pub authorize: Option<String>,
    /// Where users come back to who sign in at the authority outside.
    pub callback: Option<String>,
    pub token: Option<String>,
    pub revoke: Option<String>,
    pub introspect: Option<String>,
    pub jwks: String,
    pub redex: Redex,
    /// Without a client where it is not served.
    pub consinco: Consinco,
    pub declared: Vec<DeclaredPlace>,
}

impl Endpoints {
    /// Every path that is served.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let switchable = [
            &self.authorize,
            &self.callback,
            &self.token,
            &self.revoke,
            &self.introspect,
            &self.redex.token,
            &self.redex.refresh,
            &self.consinco.login,
            &self.consinco.refresh,
        ];
        let declared = self.declared.iter().map(|place| &place.path);
        switchable.into_iter().flatten().chain([&self.jwks]).chain(declared).map(String::as_str)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Signing {
    /// ES256, RS256 or EdDSA.
    pub algorithm: Algorithm,
    /// `None`: the keys are made and kept in the store.
    pub folder: Option<PathBuf>,
    /// `None`: only by hand.
    pub rotate_after: Option<Duration>,
    pub publish_ahead: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Pages {
    pub theme: Option<PathBuf>,
    pub title: String,
    pub form_lifetime: Duration,
    /// Zero: never.
    pub remember: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    pub types: Vec<String>,
    pub verifier: Option<Url>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Throttle {
    pub per_pair: Rate,
    pub per_address: Rate,
    pub per_name: Rate,
    /// At least 1.
    pub password_checks: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Store {
    Memory,
    Redb { path: PathBuf },
    Redis(Box<RedisStore>),
}

impl Store {
    /// As metrics and `/status` write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Store::Memory => "memory",
            Store::Redb { .. } => "redb",
            Store::Redis(_) => "redis",
        }
    }
}

/// The master ring.
#[derive(Debug, Clone, PartialEq)]
pub enum MasterKeys {
    /// Made at start and forgotten at the end: only with the store `memory`.
    Ephemeral,
    /// The content of the file, which is a ring (see [`crate::config::MasterRing`]).
    Given(MasterRing),
    /// To be made at start in this file, which is not there yet.
    Generate(PathBuf),
}

/// Keys of 256 bits with their ids; the first one is current, the others still open what they sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct MasterRing(pub Vec<(u32, Secret<[u8; 32]>)>);

/// Claims that a token says of itself, or that say how it was got: no user and no client can have them as their own.
pub const RESERVED_CLAIMS: [&str; 23] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "azp",
    "scope",
    "scp",
    "sid",
    "cnf",
    "act",
    "may_act",
    "nonce",
    "auth_time",
    "acr",
    "amr",
    "at_hash",
    "c_hash",
    "intentid",
    "itype",
];

/// The name of the local authority in policies; no issuer may be called so.
pub const LOCAL: &str = "local";

/// The place of the local authority in [`super::Policy::issuers`]: behind every other.
pub const LOCAL_ISSUER: usize = usize::MAX;
