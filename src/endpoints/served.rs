//! What is the same for every endpoint that takes a form.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use super::Answer;
use crate::{
    body::{self, CollectError},
    model::TokenError,
};

/// Head and whole body of a POST, or of what else `methods` lists, or the refusal of anything else as `refuse` writes it.
pub(super) async fn posted(
    request: Request<Incoming>,
    methods: &'static str,
    refuse: impl FnOnce(&TokenError, &Parts) -> Response<Bytes>,
) -> Result<(Parts, Bytes), Answer> {
    let (head, body) = request.into_parts();
    if !methods.split(", ").any(|method| head.method == method) {
        let error = TokenError::invalid_request(format!("only {methods}")).because("method");
        let error = error.with_status(StatusCode::METHOD_NOT_ALLOWED);
        return Err(Answer::refused(refuse(&error, &head), error));
    }
    let error = match collect(body).await {
        Ok(body) => return Ok((head, body)),
        Err((status, text)) => TokenError::invalid_request(text).with_status(status),
    };
    let mut response = refuse(&error, &head);
    // The rest of the body is not worth reading.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Err(Answer::refused(response, error))
}

/// The whole of a form's body, within the bounds of size and time.
pub(super) async fn collect(body: Incoming) -> Result<Bytes, (StatusCode, &'static str)> {
    match tokio::time::timeout(BODY_TIMEOUT, body::collect(body, BODY_BYTES)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(CollectError::TooLarge { .. })) => Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is too long")),
        Ok(Err(CollectError::Broken(_))) => Err((StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

/// Bytes of a form: an assertion signed with RSA and a certificate chain fits several times.
pub const BODY_BYTES: usize = 64 * 1024;
/// For the whole of a form: nobody needs to type while it is sent.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
