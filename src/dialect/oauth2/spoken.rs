//! RFC 6749 as a client speaks it: a form goes out, JSON comes in.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use form_urlencoded::Serializer;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::{FORM, JWT_BEARER};
use crate::{
    dialect::{CannotSay, Endpoint, Heard, Said, members::seconds, xml::BYTE_ORDER_MARK},
    json,
    model::{ClientProof, ErrorCode, Grant, Scope, Secret, TokenError, TokenGrant, TokenRequest},
};

/// Says a request to the token endpoint; `parameters` go with each.
///
/// # Errors
/// If RFC 6749 has no such grant, or nobody asks.
pub fn write_request(request: &TokenRequest, parameters: &[(String, String)]) -> Result<Said, CannotSay> {
    let mut form = Serializer::new(String::new());
    let grant_type = request.grant.kind().as_str();
    let endpoint = match &request.grant {
        Grant::RefreshToken { token } => {
            form.append_pair("grant_type", grant_type).append_pair("refresh_token", token.expose());
            Endpoint::Renew
        }
        Grant::AuthorizationCode { code, redirect_uri, verifier } => {
            form.append_pair("grant_type", grant_type).append_pair("code", code.expose());
            if let Some(redirect_uri) = redirect_uri {
                form.append_pair("redirect_uri", redirect_uri);
            }
            if let Some(verifier) = verifier {
                form.append_pair("code_verifier", verifier.expose());
            }
            Endpoint::Obtain
        }
        Grant::ClientCredentials => {
            form.append_pair("grant_type", grant_type);
            Endpoint::Obtain
        }
        Grant::Password { username, password, .. } => {
            form.append_pair("grant_type", grant_type)
                .append_pair("username", username)
                .append_pair("password", password.expose());
            Endpoint::Obtain
        }
        Grant::ApiKey { .. } => return Err(CannotSay("an API key")),
    };
    // With a code the scope stood in the authorization request; a refresh without one keeps it (RFC 6749, section 6).
    let asks_scope = matches!(request.grant, Grant::ClientCredentials | Grant::Password { .. });
    if let Some(scope) = request.scope.as_ref().filter(|scope| asks_scope && !scope.is_empty()) {
        form.append_pair("scope", &scope.to_string());
    }
    request.resources.iter().for_each(|resource| {
        form.append_pair("resource", resource);
    });
    parameters.iter().for_each(|(name, value)| {
        form.append_pair(name, value);
    });
    let authorization = prove(request, &mut form)?;
    let (content_type, accept) = (HeaderValue::from_static(FORM), HeaderValue::from_static("application/json"));
    Ok(Said { authorization, ..Said::posted(endpoint, content_type, accept, form.finish().into_bytes()) })
}

/// By one method only (RFC 6749, section 2.3).
fn prove(request: &TokenRequest, form: &mut Serializer<'_, String>) -> Result<Option<HeaderValue>, CannotSay> {
    let client = &request.client;
    let Some(id) = &client.id else { return Err(CannotSay("a request of nobody")) };
    match &client.proof {
        ClientProof::Secret(secret) if client.by_header => return Ok(Some(basic(id, secret))),
        ClientProof::None => {
            form.append_pair("client_id", id);
        }
        ClientProof::Secret(secret) => {
            form.append_pair("client_id", id).append_pair("client_secret", secret.expose());
        }
        ClientProof::Assertion(assertion) => {
            form.append_pair("client_id", id)
                .append_pair("client_assertion_type", JWT_BEARER)
                .append_pair("client_assertion", assertion.expose());
        }
    }
    Ok(None)
}

/// HTTP Basic of the form-urlencoded id and secret (RFC 6749, section 2.3.1).
fn basic(id: &str, secret: &Secret<String>) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Secret::new(format!("{}:{}", encode(id), encode(secret.expose())));
    let value = Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair.expose())));
    let mut value = HeaderValue::from_str(value.expose()).expect("base64 fits into a header");
    value.set_sensitive(true);
    value
}

/// Reads the answer of a token endpoint (RFC 6749, section 5).
///
/// # Errors
/// Why it gave nothing, or that its answer makes no sense.
pub fn read_reply(heard: &Heard<'_>) -> Result<TokenGrant, TokenError> {
    let body = heard.body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(heard.body);
    let members = json::object(body);
    if heard.status != StatusCode::OK {
        let code = members.as_ref().ok().and_then(|members| ErrorCode::parse(members.get("error")?.as_str()?));
        // Here it speaks of the client, whatever is missing in the body (RFC 6749, section 5.2).
        let unsaid = (heard.status == StatusCode::UNAUTHORIZED).then_some(ErrorCode::InvalidClient);
        return Err(heard.refusal(heard.status, code.or(unsaid)));
    }
    let Ok(mut members) = members else { return Err(heard.unreadable("not a JSON object")) };
    let mut text = |name: &str| match members.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    // Some send it to say that it is over, which nobody could use.
    let token_type = text("token_type");
    if token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(heard.unreadable("a token_type that is not bearer"));
    }
    let access_token = text("access_token").map(Secret::new).ok_or_else(|| heard.unreadable("no access_token"))?;
    let refresh_token = text("refresh_token").map(Secret::new);
    let id_token = text("id_token").map(Secret::new);
    // A scope that RFC 6749 would not allow is no reason to lose the tokens.
    let scope = text("scope").and_then(|scope| Scope::parse(&scope).ok()).unwrap_or_default();
    Ok(TokenGrant {
        access_token,
        expires_in: members.get("expires_in").and_then(seconds).unwrap_or(LIFETIME),
        scope,
        refresh_token,
        id_token,
        claims: Arc::new(Map::new()),
        username: None,
        auth_time: heard.asked,
        issued: heard.asked,
    })
}

/// Seconds, where the answer does not say how long its token lives: short, so that it is soon renewed.
const LIFETIME: u64 = 60;

#[cfg(test)]
mod tests;
