//! Access tokens, opaque or JWT (RFC 9068), and ID tokens (OpenID Connect Core, section 2).

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use super::Grants;
use crate::{
    config::TokenFormat,
    model::{Secret, TokenError},
    session::{Access, Granted, Held, about::About, ring::digest16},
};

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
                let made = about.jwt(&self.settings().issuer, &self.signing)?;
                (made.token, made.digest)
            }
        };
        let Granted { scope, audiences, .. } = about.granted;
        let renews = passed.is_none() && about.client.renews(about.granted.grant).is_some();
        let access = Access {
            digest,
            issued: about.issued,
            expires: passed.map_or(about.expires, |held| about.expires.min(held.expires)),
            // Set by the step that keeps it.
            generation: 0,
            scope: (about.scope != scope).then(|| about.scope.clone()),
            audiences: (about.audiences != audiences).then(|| about.audiences.to_vec()),
            foreign: passed.is_some(),
            grace: if renews { self.refresh.accept_expired_for.as_secs() } else { 0 },
        };
        Ok(Minted { token, access })
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
        claims.extend(about.personal());
        Ok(Some(Secret::new(self.signing.sign(ID_TOKEN, &claims)?)))
    }

    /// `at_hash`: the left half of the digest that belongs to the algorithm of the signature.
    fn half_digest(&self, token: &Secret<String>) -> String {
        let algorithm = match self.signing.algorithm() {
            Some(Algorithm::EdDSA) => &digest::SHA512,
            _ => &digest::SHA256,
        };
        let digest = digest::digest(algorithm, token.expose().as_bytes());
        BASE64URL.encode(&digest.as_ref()[..digest.as_ref().len() / 2])
    }
}

/// The `typ` of ID tokens: never that of access tokens.
const ID_TOKEN: &str = "JWT";
const OPENID: &str = "openid";
