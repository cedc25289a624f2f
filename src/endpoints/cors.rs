//! Which scripts may read the answers (the CORS protocol of the Fetch standard): those of listed origins, and never an
//! answer of the pages or one that tells of other clients' tokens.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

/// The one `Origin` of a request, if it is among `allowed`, compared byte for byte.
pub(super) fn allowed_origin(allowed: &[String], request: &HeaderMap) -> Option<HeaderValue> {
    let mut origins = request.get_all(ORIGIN).iter();
    let origin = origins.next().filter(|_| origins.next().is_none())?;
    allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

pub(super) fn is_preflight(method: &Method, request: &HeaderMap) -> bool {
    method == Method::OPTIONS && request.contains_key(ORIGIN) && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Without `Allow` headers for other origins, which is how the browser learns it.
pub(super) fn preflight(origin: Option<HeaderValue>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allowed = origin.is_some();
    let headers = response.headers_mut();
    decorate(origin, headers);
    if allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// Never with credentials: no cookie means anything here.
pub(super) fn decorate(origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    // Also without an origin: a shared cache must not give that answer to a script.
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}
