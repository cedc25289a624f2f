//! What the client would be answered: the exact words of a refusal, and the shape of a success.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    config::{self, Client},
    model::{Grant, GrantType, Scope, Secret, TokenGrant, TokenRequest, UnixTime},
};

#[derive(Debug, Serialize)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn of(response: &Response<Bytes>) -> Answer {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = response.headers().iter();
        Answer {
            status: response.status().as_u16(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            body: text(response.body()),
        }
    }
}

/// A grant in which `…` stands for every text that only the running process knows, 0 for a number and false for a truth.
pub fn placeholders(
    request: &TokenRequest,
    client: Option<&Arc<Client>>,
    authority: &config::Authority,
    now: UnixTime,
) -> TokenGrant {
    let on_its_own_behalf = matches!(request.grant, Grant::ClientCredentials);
    let renews = !on_its_own_behalf && client.is_none_or(|client| client.may(GrantType::RefreshToken));
    let scope = match (&request.grant, client) {
        (Grant::RefreshToken { .. } | Grant::AuthorizationCode { .. }, _) | (_, None) => None,
        (_, Some(client)) => Some(request.scope.clone().unwrap_or_else(|| client.default_scopes.clone())),
    };
    TokenGrant {
        access_token: Secret::new(UNKNOWN.to_owned()),
        expires_in: client.map_or(0, |client| client.access_lifetime.as_secs()),
        scope: scope.unwrap_or_else(|| Scope::from_iter([UNKNOWN.to_owned()])),
        refresh_token: renews.then(|| Secret::new(UNKNOWN.to_owned())),
        id_token: None,
        claims: Arc::new(claims(authority)),
        username: (!on_its_own_behalf).then(|| UNKNOWN.to_owned()),
        auth_time: now,
        issued: now,
    }
}

/// Every claim that an answer shows.
fn claims(authority: &config::Authority) -> Map<String, Value> {
    let texts = TEXTS.into_iter().map(|name| (name.to_owned(), Value::from(UNKNOWN)));
    let mapped = authority.endpoints.consinco.claims.iter().map(|(member, claim)| {
        let value = match &**member {
            "id" | "userSequence" => Value::from(0),
            "isExt" => Value::from(false),
            _ => Value::from(UNKNOWN),
        };
        (claim.clone(), value)
    });
    texts.chain(mapped).collect()
}

const UNKNOWN: &str = "…";
/// What users may have under the names of the members themselves.
const TEXTS: [&str; 6] = ["email", "permissionRole", "company", "companyType", "ADUser", "productLine"];
