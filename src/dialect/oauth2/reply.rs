//! What the endpoints answer, success and error alike: never stored, and with a challenge on every 401.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::dialect::answer::{self, advise, fixed_status};
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
struct Failure<'a> {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'a str>,
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
    let failure = Failure { error: error.code.as_str(), error_description: error.description.as_deref() };
    let mut response = answer(status, &failure);
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED
        && let Ok(challenge) = HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
    {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    advise(status, error, headers);
    response
}

/// The table from errors to the wire.
fn status(error: &TokenError) -> StatusCode {
    fixed_status(error).unwrap_or(match error.code {
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
    })
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
    answer::answer(status, HeaderValue::from_static("application/json"), Vec::new())
}
