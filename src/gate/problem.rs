//! The one table from errors to the wire: `application/problem+json` (RFC 9457) with a stable code and the request id.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use serde::Serialize;

use crate::{
    auth::Refusal,
    config,
    model::RequestId,
    proxy::{ProxyError, question::QuestionError, routes::RouteError},
    telemetry::reason::Reason,
};

/// What a client is told of an error, and nothing else.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// Stable; documented in docs/errors.md.
    pub code: &'static str,
    challenge: Option<Challenge>,
    /// The route takes HTTP Basic too.
    basic: bool,
    /// Seconds.
    retry_after: Option<u64>,
    allow: Option<HeaderValue>,
    close: bool,
}

/// `WWW-Authenticate: Bearer` (RFC 6750 section 3).
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    error: Option<&'static str>,
    scope: Option<String>,
}

impl Realm {
    pub fn new(resource: &config::Resource) -> Realm {
        let metadata = resource.identifier.as_ref().map(|identifier| {
            let host = identifier.authority().map_or("", |authority| authority.as_str());
            format!("{}://{host}{}", identifier.scheme_str().unwrap_or("https"), metadata_path(identifier))
        });
        Realm { realm: resource.realm.clone(), metadata }
    }
}

/// Where the metadata of `identifier` is served: the well-known part goes before its path (RFC 9728, section 3.1).
pub fn metadata_path(identifier: &Uri) -> String {
    format!("/.well-known/oauth-protected-resource{}", without_slash(identifier.path()))
}

/// An identifier without a path stands for the whole host; `http::Uri` gives it one.
pub fn without_slash(text: &str) -> &str {
    text.strip_suffix('/').unwrap_or(text)
}

