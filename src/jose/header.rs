//! The protected header of a JWS (RFC 7515 section 4), as far as it may decide anything.

use std::{cell::RefCell, str::FromStr, sync::Arc};

use base64_simd::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::Algorithm;

use super::refusal::JwtError;
use crate::json::{self, Member, Members};

/// The parts of the header that are looked at.
///
/// `jku`, `x5u`, `jwk` and `x5c` are not: a token must not bring or name its own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    /// In lower case, without `application/`.
    pub token_type: Option<String>,
}

impl Header {
    /// Of the first part of a token. Those that an issuer signs with one key begin alike, so the last one is remembered.
    ///
    /// # Errors
    /// [`JwtError::NotAJwt`] if it is no base64url or nothing like an object, and as [`Header::read`].
    pub fn decode(part: &str) -> Result<Arc<Header>, JwtError> {
        let known = LAST.with_borrow(|last| {
            let (known, header) = last.as_ref()?;
            (**known == *part).then(|| header.clone())
        });
        if let Some(header) = known {
            return Ok(header);
        }
        let decoded = BASE64URL.decode_to_vec(part).map_err(|_| JwtError::NotAJwt)?;
        if !decoded.starts_with(b"{") {
            return Err(JwtError::NotAJwt);
        }
        let members =
            json::members(decoded).map_err(|_| JwtError::Malformed("the header is not a strict JSON object"))?;
        let header = Arc::new(Header::read(&members)?);
        if part.len() <= REMEMBERED {
            LAST.set(Some((part.into(), header.clone())));
        }
        Ok(header)
    }

    /// # Errors
    /// If a member has a wrong type, `alg` is missing or unknown (also `none`), or the header asks for something that
    /// changes the meaning of the token: `crit`, `b64`, `enc`, `zip`.
    pub fn read(members: &Members) -> Result<Header, JwtError> {
        for name in ["crit", "b64", "enc", "zip"] {
            if members.contains(name) {
                return Err(JwtError::UnsupportedHeader(name));
            }
        }
        let algorithm = match members.get("alg") {
            Some(Member::Text(name)) => Algorithm::from_str(name).map_err(|_| JwtError::AlgorithmNotAllowed)?,
            _ => return Err(JwtError::Malformed("`alg` is not a string")),
        };
        let kid = match members.get("kid") {
            None => None,
            Some(Member::Text(kid)) => Some(kid.to_owned()),
            Some(_) => return Err(JwtError::Malformed("`kid` is not a string")),
        };
        let token_type = match members.get("typ") {
            None => None,
            Some(Member::Text(name)) => Some(normal_type(name)),
            Some(_) => return Err(JwtError::Malformed("`typ` is not a string")),
        };
        Ok(Header { algorithm, kid, token_type })
    }
}

/// A media type is compared without case, and `application/` may be left out (RFC 7515 section 4.1.9).
fn normal_type(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.strip_prefix("application/") {
        Some(rest) if !rest.contains('/') => rest.to_owned(),
        _ => lower,
    }
}

thread_local! {
    static LAST: RefCell<Option<(Box<str>, Arc<Header>)>> = const { RefCell::new(None) };
}

/// Characters of a part that is remembered, at most.
const REMEMBERED: usize = 512;
