//! What may be sent a second time.

use http::{HeaderMap, Method, Request, Uri};

use super::{kept::Kept, request_body::RequestBody};

/// A copy of a request that is about to be sent, for the case that its connection dies or its credential is refused.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// `None`: streamed, and gone once it was sent.
    body: Option<RequestBody>,
}

impl Spare {
    /// The names and values are shared with the original, not copied. `None` if the body is streamed, unless that `is_kept`.
    pub(super) fn of(request: &Request<RequestBody>, is_kept: bool) -> Option<Self> {
        let body = request.body().again();
        (body.is_some() || is_kept).then(|| Spare {
            body,
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    /// Whether the body is there as well.
    pub(super) fn is_whole(&self) -> bool {
        self.body.is_some()
    }

    /// With the body that was kept on its way.
    pub(super) fn complete(&mut self, kept: Kept) {
        self.body = Some(RequestBody::kept(kept));
    }

    pub(super) fn into_request(self) -> Option<Request<RequestBody>> {
        let mut request = Request::new(self.body?);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        Some(request)
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
