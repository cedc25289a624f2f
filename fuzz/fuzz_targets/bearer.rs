//! The `Authorization` of a request: a token is found exactly where RFC 6750 says that one stands.
#![no_main]

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;
use sidegate::{
    auth::bearer::{TOKEN_BYTES, extract},
    config::TokenPlace,
};

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    let values = data.split(|byte| *byte == b'\n').take(4);
    for value in values.filter_map(|value| HeaderValue::from_bytes(value).ok()) {
        headers.append(AUTHORIZATION, value);
    }
    let place = TokenPlace { header: AUTHORIZATION, query_parameter: None, basic: None };
    let found = extract(&headers, &place, None).ok().and_then(|candidate| candidate.check().ok());
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let expected = match (all.next(), all.next()) {
        (Some(value), None) => token(value.as_bytes()),
        _ => None,
    };
    assert_eq!(found.map(str::as_bytes), expected);

    // Beside a token in the header there is none in the query.
    let both = extract(&headers, &place, Some("abc"));
    assert!(both.is_err() || expected.is_none());
});

/// RFC 6750, section 2.1.
fn token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let token = &rest[spaces..];
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &token[..token.len() - padding];
    let fits = scheme.eq_ignore_ascii_case(b"Bearer")
        && spaces > 0
        && token.len() <= TOKEN_BYTES
        && !body.is_empty()
        && body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte));
    fits.then_some(token)
}
