//! What is the same for the answers of every dialect: never stored, with a challenge on each 401, and a word on when to
//! come back.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::model::TokenError;

/// An answer that must not be stored.
pub fn answer(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// The same for a refusal, in a dialect whose clients prove themselves in the body.
pub fn refusal(
    status: StatusCode,
    error: &TokenError,
    realm: &str,
    content_type: HeaderValue,
    body: Vec<u8>,
) -> Response<Bytes> {
    let mut response = answer(status, content_type, body);
    let headers = response.headers_mut();
    // RFC 9110, section 11.6.1 asks for a challenge; this is the one that ASP.NET's bearer middleware gives.
    if status == StatusCode::UNAUTHORIZED
        && let Ok(challenge) = HeaderValue::try_from(format!("Bearer realm=\"{realm}\""))
    {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    advise(status, error, headers);
    response
}

/// What a refused client should do next.
pub fn advise(status: StatusCode, error: &TokenError, headers: &mut HeaderMap) {
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    match error.throttled {
        Some(seconds) => {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        None if status == StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, error.retry_after.unwrap_or(RETRY_AFTER).into());
        }
        None => {}
    }
}

/// The status that an error has whatever its code.
pub fn fixed_status(error: &TokenError) -> Option<StatusCode> {
    error.throttled.map(|_| StatusCode::TOO_MANY_REQUESTS).or(error.status)
}

/// `Retry-After` in seconds; a date is as good as nothing.
pub fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// Seconds after which a store or an authority that was away is worth another try.
const RETRY_AFTER: u64 = 2;
