//! What the endpoints answer, success and error alike: never stored, and with a challenge on every 401.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::model::{ErrorCode, TokenError, TokenGrant};

/// Exactly these members in this order: the published schema forbids any other.
#[derive(Serialize)]
struct Success<'a> {
    token_type: &'static str,
    access_token: &'a str,
    expires_in: u64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
}

#[derive(Serialize)]
struct Failure {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'static str>,
}

pub fn write_grant(grant: &TokenGrant) -> Response<Bytes> {
    answer(
        StatusCode::OK,
        &Success {
            token_type: "bearer",
            access_token: grant.access_token.expose(),
            expires_in: grant.expires_in,
            scope: grant.scope.to_string(),
            refresh_token: grant.refresh_token.as_ref().map(|token| token.expose().as_str()),
            id_token: grant.id_token.as_ref().map(|token| token.expose().as_str()),
        },
    )
}

pub fn write_error(error: &TokenError, realm: &str) -> Response<Bytes> {
    let status = status(error);
    let mut response = answer(status, &Failure { error: error.code.as_str(), error_description: error.description });
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED
        && let Ok(challenge) = HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
    {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = error.throttled {
        headers.insert(header::RETRY_AFTER, seconds.into());
    } else if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER.into());
    }
    response
}

/// 405: these endpoints take POST only.
pub fn refuse_method(realm: &str) -> Response<Bytes> {
    let mut response = write_error(&TokenError::invalid_request("only POST"), realm);
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// The table from errors to the wire.
fn status(error: &TokenError) -> StatusCode {
    if error.throttled.is_some() {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    match error.code {
        // Also where the client did not use the header: RFC 6749 allows it, and HTTP asks for the challenge.
        ErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidGrant
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope
        | ErrorCode::InvalidTarget
        | ErrorCode::UnsupportedTokenType => StatusCode::BAD_REQUEST,
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An answer of the token, introspection or revocation endpoint.
pub fn answer(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Texts, numbers and maps with text keys always serialise.
    let mut response = empty(status);
    *response.body_mut() = serde_json::to_vec(body).unwrap_or_default().into();
    response
}

/// The same with nothing in it.
pub fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Seconds after which a store that was away is worth another try.
const RETRY_AFTER: u64 = 2;
