//! What may be sent a second time.

use http::{HeaderMap, Method, Request, Uri};

use super::request_body::RequestBody;

/// A copy of a request that is about to be sent, for the case that its connection dies.
///
/// Only of a request whose body is at hand: a streamed one is gone once it was sent.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: RequestBody,
}

impl Spare {
    /// The names and values are shared with the original, not copied.
    pub(super) fn of(request: &Request<RequestBody>) -> Option<Self> {
        Some(Spare {
            body: request.body().again()?,
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    pub(super) fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// RFC 9110, section 9.2.2: a proxy may repeat these if the connection dies before the response.
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

/// Whether the upstream says that it has not looked at the stream (RFC 9113, sections 6.8 and 8.7).
pub(super) fn was_unprocessed(error: &hyper::Error) -> bool {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>()).is_some_and(|cause| {
        let reason = cause.reason();
        cause.is_remote()
            && (reason == Some(h2::Reason::REFUSED_STREAM)
                || (cause.is_go_away() && reason == Some(h2::Reason::NO_ERROR)))
    })
}

/// Whether the connection ended under the stream.
pub(super) fn has_died(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    error.is_canceled()
        || error.is_closed()
        || cause.is_some_and(|cause| {
            cause.is::<std::io::Error>() || cause.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_io)
        })
}
