//! Opaque foreign tokens of an issuer that introspects (RFC 7662).

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;
use url::Url;

use super::ask::{Answer, AskError, Outcome};
use crate::{
    config,
    fetch::{Bounds, ClientAuth, FetchError, Fetcher},
    jose::{Claims, JwtError},
    json::{self, Member},
};

/// Asks at the introspection endpoint.
pub(super) struct Introspector {
    endpoint: Url,
    auth: ClientAuth,
    issuer: String,
}

impl Introspector {
    pub fn new(settings: &config::Introspection, issuer: &str) -> Introspector {
        Introspector {
            endpoint: settings.endpoint.clone(),
            auth: ClientAuth::basic(&settings.client_id, &settings.client_secret),
            issuer: issuer.to_owned(),
        }
    }

    pub async fn ask(&self, fetcher: &Fetcher, token: &str, bounds: Bounds) -> Outcome {
        let form = [("token", token), ("token_type_hint", "access_token")];
        match fetcher.post_form(&self.endpoint, &self.auth, &form, bounds).await {
            Ok(answer) => read(&answer, &self.issuer),
            Err(FetchError::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))) => {
                Err(AskError::Misconfigured(status))
            }
            Err(error) => Err(AskError::Unavailable(error)),
        }
    }
}

/// Reads an answer (RFC 7662 section 2.2). One with a wrong type says nothing of the token, so it is no refusal.
fn read(answer: &[u8], issuer: &str) -> Outcome {
    let members = json::members(answer).map_err(|_| AskError::Broken("not a strict JSON object"))?;
    match members.get("active") {
        Some(Member::Other(Value::Bool(true))) => {}
        Some(Member::Other(Value::Bool(false))) => return Ok(Answer::Inactive),
        _ => return Err(AskError::Broken("`active` is not a boolean")),
    }
    for name in ["scope", "token_type", "token_use"] {
        if members.get(name).is_some_and(|value| !value.is_string()) {
            return Err(AskError::Broken("a member of a wrong type"));
        }
    }
    let claims = match Claims::read(members) {
        Ok(claims) => claims,
        Err(JwtError::Bound) => return Ok(Answer::Refused(JwtError::Bound)),
        Err(_) => return Err(AskError::Broken("a member of a wrong type")),
    };
    if claims.issuer().is_some_and(|named| named != issuer) {
        return Ok(Answer::Refused(JwtError::WrongIssuer));
    }
    // A refresh token is active, too.
    let is_one_of = |name: &str, accepted: [&str; 2]| {
        claims.text(name).is_none_or(|value| accepted.iter().any(|word| word.eq_ignore_ascii_case(value)))
    };
    if !is_one_of("token_type", ["Bearer", "access_token"]) || !is_one_of("token_use", ["access", "access_token"]) {
        return Ok(Answer::Refused(JwtError::TypeNotAccepted));
    }
    Ok(Answer::Active(Arc::new(claims)))
}