/// The parts of every challenge that come from the configuration.
#[derive(Debug)]
pub struct Realm {
    /// Free of characters that would end a quoted string.
    pub realm: String,
    /// The URL of the protected-resource metadata (RFC 9728 section 5.1).
    pub metadata: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    code: &'a str,
    request_id: &'a str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str) -> Problem {
        Problem { status, code, challenge: None, basic: false, retry_after: None, allow: None, close: false }
    }

    fn challenge(mut self, error: Option<&'static str>, scope: Option<String>) -> Problem {
        self.challenge = Some(Challenge { error, scope });
        self
    }

    fn retry_after(mut self, seconds: u64) -> Problem {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// The table.
    pub fn of(error: &ProxyError) -> Problem {
        match error {
            ProxyError::Head(_) => Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"),
            ProxyError::Host(error) => Problem::new(StatusCode::BAD_REQUEST, error.code()),
            ProxyError::Path(error) => Problem::new(StatusCode::BAD_REQUEST, error.code()),
            ProxyError::Route(error) => Problem::of_route(error),
            ProxyError::Refused { refusal, scope, basic } => {
                Problem { basic: *basic, ..Problem::of_refusal(*refusal, scope.clone()) }
            }
            ProxyError::RateLimited { retry_after } => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited").retry_after(retry_after.as_secs() + 1)
            }
            // The rest of the body is not worth reading.
            ProxyError::BodyTooLarge => {
                Problem { close: true, ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large") }
            }
            ProxyError::Question(error) => {
                let stranger = matches!(error, QuestionError::Stranger);
                let status = if stranger { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
                Problem::new(status, error.code())
            }
            ProxyError::Forged(_) => Problem::new(StatusCode::BAD_REQUEST, "forged_header"),
            ProxyError::PreflightNotAnswered => Problem::new(StatusCode::FORBIDDEN, "preflight_not_answered"),
            ProxyError::OwnPath => Problem::new(StatusCode::NOT_FOUND, "own_path"),
            ProxyError::Credential(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
            ProxyError::Upstream(error) => Problem::of_upstream(error.code(), error.status()),
        }
    }

    fn of_route(error: &RouteError) -> Problem {
        let status = match error {
            RouteError::NotFound => StatusCode::NOT_FOUND,
            RouteError::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            RouteError::Ambiguous | RouteError::EncodedSlash => StatusCode::BAD_REQUEST,
        };
        let problem = Problem::new(status, error.code());
        match error {
            RouteError::MethodNotAllowed { allow } => Problem { allow: Some(allow.clone()), ..problem },
            RouteError::NotFound | RouteError::Ambiguous | RouteError::EncodedSlash => problem,
        }
    }

    fn of_upstream(code: &'static str, status: StatusCode) -> Problem {
        let problem = Problem::new(status, code);
        if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(1) } else { problem }
    }

    /// RFC 6750 section 3.1; oauth.md, "Protected resource".
    fn of_refusal(refusal: Refusal, scope: Option<String>) -> Problem {
        match refusal.reason {
            // No error code where no authentication was tried (RFC 6750 section 3.1).
            Reason::TokenMissing => Problem::new(StatusCode::UNAUTHORIZED, "token_missing").challenge(None, None),
            Reason::TokenMalformed => {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_request").challenge(Some("invalid_request"), None)
            }
            Reason::TokenExpired
            | Reason::TokenNotYetValid
            | Reason::TokenInvalid
            | Reason::TokenRevoked
            | Reason::IssuerUnknown
            | Reason::KeyUnknown
            | Reason::IssuerRefused
            | Reason::AudienceRefused => {
                Problem::new(StatusCode::UNAUTHORIZED, "invalid_token").challenge(Some("invalid_token"), None)
            }
            Reason::ScopeMissing => {
                Problem::new(StatusCode::FORBIDDEN, "insufficient_scope").challenge(Some("insufficient_scope"), scope)
            }
            // A better token exists, but not one with more scope: the challenge would send the client in circles.
            Reason::ClaimRefused | Reason::ClientRefused => Problem::new(StatusCode::FORBIDDEN, "forbidden"),
            Reason::RateLimited => Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited")
                .retry_after(refusal.retry_after.unwrap_or(1)),
            // The challenge says what else would do; an error code would speak of a token, and there was none.
            Reason::PasswordWrong => {
                Problem::new(StatusCode::UNAUTHORIZED, "invalid_credentials").challenge(None, None)
            }
            // No challenge: a 401 would make clients throw a good token away.
            Reason::Undecided => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
                .retry_after(refusal.retry_after.unwrap_or(2)),
            // Not refusals; should one ever come here, nothing is let through.
            Reason::Public | Reason::Allowed => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        }
    }

    /// The response, with the request id in header and body.
    pub fn response(&self, realm: &Realm, id: &RequestId) -> Response<Bytes> {
        let body = Body {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            request_id: id.as_str(),
        };
        // Numbers and plain text always serialise.
        let mut response = Response::new(Bytes::from(serde_json::to_vec(&body).unwrap_or_default()));
        *response.status_mut() = self.status;
        self.headers(realm, response.headers_mut());
        response
    }

    fn headers(&self, realm: &Realm, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(value) = self.challenge.as_ref().and_then(|challenge| challenge.value(realm)) {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        if self.basic && self.status == StatusCode::UNAUTHORIZED {
            let value = format!("Basic realm=\"{}\", charset=\"UTF-8\"", realm.realm);
            headers.extend(HeaderValue::from_str(&value).ok().map(|value| (header::WWW_AUTHENTICATE, value)));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = &self.allow {
            headers.insert(header::ALLOW, allow.clone());
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl Challenge {
    fn value(&self, realm: &Realm) -> Option<HeaderValue> {
        let mut value = format!("Bearer realm=\"{}\"", realm.realm);
        let mut add = |name: &str, text: &str| value.push_str(&format!(", {name}=\"{text}\""));
        if let Some(error) = self.error {
            add("error", error);
        }
        if let Some(scope) = &self.scope {
            add("scope", scope);
        }
        if let Some(metadata) = &realm.metadata {
            add("resource_metadata", metadata);
        }
        HeaderValue::from_str(&value).ok()
    }
}
