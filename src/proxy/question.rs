//! What a proxy asks about: the request of its client, taken out of the question.
//!
//! Each value must be there exactly once, and be what the proxy will forward, byte for byte: a target that would lose
//! something by being read here is refused.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::HOST,
    request::Parts,
    uri::{Authority, PathAndQuery},
};

use super::{ProxyError, headers::one_host};
use crate::model::Questions;

/// Why a question cannot be understood, or is not heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    #[error("who asks is neither on this machine nor in trusted_proxies")]
    Stranger,
    #[error("the question has no header {0}: the proxy must set it")]
    Missing(HeaderName),
    #[error("the question has more than one header {0}: the proxy must set it, in the place of the client's")]
    Repeated(HeaderName),
    #[error("{0} of the question is no method")]
    Method(HeaderName),
    #[error("what is asked about is not a path with or without a query")]
    Target,
    #[error("the path of the question does not begin with path_prefix")]
    Prefix,
}

impl QuestionError {
    /// The stable code for answers and logs.
    pub fn code(&self) -> &'static str {
        match self {
            QuestionError::Stranger => "untrusted_proxy",
            QuestionError::Target => "malformed_target",
            QuestionError::Missing(_)
            | QuestionError::Repeated(_)
            | QuestionError::Method(_)
            | QuestionError::Prefix => "malformed_question",
        }
    }
}

/// Makes `head`, a question, into the head of the request that is asked about.
///
/// # Errors
/// Why it does not say which request that is.
pub fn read(head: &mut Parts, questions: &Questions) -> Result<(), ProxyError> {
    let target = match questions {
        Questions::Nginx => {
            let target = target(only(&head.headers, &X_ORIGINAL_URI)?.as_bytes())?;
            head.method = method(&head.headers, &X_ORIGINAL_METHOD)?;
            name_host(head)?;
            forget(head, &[X_ORIGINAL_URI, X_ORIGINAL_METHOD]);
            target
        }
        Questions::Forwarded => {
            let target = target(only(&head.headers, &X_FORWARDED_URI)?.as_bytes())?;
            head.method = method(&head.headers, &X_FORWARDED_METHOD)?;
            let host = only(&head.headers, &X_FORWARDED_HOST)?.clone();
            head.headers.insert(HOST, host);
            forget(head, &[X_FORWARDED_URI, X_FORWARDED_METHOD]);
            target
        }
        Questions::Envoy { path_prefix } => {
            let whole = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
            // Without a slash behind it, the prefix would be a part of a longer first segment.
            let rest = whole.strip_prefix(&**path_prefix).filter(|rest| rest.starts_with('/'));
            let target = target(rest.ok_or(QuestionError::Prefix)?.as_bytes())?;
            name_host(head)?;
            target
        }
    };
    head.uri = Uri::from(target);
    Ok(())
}

/// The one value of `name`.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, QuestionError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(QuestionError::Missing(name.clone())),
        (Some(_), Some(_)) => Err(QuestionError::Repeated(name.clone())),
    }
}

fn method(headers: &HeaderMap, name: &HeaderName) -> Result<Method, QuestionError> {
    Method::from_bytes(only(headers, name)?.as_bytes()).map_err(|_| QuestionError::Method(name.clone()))
}

fn target(bytes: &[u8]) -> Result<PathAndQuery, QuestionError> {
    let parsed = PathAndQuery::try_from(bytes).ok().filter(|_| bytes.first() == Some(&b'/'));
    // The parser leaves a fragment out, and an upstream may not.
    parsed.filter(|parsed| parsed.as_str().len() == bytes.len()).ok_or(QuestionError::Target)
}

/// The host of the question is the host of the request, also where HTTP/2 has it in the target, which is replaced.
fn name_host(head: &mut Parts) -> Result<(), ProxyError> {
    let authority = head.uri.authority().map(Authority::as_str);
    if let Some(authority) = authority.filter(|_| !head.headers.contains_key(HOST)) {
        let host = HeaderValue::from_str(authority).map_err(|_| QuestionError::Target)?;
        head.headers.insert(HOST, host);
    }
    one_host(&head.uri, &head.headers)?;
    Ok(())
}

/// The proxy's own words are none of its client's.
fn forget(head: &mut Parts, names: &[HeaderName]) {
    for name in names {
        head.headers.remove(name);
    }
}

const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(questions: &Questions, target: &str, headers: &[(&str, &str)]) -> Result<String, String> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        read(&mut head, questions).map_err(|error| error.to_string())?;
        let host = one_host(&head.uri, &head.headers).unwrap().to_owned();
        let left = head.headers.keys().filter(|name| name.as_str().starts_with("x-original-")).count();
        assert_eq!(left, 0);
        Ok(format!("{} {host}{}", head.method, head.uri))
    }

    #[test]
    fn each_proxy_has_its_words() {
        let host = ("host", "a.example");
        let nginx = [host, ("x-original-method", "PUT"), ("x-original-uri", "/a%2fb?c=//")];
        assert_eq!(asked(&Questions::Nginx, "/ask", &nginx), Ok("PUT a.example/a%2fb?c=//".into()));
        let forwarded = [
            ("host", "sidegate:1"),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-uri", "/"),
            ("x-forwarded-host", "a.example"),
        ];
        assert_eq!(asked(&Questions::Forwarded, "/ask", &forwarded), Ok("GET a.example/".into()));
        let envoy = Questions::Envoy { path_prefix: "/ask".into() };
        assert_eq!(asked(&envoy, "/ask/x?y", &[host]), Ok("GET a.example/x?y".into()));
        assert_eq!(asked(&envoy, "http://b.example/ask/x?y", &[]), Ok("GET b.example/x?y".into()));
        let bare = Questions::Envoy { path_prefix: "".into() };
        assert_eq!(asked(&bare, "/x", &[host]), Ok("GET a.example/x".into()));
    }

    #[test]
    fn what_is_not_said_once_and_clearly_is_not_heard() {
        let (host, put) = (("host", "a"), ("x-original-method", "PUT"));
        let missing = "the question has no header x-original-uri: the proxy must set it";
        assert_eq!(asked(&Questions::Nginx, "/", &[host, put]), Err(missing.into()));
        let twice = [host, put, ("x-original-uri", "/a"), ("x-original-uri", "/b")];
        assert!(asked(&Questions::Nginx, "/", &twice).unwrap_err().contains("more than one header x-original-uri"));
        for target in ["", "*", "a", "http://a/b", "/a#b", "/a b", "/a?b#c"] {
            let said = [host, put, ("x-original-uri", target)];
            let error = "what is asked about is not a path with or without a query";
            assert_eq!(asked(&Questions::Nginx, "/", &said), Err(error.into()), "{target}");
        }
        let envoy = Questions::Envoy { path_prefix: "/ask".into() };
        for target in ["/asked/x", "/ask", "/other/x"] {
            assert!(asked(&envoy, target, &[host]).unwrap_err().contains("path_prefix"), "{target}");
        }
    }
}
