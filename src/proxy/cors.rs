//! Cross-origin answers (the CORS protocol of the Fetch standard), given in the upstream's place.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

use crate::config::{Cors, Origins};

/// The method that a preflight asks for; `None` if the request is no preflight.
///
/// The route of a preflight is the one for this method, since the real request will come with it.
pub fn preflight_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    let mut wanted = headers.get_all(ACCESS_CONTROL_REQUEST_METHOD).iter();
    let only = wanted.next().filter(|_| wanted.next().is_none())?;
    Method::from_bytes(only.as_bytes()).ok()
}

/// The headers of the answer (204) to a preflight. For an origin that is not allowed there are no `Allow` headers,
/// which is how the browser learns it.
pub fn preflight(cors: &Cors, request: &HeaderMap) -> HeaderMap {
    let mut answer = HeaderMap::new();
    answer.insert(
        VARY,
        HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    );
    if allow_origin(cors, the_origin(request), &mut answer) {
        put_list(&mut answer, ACCESS_CONTROL_ALLOW_METHODS, cors.methods.iter().map(Method::as_str));
        put_list(&mut answer, ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.iter().map(HeaderName::as_str));
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs()));
    }
    answer
}

/// The `Origin` of a request, if there is exactly one.
pub fn the_origin(request: &HeaderMap) -> Option<&HeaderValue> {
    let mut origins = request.get_all(ORIGIN).iter();
    origins.next().filter(|_| origins.next().is_none())
}

/// Lets scripts of an allowed `origin` read an answer: the upstream's, whose own CORS headers are replaced, or an error
/// of ours.
pub fn decorate(cors: &Cors, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    for name in OWN {
        answer.remove(name);
    }
    if matches!(cors.origins, Origins::Listed(_)) {
        // Also without an origin: a shared cache must not give that answer to a script.
        vary_by_origin(answer);
    }
    if allow_origin(cors, origin, answer) {
        put_list(answer, ACCESS_CONTROL_EXPOSE_HEADERS, cors.expose_headers.iter().map(HeaderName::as_str));
    }
}

/// Sets `Allow-Origin` and `Allow-Credentials` if `origin` is allowed; origins are compared byte for byte.
fn allow_origin(cors: &Cors, origin: Option<&HeaderValue>, answer: &mut HeaderMap) -> bool {
    let Some(origin) = origin else { return false };
    let value = match &cors.origins {
        Origins::Any => HeaderValue::from_static("*"),
        Origins::Listed(allowed) if allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) => {
            origin.clone()
        }
        Origins::Listed(_) => return false,
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value);
    // The standard forbids the pair of `*` and credentials; it is refused again here.
    if cors.credentials && matches!(cors.origins, Origins::Listed(_)) {
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    true
}

fn vary_by_origin(answer: &mut HeaderMap) {
    let mut varies = answer.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let known = varies.any(|name| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(ORIGIN.as_str().as_bytes())
    });
    if !known {
        answer.append(VARY, HeaderValue::from_static("Origin"));
    }
}

fn put_list<'a>(headers: &mut HeaderMap, name: HeaderName, words: impl Iterator<Item = &'a str>) {
    let list = words.collect::<Vec<_>>().join(", ");
    if !list.is_empty()
        && let Ok(value) = HeaderValue::try_from(list)
    {
        headers.insert(name, value);
    }
}

/// What the upstream may have said itself.
const OWN: [HeaderName; 7] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    HeaderName::from_static("access-control-allow-private-network"),
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const APP: HeaderValue = HeaderValue::from_static("https://app.example.com");

    fn cors() -> Cors {
        Cors {
            origins: Origins::Listed(vec!["https://app.example.com".to_owned()]),
            methods: vec![Method::GET, Method::PUT],
            headers: vec![http::header::AUTHORIZATION, http::header::CONTENT_TYPE],
            expose_headers: vec![HeaderName::from_static("x-request-id")],
            credentials: true,
            max_age: Duration::from_secs(600),
        }
    }

    fn asking(origin: &'static str) -> HeaderMap {
        let list = [("origin", origin), ("access-control-request-method", "PUT")];
        list.into_iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn a_preflight_of_an_allowed_origin_is_told_what_is_allowed() {
        let answer = preflight(&cors(), &asking("https://app.example.com"));
        assert_eq!(answer["access-control-allow-origin"], APP);
        assert_eq!(answer["access-control-allow-methods"], "GET, PUT");
        assert_eq!(answer["access-control-allow-headers"], "authorization, content-type");
        assert_eq!(answer["access-control-allow-credentials"], "true");
        assert_eq!(answer["access-control-max-age"], "600");
        assert_eq!(answer["vary"], "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    }

    #[test]
    fn an_origin_that_is_not_exactly_listed_is_told_nothing() {
        for origin in ["https://app.example.com.evil", "https://APP.example.com", "http://app.example.com", "null", ""]
        {
            let answer = preflight(&cors(), &asking(origin));
            assert_eq!(answer.len(), 1, "{origin}");
            let mut answer = HeaderMap::new();
            decorate(&cors(), Some(&HeaderValue::from_static(origin)), &mut answer);
            assert_eq!(answer.len(), 1, "{origin}");
            assert_eq!(answer["vary"], "Origin");
        }
        let mut twice = asking("https://app.example.com");
        twice.append(ORIGIN, APP);
        assert_eq!(preflight(&cors(), &twice).len(), 1);
    }

    #[test]
    fn a_request_is_a_preflight_only_with_origin_and_one_method() {
        let mut headers = asking("https://app.example.com");
        assert_eq!(preflight_method(&Method::OPTIONS, &headers), Some(Method::PUT));
        assert_eq!(preflight_method(&Method::GET, &headers), None);
        headers.append(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET"));
        assert_eq!(preflight_method(&Method::OPTIONS, &headers), None);
        assert_eq!(preflight_method(&Method::OPTIONS, &HeaderMap::new()), None);
    }

    #[test]
    fn the_upstreams_own_cors_headers_are_replaced() {
        let mut answer = HeaderMap::new();
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        answer.append(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("null"));
        answer.insert(VARY, HeaderValue::from_static("Accept, origin"));
        decorate(&cors(), Some(&APP), &mut answer);
        assert_eq!(answer.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect::<Vec<_>>(), [APP]);
        assert_eq!(answer["access-control-expose-headers"], "x-request-id");
        assert_eq!(answer.get_all(VARY).iter().count(), 1);
    }

    #[test]
    fn any_origin_never_comes_with_credentials() {
        let mut answer = HeaderMap::new();
        decorate(&Cors { origins: Origins::Any, ..cors() }, Some(&APP), &mut answer);
        assert_eq!(answer["access-control-allow-origin"], "*");
        assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        assert!(!answer.contains_key(VARY));
    }
}
