//! Who signed in at the authority, by its ID token (OpenID Connect Core, section 3.1.3.7).

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::{
    config::RESERVED_CLAIMS,
    jose::{Claims, JwtError, Verified, peek},
    jwks::{KeysUnavailable, Provider, Refetch},
    model::{Secret, UnixTime},
};

/// What an ID token must agree with.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Who we are: it must be for us.
    pub client_id: &'a str,
    /// What came with it.
    pub access_token: &'a Secret<String>,
    /// What the user was sent away with; `None`: nobody was.
    pub nonce: Option<&'a Secret<String>>,
}

/// Somebody whom the authority has vouched for in writing.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub subject: String,
    /// What people call it: `preferred_username`, `email`, or the subject.
    pub username: String,
    /// What else the authority says of it, within bounds; nothing that a token says of itself.
    pub claims: Map<String, Value>,
    /// When it proved who it is there, if that was said; by our own clock.
    pub auth_time: Option<UnixTime>,
}

/// Why an ID token says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Nobody knows: the authority's keys are not there.
    #[error("the keys of the authority are not available")]
    Undecided,
    #[error("there is no ID token")]
    Missing,
    #[error(transparent)]
    Token(#[from] JwtError),
    #[error("it speaks of somebody else")]
    OtherSubject,
    #[error("it is not for us")]
    OtherClient,
    #[error("it does not belong to this sign-in")]
    Nonce,
    #[error("it does not belong to the access token")]
    AccessToken,
}

/// Who `token` speaks of, by the keys of `provider`.
///
/// # Errors
/// Why it is not to be believed, or not now.
pub(super) async fn verify(
    provider: &Provider,
    token: &Secret<String>,
    expected: Expected<'_>,
    now: UnixTime,
) -> Result<Known, Unproven> {
    let token = token.expose();
    let algorithm = peek(token)?.algorithm();
    let verified = by_keys(provider, token, now).await?;
    read(&verified.claims, algorithm, expected, now)
}

async fn by_keys(provider: &Provider, token: &str, now: UnixTime) -> Result<Verified, Unproven> {
    let away = |KeysUnavailable| Unproven::Undecided;
    let peeked = peek(token)?;
    let nameless = peeked.kid().is_none();
    let keys = provider.keys_for(peeked.kid(), now).await.map_err(away)?;
    let outcome = peeked.verify(provider.issuer(), &keys, now);
    // Without a `kid`, a key that came with a rotation shows only in that no known one fits.
    let may_be_new = nameless && matches!(outcome, Err(JwtError::BadSignature | JwtError::UnknownKey));
    if !may_be_new || provider.refetch_for_unknown_kid(now).await != Refetch::Done {
        return Ok(outcome?);
    }
    let keys = provider.ready_or_wait().await.map_err(away)?;
    Ok(peek(token)?.verify(provider.issuer(), &keys, now)?)
}

/// What is said in a token whose signature, issuer and times are right.
fn read(claims: &Claims, algorithm: Algorithm, expected: Expected<'_>, now: UnixTime) -> Result<Known, Unproven> {
    let issued = claims.issued_at().ok_or(JwtError::MissingClaim("iat"))?;
    let subject = claims.subject().filter(|subject| !subject.is_empty()).ok_or(JwtError::MissingClaim("sub"))?;
    // A token for several says which of them had it made.
    let several = claims.audiences().nth(1).is_some();
    let party = claims.text("azp");
    if !claims.audiences().any(|audience| audience == expected.client_id)
        || party.is_some_and(|party| party != expected.client_id)
        || (several && party.is_none())
    {
        return Err(Unproven::OtherClient);
    }
    if let Some(nonce) = expected.nonce
        && !claims.text("nonce").is_some_and(|said| Secret::new(said.to_owned()) == *nonce)
    {
        return Err(Unproven::Nonce);
    }
    if let Some(said) = claims.get("at_hash")
        && said.as_str() != Some(&half_digest(algorithm, expected.access_token))
    {
        return Err(Unproven::AccessToken);
    }
    let auth_time = match claims.get("auth_time") {
        None => None,
        Some(said) => {
            let said = said.as_u64().map(UnixTime).ok_or(JwtError::InvalidClaim("auth_time"))?;
            // The token was made just now, by the same clock.
            Some(now.minus(said.until(issued).as_secs()))
        }
    };
    let name = |claim: &str| claims.text(claim).filter(|name| !name.is_empty() && name.len() <= NAME_BYTES);
    Ok(Known {
        subject: subject.to_owned(),
        username: name("preferred_username").or_else(|| name("email")).unwrap_or(subject).to_owned(),
        claims: own_claims(&claims.members().to_map()),
        auth_time,
    })
}

/// `at_hash`: the left half of the digest that belongs to the algorithm of the signature.
fn half_digest(algorithm: Algorithm, token: &Secret<String>) -> String {
    let digest = match algorithm {
        Algorithm::EdDSA | Algorithm::RS512 | Algorithm::PS512 => &digest::SHA512,
        Algorithm::ES384 | Algorithm::RS384 | Algorithm::PS384 => &digest::SHA384,
        _ => &digest::SHA256,
    };
    let digest = digest::digest(digest, token.expose().as_bytes());
    BASE64URL.encode(&digest.as_ref()[..digest.as_ref().len() / 2])
}

/// The claims of a user without those that a token says of itself: they stay with the session and go into each of its tokens, so there is an end to them.
pub fn own_claims(members: &Map<String, Value>) -> Map<String, Value> {
    let mut left = CLAIMS_BYTES;
    let mut own = Map::new();
    let mut dropped = 0;
    for (name, value) in members.iter().filter(|(name, _)| !RESERVED_CLAIMS.contains(&name.as_str())) {
        let bytes = name.len() + value.to_string().len();
        if own.len() < CLAIMS && bytes <= left {
            left -= bytes;
            own.insert(name.clone(), value.clone());
        } else {
            dropped += 1;
        }
    }
    if dropped > 0 {
        tracing::warn!(
            dropped,
            "the authority outside tells more of a user than a session keeps: 64 claims, and 8 KiB of them"
        );
    }
    own
}

const CLAIMS: usize = 64;
const CLAIMS_BYTES: usize = 8 * 1024;
/// Bytes of a name that is shown.
pub const NAME_BYTES: usize = 256;

#[cfg(test)]
mod tests;
