//! The one token of a request (RFC 6750 section 2), or why there is none.

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::config::TokenPlace;

/// Why a request has no token that could be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// Nothing, or another scheme: 401 with a challenge that has no error code (RFC 6750 section 3.1).
    #[error("no bearer token")]
    Missing,
    /// 400 `invalid_request`.
    #[error("malformed credentials: {0}")]
    Malformed(&'static str),
}

impl BearerError {
    /// The stable word for logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            BearerError::Missing => "missing_token",
            BearerError::Malformed(_) => "malformed_credentials",
        }
    }
}

/// What stands where a token belongs. Its characters are looked at by [`Candidate::check`], which a token that the cache
/// knows byte for byte does not need any more.
#[derive(Clone, Copy)]
pub struct Candidate<'a>(&'a [u8]);

impl<'a> Candidate<'a> {
    /// All of it, at least one byte and at most [`TOKEN_BYTES`].
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The same as text, which may be no `b64token` yet.
    ///
    /// # Errors
    /// [`BearerError::Malformed`] if it is none.
    pub fn text(self) -> Result<&'a str, BearerError> {
        std::str::from_utf8(self.0).map_err(|_| BearerError::Malformed("not a b64token"))
    }

    /// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750 section 2.1)
    ///
    /// # Errors
    /// [`BearerError::Malformed`] if it is not a `b64token`.
    pub fn check(self) -> Result<&'a str, BearerError> {
        let padding = self.0.iter().rev().take_while(|byte| **byte == b'=').count();
        let body = &self.0[..self.0.len() - padding];
        // Without an early end, so that the compiler looks at many bytes at once.
        if body.is_empty() || !body.iter().fold(true, |all, byte| all & is_of_b64token(*byte)) {
            return Err(BearerError::Malformed("not a b64token"));
        }
        self.text()
    }
}

/// Finds the token where the route expects it. `query_token` is the value of the route's query parameter, if the route
/// has one and the request carries it.
///
/// # Errors
/// [`BearerError::Missing`] without a token; [`BearerError::Malformed`] if it is sent twice or in two ways, is longer
/// than [`TOKEN_BYTES`], or is empty behind its scheme.
pub fn extract<'a>(
    headers: &'a HeaderMap,
    place: &TokenPlace,
    query_token: Option<&'a str>,
) -> Result<Candidate<'a>, BearerError> {
    let in_header = match single(headers, place)? {
        Some(value) if place.header == AUTHORIZATION => bearer(value)?,
        Some(value) if value.is_empty() => None,
        Some(value) => Some(candidate(value.as_bytes())?),
        None => None,
    };
    match (in_header, query_token) {
        (Some(_), Some(_)) => Err(BearerError::Malformed("a token in two places")),
        (Some(token), None) => Ok(token),
        (None, Some(token)) => candidate(token.as_bytes()),
        (None, None) => Err(BearerError::Missing),
    }
}

fn single<'a>(headers: &'a HeaderMap, place: &TokenPlace) -> Result<Option<&'a HeaderValue>, BearerError> {
    let mut values = headers.get_all(&place.header).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(BearerError::Malformed("the header stands more than once")),
    }
}

/// The token of `Bearer 1*SP b64token`; `None` for another scheme.
fn bearer(value: &HeaderValue) -> Result<Option<Candidate<'_>>, BearerError> {
    let bytes = value.as_bytes();
    // A scheme ends where its characters end, so that `Bearer,x` and `Bearer\tx` are bad bearers, not other schemes.
    let end = bytes.iter().position(|byte| !is_tchar(*byte)).unwrap_or(bytes.len());
    let (scheme, rest) = bytes.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    if spaces == 0 {
        return Err(BearerError::Malformed("no token behind the scheme"));
    }
    candidate(&rest[spaces..]).map(Some)
}

fn candidate(token: &[u8]) -> Result<Candidate<'_>, BearerError> {
    match token.len() {
        0 => Err(BearerError::Malformed("no token behind the scheme")),
        1..=TOKEN_BYTES => Ok(Candidate(token)),
        _ => Err(BearerError::Malformed("a token that is too long")),
    }
}

