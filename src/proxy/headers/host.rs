//! The one Host of a request.

use std::net::Ipv6Addr;

use http::{HeaderMap, HeaderValue, Uri, header::HOST};

/// Why a request names no host, or none that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("the request names no host")]
    Missing,
    #[error("the request has more than one Host header")]
    Repeated,
    #[error("the Host header is not a host and an optional port")]
    Malformed,
    #[error("the Host header and the target of the request name different hosts")]
    Contradictory,
    #[error("the target of the request has a scheme that is not HTTP's")]
    ForeignScheme,
}

impl HostError {
    /// The stable code for answers, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            HostError::Missing => "missing_host",
            HostError::Repeated => "repeated_host",
            HostError::Malformed => "malformed_host",
            HostError::Contradictory => "contradictory_host",
            HostError::ForeignScheme => "foreign_scheme",
        }
    }
}

/// The host that the request is for, with its port if one was written: the authority of the target, or the Host
/// header (RFC 9112, 3.2 and 3.3; RFC 9113, 8.3.1). Where both are there they must be equal.
pub fn one_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, HostError> {
    one_host_and_header(uri, headers).map(|(host, _)| host)
}

/// The same, and the Host header if there is one.
pub fn one_host_and_header<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<(&'a str, Option<&'a HeaderValue>), HostError> {
    let mut values = headers.get_all(HOST).iter();
    let value = values.next();
    let header = value.map(HeaderValue::to_str).transpose().map_err(|_| HostError::Malformed)?;
    if values.next().is_some() {
        return Err(HostError::Repeated);
    }
    // Which of the two it is says who ended TLS, and nobody decides by it.
    if uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(HostError::ForeignScheme);
    }
    let authority = uri.authority().map(|authority| authority.as_str());
    if let (Some(authority), Some(header)) = (authority, header)
        && !authority.eq_ignore_ascii_case(header)
    {
        return Err(HostError::Contradictory);
    }
    let host = authority.or(header).ok_or(HostError::Missing)?;
    if is_host(host) { Ok((host, value)) } else { Err(HostError::Malformed) }
}

/// A name, an IPv4 or a bracketed IPv6 address, and an optional port. Stricter than RFC 3986, 3.2.2: no escapes, no
/// user, none of the delimiters that a name in the DNS cannot have.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => (None, port),
        Some(_) => return false,
        None => {
            let (name, port) = text.split_at(text.bytes().position(|byte| byte == b':').unwrap_or(text.len()));
            (Some(name), port)
        }
    };
    let port_fits = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    port_fits && host.is_none_or(is_name)
}

fn is_name(name: &str) -> bool {
    let labels = name.strip_suffix('.').unwrap_or(name);
    // The byte before each; a label must not be empty.
    let mut before = b'.';
    let fits = |byte: u8| {
        let begun = std::mem::replace(&mut before, byte) != b'.';
        IN_NAMES[usize::from(byte)] && (begun || byte != b'.')
    };
    name.len() <= 255 && labels.bytes().all(fits) && before != b'.'
}

/// Letters, digits, `-`, `_` and `.`: a table, since every request is held against it byte by byte.
const IN_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let is = byte as u8;
        table[byte] = is.is_ascii_alphanumeric() || matches!(is, b'-' | b'_' | b'.');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn host_of(uri: &str, hosts: &[&str]) -> Result<String, HostError> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        one_host(&uri.parse().unwrap(), &headers).map(str::to_owned)
    }

    #[test]
    fn exactly_one_host_is_needed() {
        assert_eq!(host_of("/", &["a.example:8080"]), Ok("a.example:8080".to_owned()));
        assert_eq!(host_of("/", &[]), Err(HostError::Missing));
        assert_eq!(host_of("/", &["a", "a"]), Err(HostError::Repeated));
        assert_eq!(host_of("http://a/x", &["a", "b"]), Err(HostError::Repeated));
    }

    #[test]
    fn an_authority_must_equal_the_host() {
        assert_eq!(host_of("http://A.example/x", &["a.example"]), Ok("A.example".to_owned()));
        assert_eq!(host_of("http://a.example/x", &[]), Ok("a.example".to_owned()));
        assert_eq!(host_of("http://a.example/x", &["b.example"]), Err(HostError::Contradictory));
        assert_eq!(host_of("http://a.example/x", &["a.example:80"]), Err(HostError::Contradictory));
        assert_eq!(host_of("http://me@a.example/x", &[]), Err(HostError::Malformed));
        assert_eq!(host_of("https://a.example/x", &["a.example"]), Ok("a.example".to_owned()));
        assert_eq!(host_of("ftp://a.example/x", &["a.example"]), Err(HostError::ForeignScheme));
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for good in ["a", "a_b.example.", "127.0.0.1:1", "[::1]", "[::1]:443", "xn--caf-dma.example"] {
            assert_eq!(host_of("/", &[good]), Ok(good.to_owned()));
        }
        let long = "a".repeat(256);
        for bad in [
            "", " ", "a b", "a/b", "a@b", "a:b", "a:", "a:65536", "a:+1", "a..b", ".", ".a", "[::1", "[x]", "[::1]x",
            "::1", "a%2eb", "a,b", "é", "a\tb", &long,
        ] {
            assert_eq!(host_of("/", &[bad]), Err(HostError::Malformed), "{bad:?}");
        }
    }
}
