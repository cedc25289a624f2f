//! Access tokens, opaque or JWT (RFC 9068), and ID tokens (OpenID Connect Core, section 2).

use aws_lc_rs::{digest, rand};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use super::Grants;
use crate::{
    config::{Client, TokenFormat},
    model::{Scope, Secret, TokenError, UnixTime},
    session::{Access, Granted, Held, SessionId, ring::digest16},
};

/// What a token says, in whatever form.
pub(super) struct About<'a> {
    pub session: SessionId,
    pub client: &'a Client,
    pub granted: &'a Granted,
    /// As far as this token goes: the grant's, or less.
    pub scope: &'a Scope,
    pub audiences: &'a [String],
    pub issued: UnixTime,
    pub expires: UnixTime,
}

/// An access token and what the session keeps of it.
pub(super) struct Minted {
    pub token: Secret<String>,
    pub access: Access,
}

impl Grants {
    /// The authority's own, where clients get those and `held` has it; ours otherwise.
    pub(super) fn access_token(&self, about: &About<'_>, held: Option<&Held>) -> Result<Minted, TokenError> {
        let passes = self.outside.as_ref().is_some_and(|outside| outside.remote().settings().pass_through);
        let passed = held.filter(|_| passes);
        let (token, digest) = match (passed, about.client.format) {
            (Some(held), _) => (held.access_token.clone(), digest16(held.access_token.expose().as_bytes())),
            (None, TokenFormat::Opaque) => {
                let made = self.sessions.ring().make_access(about.session)?;
                (made.token, made.digest)
            }
            (None, TokenFormat::Jwt) => {
                let jti = token_id()?;
                let mut claims = self.claims(about);
                claims.insert("jti".to_owned(), json!(jti));
                (Secret::new(self.signing.sign(ACCESS_TOKEN, &claims)?), digest16(jti.as_bytes()))
            }
        };
        let Granted { scope, audiences, .. } = about.granted;
        let slides = passed.is_none() && about.client.slides(about.granted.grant);
        let access = Access {
            digest,
            issued: about.issued,
            expires: passed.map_or(about.expires, |held| about.expires.min(held.expires)),
            // Set by the step that keeps it.
            generation: 0,
            scope: (about.scope != scope).then(|| about.scope.clone()),
            audiences: (about.audiences != audiences).then(|| about.audiences.to_vec()),
            foreign: passed.is_some(),
            grace: if slides { self.refresh.accept_expired_for.as_secs() } else { 0 },
        };
        Ok(Minted { token, access })
    }

    /// The claims of an access token. Nothing that is known of a user takes the place of what the token itself says.
    pub(super) fn claims(&self, about: &About<'_>) -> Map<String, Value> {
        let granted = about.granted;
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", json!(self.settings().issuer));
        put(
            "aud",
            match about.audiences {
                [only] => json!(only),
                several => json!(several),
            },
        );
        put("exp", json!(about.expires.0));
        put("iat", json!(about.issued.0));
        put("client_id", json!(about.client.id));
        put("sub", json!(granted.subject));
        put("scope", json!(about.scope.to_string()));
        put("sid", json!(about.session.to_string()));
        if granted.username.is_some() {
            put("auth_time", json!(granted.auth_time.0));
        }
        for (name, value) in &granted.claims {
            if !RESERVED.contains(&name.as_str()) {
                claims.insert(name.clone(), value.clone());
            }
        }
        claims
    }

    /// The ID token, if the scope asks for one.
    pub(super) fn id_token(
        &self,
        about: &About<'_>,
        access_token: &Secret<String>,
        nonce: Option<&str>,
    ) -> Result<Option<Secret<String>>, TokenError> {
        if !about.scope.contains(OPENID) {
            return Ok(None);
        }
        let granted = about.granted;
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", json!(self.settings().issuer));
        put("sub", json!(granted.subject));
        put("aud", json!(about.client.id));
        put("azp", json!(about.client.id));
        put("exp", json!(about.expires.0));
        put("iat", json!(about.issued.0));
        put("auth_time", json!(granted.auth_time.0));
        put("at_hash", json!(self.half_digest(access_token)));
        put("sid", json!(about.session.to_string()));
        if let Some(nonce) = nonce {
            put("nonce", json!(nonce));
        }
        for (name, value) in &granted.claims {
            if !RESERVED.contains(&name.as_str()) {
                claims.insert(name.clone(), value.clone());
            }
        }
        Ok(Some(Secret::new(self.signing.sign(ID_TOKEN, &claims)?)))
    }

    /// `at_hash`: the left half of the digest that belongs to the algorithm of the signature.
    fn half_digest(&self, token: &Secret<String>) -> String {
        let algorithm = match self.signing.algorithm() {
            Algorithm::EdDSA => &digest::SHA512,
            _ => &digest::SHA256,
        };
        let digest = digest::digest(algorithm, token.expose().as_bytes());
        BASE64URL.encode(&digest.as_ref()[..digest.as_ref().len() / 2])
    }
}

/// 128 random bits.
fn token_id() -> Result<String, TokenError> {
    let mut id = [0; 16];
    rand::fill(&mut id)?;
    Ok(BASE64URL.encode(id))
}

/// The `typ` of access tokens (RFC 9068, section 2.1).
pub(super) const ACCESS_TOKEN: &str = "at+jwt";
/// That of ID tokens: never mistaken for an access token.
const ID_TOKEN: &str = "JWT";
const OPENID: &str = "openid";
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
