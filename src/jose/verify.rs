//! The strict verification of a foreign JWT (RFC 7515, RFC 7519, RFC 8725).

use std::{sync::Arc, time::Duration};

use base64_simd::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::Algorithm;

use super::{
    claims::Claims,
    header::Header,
    keys::{Key, KeySet},
    refusal::JwtError,
};
use crate::{
    config::{Issuer, KeySource},
    json::{self, Member, Members},
    model::UnixTime,
};

/// A token that was taken apart and not yet believed.
pub struct Peek<'a> {
    header: Arc<Header>,
    claims: Members,
    /// Header and payload as they were signed.
    message: &'a str,
    signature: Vec<u8>,
}

/// A token whose signature, issuer and times are right. Audience, scope and the rest are for the route to decide.
#[derive(Debug)]
pub struct Verified {
    pub claims: Claims,
    /// `exp` as it stands in the token; the issuer's leeway comes on top.
    pub expires: UnixTime,
    pub not_before: Option<UnixTime>,
    /// The key that verified it; the verdict lives no longer than its liveness.
    pub key: Arc<Key>,
}

/// Takes a token apart, without believing a word of it.
///
/// # Errors
/// [`JwtError::NotAJwt`] if it does not even look like a signed JWT (an opaque token may stand there), or what is
/// wrong with its form.
pub fn peek(token: &str) -> Result<Peek<'_>, JwtError> {
    if token.len() > TOKEN_BYTES {
        return Err(JwtError::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JwtError::NotAJwt)?;
    let (header, payload) = message.split_once('.').ok_or(JwtError::NotAJwt)?;
    // Five parts: encrypted, and not for us.
    if payload.contains('.') {
        return Err(JwtError::NotAJwt);
    }
    let header = Header::decode(header)?;
    // The decoder refuses padding and trailing bits that are not zero, so that a token has one spelling only.
    let payload = BASE64URL.decode_to_vec(payload).map_err(|_| JwtError::Malformed("the payload is not base64url"))?;
    let claims = json::members(payload).map_err(|_| JwtError::Malformed("the payload is not a strict JSON object"))?;
    let signature =
        BASE64URL.decode_to_vec(signature).map_err(|_| JwtError::Malformed("the signature is not base64url"))?;
    if !claims.get("iss").is_some_and(Member::is_string) {
        return Err(JwtError::InvalidClaim("iss"));
    }
    Ok(Peek { header, claims, message, signature })
}

impl Peek<'_> {
    /// The `iss` that the token claims; only good for choosing whose keys to try.
    pub fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Member::as_str).unwrap_or_default()
    }

    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// In lower case, without `application/`.
    pub fn token_type(&self) -> Option<&str> {
        self.header.token_type.as_deref()
    }

    /// Whether `issuer` issues tokens of this type.
    pub fn type_is_accepted(&self, issuer: &Issuer) -> bool {
        self.check_type(issuer).is_ok()
    }

    /// The signature alone: for `explain`, which goes on where [`Peek::verify`] does not.
    ///
    /// # Errors
    /// Why no key verifies it.
    pub fn signature(&self, keys: &KeySet) -> Result<(), JwtError> {
        self.check_signature(keys).map(drop)
    }

    /// What the token claims; to be shown, and to decide nothing.
    pub fn claims(&self) -> &Members {
        &self.claims
    }

    /// Verifies the token as one of `issuer`, whose keys are `keys`.
    ///
    /// # Errors
    /// The first rule that the token breaks. Claims are looked at only behind a good signature.
    pub fn verify(self, issuer: &Issuer, keys: &KeySet, now: UnixTime) -> Result<Verified, JwtError> {
        if self.issuer() != issuer.issuer {
            return Err(JwtError::WrongIssuer);
        }
        // Before any key is looked at: the token does not choose how it is verified.
        if !issuer.algorithms.contains(&self.header.algorithm) {
            return Err(JwtError::AlgorithmNotAllowed);
        }
        self.check_type(issuer)?;
        let key = self.check_signature(keys)?;
        let claims = Claims::read(self.claims)?;
        let expires = claims.expires().ok_or(JwtError::MissingClaim("exp"))?;
        claims.check_times(now, issuer.leeway)?;
        Ok(Verified { expires, not_before: claims.not_before(), claims, key })
    }

    /// The same for a token that may be over, by less than `late`.
    ///
    /// # Errors
    /// As [`Peek::verify`].
    pub fn verify_late(
        self,
        issuer: &Issuer,
        keys: &KeySet,
        now: UnixTime,
        late: Duration,
    ) -> Result<Verified, JwtError> {
        // Not believed yet: what it says of its end is signed like the rest.
        let end = self.claims.get("exp").and_then(Member::as_u64).map(UnixTime);
        let last = end.filter(|end| now >= *end && now < end.plus(late.as_secs())).map(|end| end.minus(1));
        self.verify(issuer, keys, last.unwrap_or(now))
    }

    fn check_type(&self, issuer: &Issuer) -> Result<(), JwtError> {
        let accepted = match &self.header.token_type {
            Some(name) => issuer.token_types.contains(name),
            None => !issuer.token_type_required,
        };
        accepted.then_some(()).ok_or(JwtError::TypeNotAccepted)
    }

    fn check_signature(&self, keys: &KeySet) -> Result<Arc<Key>, JwtError> {
        let mut known = false;
        let mut tried = 0;
        for key in keys.with_kid(self.kid()) {
            known = true;
            if !key.allows(self.header.algorithm) {
                continue;
            }
            if tried == KEYS_TRIED {
                break;
            }
            tried += 1;
            if key.verifies(self.header.algorithm, self.message.as_bytes(), &self.signature) {
                return Ok(Arc::clone(key));
            }
        }
        Err(match (known, tried) {
            (_, 1..) => JwtError::BadSignature,
            // Without a `kid`, a key that fits may still come.
            (true, 0) if self.kid().is_some() => JwtError::KeyUnfit,
            (_, 0) => JwtError::UnknownKey,
        })
    }
}

/// What a token must be like whose keys are at hand: any algorithm that its key allows, and one of these types, or none
/// at all where it is not `required`.
pub fn rules(issuer: &str, token_types: &[&str], required: bool) -> Issuer {
    Issuer {
        name: issuer.into(),
        issuer: issuer.to_owned(),
        keys: KeySource::None,
        algorithms: ASYMMETRIC.to_vec(),
        token_types: token_types.iter().map(|&name| name.to_owned()).collect(),
        token_type_required: required,
        leeway: Duration::from_secs(30),
        required: false,
        ca_file: None,
        refresh_interval: Duration::ZERO,
        max_stale: Duration::ZERO,
        inquiry: None,
    }
}

/// Every algorithm whose keys have a public half.
pub const ASYMMETRIC: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
/// Bytes of a token.
pub const TOKEN_BYTES: usize = 16 * 1024;
/// Signatures that one token without a `kid` may cost.
const KEYS_TRIED: usize = 4;

#[cfg(test)]
mod tests;
