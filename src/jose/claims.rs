//! The claims of a token, with the types of the registered ones checked (RFC 7519 section 4.1).

use std::time::Duration;

use serde_json::Value;

use super::refusal::JwtError;
use crate::{
    json::{Member, Members},
    model::UnixTime,
};

/// A set of claims in which every registered claim that is present has the right type.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    members: Members,
    expires: Option<UnixTime>,
    not_before: Option<UnixTime>,
    issued_at: Option<UnixTime>,
}

impl Claims {
    /// # Errors
    /// If a registered claim has a wrong type, or the token is bound to a key (`cnf`).
    pub fn read(members: impl Into<Members>) -> Result<Claims, JwtError> {
        let members = members.into();
        if members.contains("cnf") {
            return Err(JwtError::Bound);
        }
        for name in ["iss", "sub", "jti", "client_id", "azp"] {
            if members.get(name).is_some_and(|value| !value.is_string()) {
                return Err(JwtError::InvalidClaim(name));
            }
        }
        match members.get("aud") {
            None | Some(Member::Text(_)) => {}
            Some(Member::Other(Value::Array(list))) if list.iter().all(Value::is_string) => {}
            Some(_) => return Err(JwtError::InvalidClaim("aud")),
        }
        Ok(Claims {
            expires: numeric_date(&members, "exp")?,
            not_before: numeric_date(&members, "nbf")?,
            issued_at: numeric_date(&members, "iat")?,
            members,
        })
    }

    /// Holds the times against `now`; `leeway` is tolerated on each. A missing time is not a fault here.
    ///
    /// # Errors
    /// [`JwtError::Expired`] at `exp + leeway` and after, [`JwtError::NotYetValid`] before `nbf - leeway`,
    /// [`JwtError::IssuedInFuture`] before `iat - leeway`.
    pub fn check_times(&self, now: UnixTime, leeway: Duration) -> Result<(), JwtError> {
        let leeway = leeway.as_secs();
        if self.expires.is_some_and(|expires| now >= expires.plus(leeway)) {
            return Err(JwtError::Expired);
        }
        if self.not_before.is_some_and(|start| now.plus(leeway) < start) {
            return Err(JwtError::NotYetValid);
        }
        if self.issued_at.is_some_and(|issued| now.plus(leeway) < issued) {
            return Err(JwtError::IssuedInFuture);
        }
        Ok(())
    }

    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// The values of `aud`, whether it is written as a string or as a list.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        let aud = self.members.get("aud");
        let list = aud.and_then(Member::as_array).unwrap_or_default();
        aud.and_then(Member::as_str).into_iter().chain(list.iter().filter_map(Value::as_str))
    }

    pub fn expires(&self) -> Option<UnixTime> {
        self.expires
    }

    pub fn not_before(&self) -> Option<UnixTime> {
        self.not_before
    }

    pub fn issued_at(&self) -> Option<UnixTime> {
        self.issued_at
    }

    /// The claim `name` if it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Member::as_str)
    }

    /// Any claim, as it stands in the token.
    pub fn get(&self, name: &str) -> Option<Member<'_>> {
        self.members.get(name)
    }

    /// All claims, as they stand in the token.
    pub fn members(&self) -> &Members {
        &self.members
    }
}

/// A NumericDate that is a JSON integer, not negative, without fraction or exponent.
fn numeric_date(members: &Members, name: &'static str) -> Result<Option<UnixTime>, JwtError> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().map(|seconds| Some(UnixTime(seconds))).ok_or(JwtError::InvalidClaim(name)),
    }
}
