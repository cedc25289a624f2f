//! What an access token of a session says, and its form where others can read it: a JWT (RFC 9068).

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Map, Value, json};

use super::{
    record::{Granted, SessionId},
    ring::digest16,
    tokens::Made,
};
use crate::{
    config::Client,
    jose::{SigningKeys, mint::MintError},
    model::{Scope, Secret, UnixTime},
};

/// What a token says, in whatever form.
pub struct About<'a> {
    pub session: SessionId,
    pub client: &'a Client,
    pub granted: &'a Granted,
    /// As far as this token goes: the grant's, or less.
    pub scope: &'a Scope,
    pub audiences: &'a [String],
    pub issued: UnixTime,
    pub expires: UnixTime,
}

impl About<'_> {
    /// The claims of an access token. Nothing that is known of a user takes the place of what the token itself says.
    pub fn claims(&self, issuer: &str) -> Map<String, Value> {
        let granted = self.granted;
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", json!(issuer));
        put(
            "aud",
            match self.audiences {
                [only] => json!(only),
                several => json!(several),
            },
        );
        put("exp", json!(self.expires.0));
        put("iat", json!(self.issued.0));
        put("client_id", json!(self.client.id));
        put("sub", json!(granted.subject));
        put("scope", json!(self.scope.to_string()));
        put("sid", json!(self.session.to_string()));
        if granted.username.is_some() {
            put("auth_time", json!(granted.auth_time.0));
        }
        claims.extend(self.personal());
        claims
    }

    /// Claims that speak of who the token is about, not of the token.
    pub fn personal(&self) -> impl Iterator<Item = (String, Value)> {
        let claims = self.granted.claims.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str()));
        claims.map(|(name, value)| (name.clone(), value.clone()))
    }

    /// The same as a JWT of its own name.
    ///
    /// # Errors
    /// If there is no randomness, or it cannot be signed.
    pub fn jwt(&self, issuer: &str, signing: &SigningKeys) -> Result<Made, MintError> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| MintError::Crypto)?;
        let id = BASE64URL.encode(id);
        let mut claims = self.claims(issuer);
        claims.insert("jti".to_owned(), json!(id));
        Ok(Made { token: Secret::new(signing.sign(ACCESS_TOKEN, &claims)?), digest: digest16(id.as_bytes()) })
    }
}

/// The `typ` of access tokens (RFC 9068, section 2.1).
pub const ACCESS_TOKEN: &str = "at+jwt";
/// Claims that speak of the token, not of who it is about. `cnf` would bind it to a key.
const RESERVED: [&str; 16] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "client_id",
    "sub",
    "scope",
    "sid",
    "auth_time",
    "azp",
    "nonce",
    "at_hash",
    "cnf",
    "act",
];
