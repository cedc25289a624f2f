//! Limits on a request's head, exactly as configured; the server's own lie a little above.

use http::{HeaderMap, Method, Uri};

use crate::model::HeadLimits;

/// A request's head is larger than its listener allows: 431 (RFC 6585 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadTooLarge {
    #[error("more than {limit} bytes of request line and headers")]
    Bytes { limit: usize },
    #[error("more than {limit} headers")]
    Count { limit: usize },
}

/// Checks a head against the configured limits, exactly; bytes are counted as HTTP/1.1 would write them.
///
/// A head that is larger still (by 8 KiB, or with more than 100 headers where 100 or more are configured) never gets
/// here: the server answers it with a bare 431.
///
/// # Errors
/// The limit that was passed.
pub fn check_head(method: &Method, uri: &Uri, headers: &HeaderMap, limits: HeadLimits) -> Result<(), HeadTooLarge> {
    if headers.len() > limits.count {
        return Err(HeadTooLarge::Count { limit: limits.count });
    }
    let target = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len())
        + uri.authority().map_or(0, |authority| authority.as_str().len())
        + uri.path_and_query().map_or(0, |path| path.as_str().len());
    let line = method.as_str().len() + target + "  HTTP/1.1\r\n".len();
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    if line + fields + "\r\n".len() > limits.bytes {
        return Err(HeadTooLarge::Bytes { limit: limits.bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{Request, request::Parts};

    use super::*;

    fn limits(bytes: usize, count: usize) -> HeadLimits {
        HeadLimits { bytes, count }
    }

    fn head(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn check(head: &Parts, limits: HeadLimits) -> Result<(), HeadTooLarge> {
        check_head(&head.method, &head.uri, &head.headers, limits)
    }

    #[test]
    fn the_bytes_of_a_head_are_those_on_the_wire() {
        let wire = "GET /a?b HTTP/1.1\r\nhost: x\r\nx-y: zz\r\n\r\n";
        let head = head(Request::get("/a?b").header("host", "x").header("x-y", "zz"));
        assert_eq!(check(&head, limits(wire.len(), 2)), Ok(()));
        let limit = wire.len() - 1;
        assert_eq!(check(&head, limits(limit, 2)), Err(HeadTooLarge::Bytes { limit }));
    }

    #[test]
    fn one_header_too_many_is_too_many() {
        let head = head(Request::get("/").header("a", "1").header("a", "2"));
        assert_eq!(check(&head, limits(1000, 2)), Ok(()));
        assert_eq!(check(&head, limits(1000, 1)), Err(HeadTooLarge::Count { limit: 1 }));
    }
}
