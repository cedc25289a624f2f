//! Refusals, as servers of this kind write them: in JSON like RFC 6749, in XML like ASP.NET's `HttpError`.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::{
    dialect::{
        answer::{self, fixed_status},
        media::Media,
        members, xml,
    },
    model::{ErrorCode, TokenError},
};

pub fn write(error: &TokenError, media: Media, realm: &str) -> Response<Bytes> {
    let text = description(error);
    let body = match media.is_xml() {
        true => xml::write("Error", None, [("Message", Some(&text))]),
        false => members::write([("error", error.code.as_str()), ("error_description", &text)]),
    };
    answer::refusal(status(error), error, realm, media.content_type(), body)
}

/// The table from errors to the wire.
fn status(error: &TokenError) -> StatusCode {
    fixed_status(error).unwrap_or(match error.code {
        ErrorCode::InvalidGrant | ErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
        ErrorCode::InvalidRequest
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope
        | ErrorCode::InvalidTarget
        | ErrorCode::UnsupportedTokenType => StatusCode::BAD_REQUEST,
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

/// There always is one: in XML it is all that a client sees.
fn description(error: &TokenError) -> Cow<'static, str> {
    if let Some(description) = &error.description {
        return description.clone();
    }
    if let Some(fault) = error.faults.first() {
        return format!("{}: {}", fault.member, fault.problem).into();
    }
    match error.code {
        ErrorCode::InvalidRequest => "the request is not well-formed",
        ErrorCode::InvalidClient => "the client is not known",
        ErrorCode::InvalidGrant => "the credentials or the refresh token are not valid",
        ErrorCode::UnauthorizedClient => "the client may not do this",
        ErrorCode::UnsupportedGrantType => "this grant type is not supported",
        ErrorCode::InvalidScope => "the scope is not valid",
        ErrorCode::InvalidTarget => "the resource is not known",
        ErrorCode::UnsupportedTokenType => "this token type is not supported",
        ErrorCode::TemporarilyUnavailable => "try again later",
        ErrorCode::ServerError => "the server failed",
    }
    .into()
}