/// `ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/"`
fn is_of_b64token(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-`, `.`, `/` and the digits stand in a row.
    let is_of_row = byte.wrapping_sub(b'-') <= b'9' - b'-';
    is_letter | is_of_row | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

/// A character of a token by RFC 9110 section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Bytes of a token.
pub const TOKEN_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const MALFORMED: Result<&str, &str> = Err("malformed_credentials");
    const MISSING: Result<&str, &str> = Err("missing_token");

    fn extract_from(name: HeaderName, values: &[&[u8]], query: Option<&str>) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_bytes(value).unwrap());
        }
        let place = TokenPlace { header: name, query_parameter: None, basic: None };
        extract(&headers, &place, query).and_then(Candidate::check).map(str::to_owned).map_err(BearerError::code)
    }

    fn authorization(values: &[&str]) -> Result<String, &'static str> {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        extract_from(AUTHORIZATION, &values, None)
    }

    #[test]
    fn exactly_one_bearer_token_is_taken() {
        for (values, expected) in [
            (&["Bearer abc"][..], Ok("abc")),
            (&["bEARER   a.b-c_d~e+f/g=="], Ok("a.b-c_d~e+f/g==")),
            (&[], MISSING),
            (&[""], MISSING),
            (&["Basic abc"], MISSING),
            (&["Bearerabc"], MISSING),
            (&["DPoP abc"], MISSING),
            (&["Bearer"], MALFORMED),
            (&["Bearer "], MALFORMED),
            (&["Bearer ="], MALFORMED),
            (&["Bearer\tabc"], MALFORMED),
            (&["Bearer,abc"], MALFORMED),
            (&["Bearer abc,def"], MALFORMED),
            (&["Bearer abc, Bearer def"], MALFORMED),
            (&["Bearer abc def"], MALFORMED),
            (&["Bearer abc "], MALFORMED),
            (&["Bearer a=b"], MALFORMED),
            (&["Bearer \"abc\""], MALFORMED),
            (&["Bearer ab\u{e9}"], MALFORMED),
            (&["Bearer abc", "Bearer abc"], MALFORMED),
            (&["Basic abc", "Bearer abc"], MALFORMED),
        ] {
            assert_eq!(authorization(values).as_deref().map_err(|code| *code), expected, "{values:?}");
        }
    }

    #[test]
    fn another_header_carries_the_bare_token() {
        let name = HeaderName::from_static("x-token");
        for (values, expected) in [
            (&[&b"abc"[..]][..], Ok("abc")),
            (&[b""], MISSING),
            (&[b"Bearer abc"], MALFORMED),
            (&[b"a", b"a"], MALFORMED),
            (&[b"\xff"], MALFORMED),
        ] {
            let got = extract_from(name.clone(), values, None);
            assert_eq!(got.as_deref().map_err(|code| *code), expected, "{values:?}");
        }
    }

    #[test]
    fn a_token_in_the_query_stands_alone() {
        assert_eq!(extract_from(AUTHORIZATION, &[], Some("abc")).as_deref(), Ok("abc"));
        assert_eq!(extract_from(AUTHORIZATION, &[b"Basic x"], Some("abc")).as_deref(), Ok("abc"));
        for query in ["", "a b", "a%20"] {
            assert_eq!(extract_from(AUTHORIZATION, &[], Some(query)).as_deref().map_err(|code| *code), MALFORMED);
        }
        let both = extract_from(AUTHORIZATION, &[b"Bearer abc"], Some("abc"));
        assert_eq!(both.as_deref().map_err(|code| *code), MALFORMED);
    }

    #[test]
    fn length_is_bounded() {
        let token = "a".repeat(TOKEN_BYTES);
        assert_eq!(authorization(&[&format!("Bearer {token}")]), Ok(token.clone()));
        assert_eq!(authorization(&[&format!("Bearer {token}a")]), Err("malformed_credentials"));
    }

    /// RFC 6750 section 2.1 word for word, one character after the other.
    fn oracle(value: &str) -> Option<&str> {
        let (scheme, rest) = value.split_at_checked(6)?;
        let token = rest.trim_start_matches(' ');
        let body = token.trim_end_matches('=');
        let fits = scheme.to_lowercase() == "bearer"
            && token.len() < rest.len()
            && !body.is_empty()
            && body.chars().all(|c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~' | '+' | '/'));
        fits.then_some(token)
    }

    proptest! {
        /// Whoever has taken a token apart need not look at its characters.
        #[test]
        fn what_can_be_taken_apart_as_a_jwt_is_a_b64token(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut token = b"eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJhIn0.AAAA".to_vec();
            let at = at.index(token.len());
            token[at] = byte;
            let candidate = Candidate(&token);
            if candidate.text().is_ok_and(|text| crate::jose::peek(text).is_ok()) {
                prop_assert!(candidate.check().is_ok());
            }
        }

        #[test]
        fn a_value_is_taken_exactly_if_the_grammar_says_so(value in "(Bearer|bearer|BEARER|Basic|Bear)?[ \t,]{0,2}[A-Za-z0-9._~+/=, -]{0,12}") {
            let got = authorization(&[&value]).ok();
            prop_assert_eq!(got.as_deref(), oracle(&value));
        }

        #[test]
        fn arbitrary_bytes_never_panic(value in any::<Vec<u8>>()) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(AUTHORIZATION, value);
                let place = TokenPlace { header: AUTHORIZATION, query_parameter: None, basic: None };
                let _ = extract(&headers, &place, None);
            }
        }
    }
}
