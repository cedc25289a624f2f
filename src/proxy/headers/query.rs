//! The token that a legacy client sends in the query.

use std::borrow::Cow;

use form_urlencoded::parse;

use crate::model::Secret;

/// The parameter stands in the query more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token stands in the query more than once")]
pub struct RepeatedToken;

/// A query without its token.
#[derive(Debug)]
pub struct QueryToken<'a> {
    pub token: Option<Secret<String>>,
    /// The rest, in the bytes that it had; `None` if nothing remains.
    pub rest: Option<Cow<'a, str>>,
}

/// Takes the parameter `name` out of `query`.
///
/// The name is compared decoded and without case, so that no spelling of it is forwarded.
pub fn take_query_token<'a>(query: &'a str, name: &str) -> Result<QueryToken<'a>, RepeatedToken> {
    let value_of = |piece: &str| {
        let (key, value) = parse(piece.as_bytes()).next()?;
        key.eq_ignore_ascii_case(name).then(|| Secret::new(value.into_owned()))
    };
    let mut tokens = query.split('&').filter_map(value_of);
    let Some(token) = tokens.next() else {
        return Ok(QueryToken { token: None, rest: Some(Cow::Borrowed(query)) });
    };
    if tokens.next().is_some() {
        return Err(RepeatedToken);
    }
    let rest: Vec<&str> = query.split('&').filter(|piece| value_of(piece).is_none()).collect();
    let rest = (!rest.is_empty()).then(|| Cow::Owned(rest.join("&")));
    Ok(QueryToken { token: Some(token), rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(query: &str) -> (Option<String>, Option<String>) {
        let QueryToken { token, rest } = take_query_token(query, "access_token").unwrap();
        (token.map(|token| token.expose().clone()), rest.map(Cow::into_owned))
    }

    #[test]
    fn the_token_is_taken_and_the_rest_keeps_its_bytes() {
        for (query, token, rest) in [
            ("a=%2f+b&access_token=x.y&&c", Some("x.y"), Some("a=%2f+b&&c")),
            ("access_token=a%2Bb", Some("a+b"), None),
            ("access%5Ftoken=x&b", Some("x"), Some("b")),
            ("Access_Token=x", Some("x"), None),
            ("a=access_token=1", None, Some("a=access_token=1")),
            ("access_token", Some(""), None),
            ("", None, Some("")),
        ] {
            assert_eq!(take(query), (token.map(str::to_owned), rest.map(str::to_owned)), "{query}");
        }
    }

    #[test]
    fn a_repeated_token_is_an_error() {
        assert!(take_query_token("access_token=x&access%5ftoken=y", "access_token").is_err());
    }
}
