//! The envelope around every answer, in the two revisions of the published page.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    config::{Envelope, NumberForm, Redex},
    dialect::{
        answer::{answer, fixed_status, refusal},
        members::seconds,
        spoken::Heard,
        xml::BYTE_ORDER_MARK,
    },
    json,
    model::{ErrorCode, Scope, Secret, TokenError, TokenGrant},
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Current<'a> {
    data: Option<Data<'a>>,
    errors: Option<Vec<Item<'a>>>,
    status_code: u16,
    message: &'a str,
    meta: (),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Original<'a> {
    data: Option<Data<'a>>,
    status_code: u16,
    errors: Option<Nothing>,
    meta: (),
    message: &'a str,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Data<'a> {
    access_token: &'a str,
    refresh_token: Option<&'a str>,
    expires_in: Seconds,
    token_type: &'static str,
    scope: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Seconds {
    Text(String),
    Number(u64),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item<'a> {
    key: &'a str,
    message: &'a str,
}

/// Writes what was given, or why nothing was. `realm` goes into the challenge of a 401.
pub fn write_reply(reply: &Result<TokenGrant, TokenError>, options: &Redex, realm: &str) -> Response<Bytes> {
    match reply {
        Ok(grant) => {
            let body = write(options.envelope, StatusCode::OK, Ok(data(grant, options.expires_in)));
            answer(StatusCode::OK, super::json(), body)
        }
        Err(error) => {
            let status = status(error);
            refusal(status, error, realm, super::json(), write(options.envelope, status, Err(error)))
        }
    }
}

fn data(grant: &TokenGrant, form: NumberForm) -> Data<'_> {
    Data {
        access_token: grant.access_token.expose(),
        refresh_token: grant.refresh_token.as_ref().map(|token| token.expose().as_str()),
        expires_in: match form {
            NumberForm::Text => Seconds::Text(grant.expires_in.to_string()),
            NumberForm::Number => Seconds::Number(grant.expires_in),
        },
        token_type: "Bearer",
        scope: grant.scope.to_string(),
    }
}

fn write(envelope: Envelope, status: StatusCode, content: Result<Data<'_>, &TokenError>) -> Vec<u8> {
    let status_code = status.as_u16();
    let written = match (envelope, content) {
        (Envelope::Current, Ok(data)) => serde_json::to_vec(&Current {
            data: Some(data),
            errors: None,
            status_code,
            message: "Return tokens successfully",
            meta: (),
        }),
        (Envelope::Current, Err(error)) => serde_json::to_vec(&Current {
            data: None,
            errors: Some(items(error)),
            status_code,
            message: error.code.as_str(),
            meta: (),
        }),
        (Envelope::Original, Ok(data)) => {
            serde_json::to_vec(&Original { data: Some(data), status_code, errors: None, meta: (), message: "Success" })
        }
        (Envelope::Original, Err(_)) => serde_json::to_vec(&Original {
            data: None,
            status_code,
            errors: Some(Nothing {}),
            meta: (),
            message: status.canonical_reason().unwrap_or("Error"),
        }),
    };
    written.expect("texts and numbers always serialise")
}

/// One for each member that is wrong, or one for the whole.
fn items(error: &TokenError) -> Vec<Item<'_>> {
    if error.faults.is_empty() {
        let code = error.code.as_str();
        return vec![Item { key: code, message: error.description.as_deref().unwrap_or(code) }];
    }
    error.faults.iter().map(|fault| Item { key: &fault.member, message: fault.problem }).collect()
}

/// The table from errors to the wire.
fn status(error: &TokenError) -> StatusCode {
    fixed_status(error).unwrap_or(match error.code {
        // The only failure that was ever published is a 401, so these are all of that kind.
        ErrorCode::InvalidClient
        | ErrorCode::InvalidGrant
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope => StatusCode::UNAUTHORIZED,
        ErrorCode::InvalidRequest | ErrorCode::InvalidTarget | ErrorCode::UnsupportedTokenType => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

/// Reads the answer of an authority that knows this API, in either envelope.
///
/// # Errors
/// Why the authority gave nothing, or that its answer makes no sense.
pub fn read_reply(heard: &Heard<'_>) -> Result<TokenGrant, TokenError> {
    let body = heard.body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(heard.body);
    let Ok(mut envelope) = json::object(body) else {
        return Err(match heard.status.is_success() {
            true => heard.unreadable("not a JSON object"),
            // A 401 without the envelope is not that of this API, and says nothing of what was presented.
            false => heard.refusal(heard.status, Some(ErrorCode::ServerError)),
        });
    };
    // Some servers of this kind answer 200 to everything and tell the truth inside.
    let status = match envelope.get("StatusCode").and_then(seconds) {
        Some(inner) if heard.status.is_success() => {
            u16::try_from(inner).ok().and_then(|inner| StatusCode::from_u16(inner).ok()).unwrap_or(heard.status)
        }
        _ => heard.status,
    };
    if !status.is_success() {
        // Gateways refuse in JSON of their own.
        let others = !["StatusCode", "Errors"].iter().any(|member| envelope.contains_key(*member));
        return Err(heard.refusal(status, code(&envelope).or(others.then_some(ErrorCode::ServerError))));
    }
    let Some(Value::Object(mut data)) = envelope.remove("Data") else { return Err(heard.unreadable("no Data")) };
    let mut text = |name: &str| match data.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let Some(access_token) = text("AccessToken") else { return Err(heard.unreadable("no AccessToken")) };
    let refresh_token = text("RefreshToken").map(Secret::new);
    // A scope that RFC 6749 would not allow is no reason to lose the tokens.
    let scope = text("Scope").and_then(|scope| Scope::parse(&scope).ok()).unwrap_or_default();
    Ok(TokenGrant {
        access_token: Secret::new(access_token),
        expires_in: data.get("ExpiresIn").and_then(seconds).unwrap_or(LIFETIME),
        scope,
        refresh_token,
        id_token: None,
        claims: Arc::new(Map::new()),
        username: None,
        auth_time: heard.asked,
        issued: heard.asked,
    })
}

/// The RFC 6749 code that the answer names, in its list of errors or as its message.
fn code(envelope: &Map<String, Value>) -> Option<ErrorCode> {
    let listed = match envelope.get("Errors") {
        Some(Value::Array(items)) => items.iter().find_map(|item| ErrorCode::parse(item.get("Key")?.as_str()?)),
        _ => None,
    };
    listed.or_else(|| ErrorCode::parse(envelope.get("Message")?.as_str()?))
}

/// Seconds that an access token of this API is published to live.
const LIFETIME: u64 = 3600;
