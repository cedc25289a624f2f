//! What may be sent a second time.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::{kept::Kept, request_body::RequestBody};

/// A copy of a request that is about to be sent, for the case that its connection dies or its credential is refused.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    headers: Flat,
    /// `None`: streamed, and gone once it was sent.
    body: Option<RequestBody>,
}

impl Spare {
    /// The headers are copied into `room`. `None` if the body is streamed, unless that `is_kept`.
    pub(super) fn of(request: &Request<RequestBody>, is_kept: bool, room: impl FnOnce() -> Vec<u8>) -> Option<Self> {
        let body = request.body().again();
        (body.is_some() || is_kept).then(|| Spare {
            body,
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: Flat::of(request.headers(), room()),
        })
    }

    /// The room that the copy has taken.
    pub(super) fn into_room(self) -> Vec<u8> {
        self.headers.0
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
        *request.headers_mut() = self.headers.into_map()?;
        Some(request)
    }
}

/// Headers one after the other, each as the length of its name, that of its value with [`SENSITIVE`], and both. A copy of the
/// map itself would count up and down the owners of each value, for something that is hardly ever needed.
struct Flat(Vec<u8>);

impl Flat {
    fn of(headers: &HeaderMap, mut room: Vec<u8>) -> Flat {
        room.clear();
        for (name, value) in headers {
            let (name, bytes) = (name.as_str().as_bytes(), value.as_bytes());
            let marked = bytes.len() as u64 | if value.is_sensitive() { SENSITIVE } else { 0 };
            room.reserve(LENGTHS + name.len() + bytes.len());
            room.extend_from_slice(&(name.len() as u64).to_le_bytes());
            room.extend_from_slice(&marked.to_le_bytes());
            room.extend_from_slice(name);
            room.extend_from_slice(bytes);
        }
        Flat(room)
    }

    /// `None` only if it were not made from a map.
    fn into_map(self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        let mut rest = &self.0[..];
        while !rest.is_empty() {
            let (name, after) = rest.split_first_chunk::<8>()?;
            let (marked, after) = after.split_first_chunk::<8>()?;
            let marked = u64::from_le_bytes(*marked);
            let (name, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*name)).ok()?)?;
            let (value, after) = after.split_at_checked(usize::try_from(marked & !SENSITIVE).ok()?)?;
            let mut value = HeaderValue::from_bytes(value).ok()?;
            value.set_sensitive(marked & SENSITIVE != 0);
            headers.append(HeaderName::from_bytes(name).ok()?, value);
            rest = after;
        }
        Some(headers)
    }
}

/// No value is that long.
const SENSITIVE: u64 = 1 << 63;
/// Bytes of both lengths.
const LENGTHS: usize = 16;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_copy_of_a_head_is_that_head(
            list in prop::collection::vec(("[a-z-]{1,12}", "[ -~\\x80-\\xff]{0,20}", any::<bool>()), 0..12),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value, sensitive) in list {
                let mut value = HeaderValue::from_bytes(value.trim().as_bytes()).unwrap();
                value.set_sensitive(sensitive);
                headers.append(HeaderName::try_from(name).unwrap(), value);
            }
            let copy = Flat::of(&headers, b"what was there before".to_vec()).into_map().unwrap();
            prop_assert_eq!(&copy, &headers);
            for (name, value) in &headers {
                let same = copy.get_all(name).iter().any(|other| other == value && other.is_sensitive() == value.is_sensitive());
                prop_assert!(same);
            }
        }
    }
}
