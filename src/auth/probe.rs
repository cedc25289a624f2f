//! An old server without introspection judges its own tokens: a request of the configuration carries the token there,
//! and what the server makes of it is the verdict.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH},
};
use serde_json::{Map, Value};

use super::ask::{Answer, AskError, Outcome};
use crate::{
    config,
    fetch::{Bounds, FetchError, Fetcher},
    jose::{Claims, JwtError},
    json,
    model::Secret,
};

/// Sends the probe.
pub(super) struct Prober {
    settings: Box<config::Probe>,
    issuer: String,
}

impl Prober {
    pub fn new(settings: &config::Probe, issuer: &str) -> Prober {
        Prober { settings: Box::new(settings.clone()), issuer: issuer.to_owned() }
    }

    pub async fn ask(&self, fetcher: &Fetcher, token: &str, bounds: Bounds) -> Outcome {
        let settings = &self.settings;
        let headers = self.headers(token)?;
        let reads_members = !(settings.claims.is_empty() && settings.require.is_empty());
        let wanted = |status| reads_members && settings.accept.contains(&status);
        match fetcher.probe(&settings.url, &settings.method, headers, bounds, wanted).await {
            Ok(body) => match json::object(&body) {
                Ok(members) => self.read(&Value::Object(members)),
                Err(_) => Err(AskError::Broken("not a strict JSON object")),
            },
            Err(FetchError::Status(status)) if settings.accept.contains(&status) => self.read(&Value::Null),
            Err(FetchError::Status(status)) if settings.refuse.contains(&status) => Ok(Answer::Inactive),
            Err(FetchError::Status(status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED))) => {
                Err(AskError::Misconfigured(status))
            }
            Err(error) => Err(AskError::Unavailable(error)),
        }
    }

    fn headers(&self, token: &str) -> Result<HeaderMap, AskError> {
        let scheme = if self.settings.header == AUTHORIZATION { "Bearer " } else { "" };
        let value = Secret::new(format!("{scheme}{token}"));
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| AskError::Broken("the token does not fit into a header"))?;
        value.set_sensitive(true);
        let mut headers = self.settings.headers.clone();
        headers.insert(self.settings.header.clone(), value);
        if self.settings.method == Method::POST {
            // RFC 9110, section 8.6; some old servers answer 411 without it.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(headers)
    }

    /// What a yes of the status comes to, by the members of `answer`.
    fn read(&self, answer: &Value) -> Outcome {
        let settings = &self.settings;
        let member = |pointer: &str| answer.pointer(pointer);
        let is_met = |(pointer, accepted): &(String, Vec<Value>)| {
            let present = member(pointer).filter(|value| !value.is_null());
            present.is_some_and(|value| accepted.is_empty() || accepted.contains(value))
        };
        if !settings.require.iter().all(is_met) {
            return Ok(Answer::Inactive);
        }
        let mut claims = Map::new();
        for (claim, pointer) in &settings.claims {
            // To an old server null is nothing; but no token may live on because its end could not be read.
            let present = member(pointer).filter(|value| !value.is_null() || MEANT.contains(&claim.as_str()));
            if let Some(value) = present {
                claims.insert(claim.clone(), as_claim(claim, value));
            }
        }
        self.add_defaults(&mut claims);
        for name in ["scope", "scp"] {
            let fits = |value: &Value| match value {
                Value::Array(items) => items.iter().all(Value::is_string),
                other => other.is_string(),
            };
            if !claims.get(name).is_none_or(fits) {
                return Err(AskError::Broken("a member of a wrong type"));
            }
        }
        match Claims::read(claims) {
            Ok(claims) if claims.issuer().is_some_and(|named| named != self.issuer) => {
                Ok(Answer::Refused(JwtError::WrongIssuer))
            }
            Ok(claims) => Ok(Answer::Active(Arc::new(claims))),
            Err(JwtError::Bound) => Ok(Answer::Refused(JwtError::Bound)),
            Err(_) => Err(AskError::Broken("a member of a wrong type")),
        }
    }

    fn add_defaults(&self, claims: &mut Map<String, Value>) {
        let settings = &self.settings;
        if let (None, Some(subject)) = (claims.get("sub"), &settings.subject) {
            claims.insert("sub".to_owned(), subject.as_str().into());
        }
        if !claims.contains_key("aud") {
            claims.insert("aud".to_owned(), settings.audiences.clone().into());
        }
        if !(claims.contains_key("scope") || claims.contains_key("scp") || settings.scopes.is_empty()) {
            claims.insert("scope".to_owned(), settings.scopes.join(" ").into());
        }
    }
}

/// Old servers number their users and clients; claims name them by text.
fn as_claim(claim: &str, value: &Value) -> Value {
    match value {
        Value::Number(number) if NAMES.contains(&claim) && (number.is_u64() || number.is_i64()) => {
            number.to_string().into()
        }
        other => other.clone(),
    }
}

/// Claims that are never passed over, not even as null.
const MEANT: [&str; 4] = ["exp", "nbf", "iat", "cnf"];

/// Claims that are names.
const NAMES: [&str; 4] = ["sub", "client_id", "azp", "jti"];
