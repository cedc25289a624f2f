//! What is the same for every dialect that is spoken to an authority outside.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::fmt::rfc2822;
use url::Url;

use super::{answer::retry_after, consinco, declared, oauth2, redex};
use crate::{
    config::RemoteApi,
    model::{ErrorCode, Secret, TokenError, TokenGrant, TokenRequest, UnixTime},
};

/// Which endpoint of a token API that has one for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A session begins.
    Obtain,
    /// A session goes on.
    Renew,
}

/// A request as the dialect says it.
#[derive(Debug)]
pub struct Said {
    pub endpoint: Endpoint,
    /// Below the base URL of the authority, where the dialect knows more places than [`Endpoint`] does.
    pub path: Option<String>,
    pub accept: HeaderValue,
    /// A credential that does not stand in the content.
    pub authorization: Option<HeaderValue>,
    pub content: Content,
}

/// Where the request has its members.
#[derive(Debug)]
pub enum Content {
    /// A POST with this body.
    Body { content_type: HeaderValue, body: Secret<Vec<u8>> },
    /// A GET with this query, which is a secret like any body: nothing may note the URL.
    Query(Secret<String>),
}

impl Said {
    /// A POST to an endpoint whose place the configuration knows.
    pub(super) fn posted(endpoint: Endpoint, content_type: HeaderValue, accept: HeaderValue, body: Vec<u8>) -> Said {
        let content = Content::Body { content_type, body: Secret::new(body) };
        Said { endpoint, path: None, accept, authorization: None, content }
    }

    /// Where it goes, if `base` is where its endpoint is, or what its path stands below.
    pub fn place(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Some(path) = &self.path {
            url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        }
        url
    }

    /// The body; empty for a GET.
    pub fn body(&self) -> &[u8] {
        match &self.content {
            Content::Body { body, .. } => body.expose(),
            Content::Query(_) => &[],
        }
    }
}

/// Says `request` to an authority that speaks `api`.
///
/// # Errors
/// If it has no words for it.
pub fn write_request(api: &RemoteApi, request: &TokenRequest) -> Result<Said, CannotSay> {
    match api {
        RemoteApi::OAuth2(settings) => oauth2::write_request(request, &settings.parameters),
        RemoteApi::Redex { .. } => redex::write_request(request),
        RemoteApi::Declared { dialect, .. } => declared::write_request(dialect, request),
        RemoteApi::Consinco { format, company, .. } => {
            consinco::write_request(request, &consinco::Speech { format: *format, company: company.clone() })
        }
    }
}

/// Reads what an authority that speaks `api` answered.
///
/// # Errors
/// Why it gave nothing, or that its answer makes no sense.
pub fn read_reply(api: &RemoteApi, heard: &Heard<'_>) -> Result<TokenGrant, TokenError> {
    match api {
        RemoteApi::OAuth2(_) => oauth2::read_reply(heard),
        RemoteApi::Redex { .. } => redex::read_reply(heard),
        RemoteApi::Consinco { .. } => consinco::read_reply(heard),
        RemoteApi::Declared { dialect, .. } => declared::read_reply(dialect, heard),
    }
}

/// The token API has no words for what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token API has no such request: {0}")]
pub struct CannotSay(pub &'static str);

/// An answer that has arrived whole.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    /// When the request was sent: lifetimes are counted from there.
    pub asked: UnixTime,
}

impl Heard<'_> {
    /// Why nothing was given. `status` and `code` are what the answer says, in its head or in its body.
    ///
    /// Only a clear refusal is `invalid_grant`, which ends a session: whatever a server in trouble writes is not.
    pub(super) fn refusal(&self, status: StatusCode, code: Option<ErrorCode>) -> TokenError {
        let cause = format!("the authority answered {}", status.as_u16());
        let code = match (status, code) {
            (StatusCode::TOO_MANY_REQUESTS, _) => {
                let seconds = retry_after(self.headers).unwrap_or(PAUSE).min(LONGEST_PAUSE);
                return TokenError::unavailable().throttled(seconds).because(cause);
            }
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, _) => {
                let retry_after = retry_after(self.headers).map(|seconds| seconds.clamp(1, LONGEST_PAUSE));
                return TokenError { retry_after, ..TokenError::unavailable() }.because(cause);
            }
            (status, _) if status.is_server_error() => ErrorCode::ServerError,
            (_, Some(code)) => return TokenError::new(code).because(format!("{cause} {}", code.as_str())),
            // These APIs have no other word for a token that is no longer good; who sends pages stands before them.
            (StatusCode::UNAUTHORIZED, None) if !self.is_page() => ErrorCode::InvalidGrant,
            (status, None) if status.is_client_error() => ErrorCode::InvalidRequest,
            (_, None) => ErrorCode::ServerError,
        };
        TokenError::new(code).because(cause)
    }

    /// Seconds from the answer until `end`, which the authority told by its own clock. How that one stands, it tells with
    /// every answer (RFC 9110, section 6.6.1): by ours its token might be used for too long, or never be good.
    pub(super) fn until(&self, end: UnixTime) -> u64 {
        self.there().unwrap_or(self.asked).until(end).as_secs()
    }

    /// Now, by the clock of the authority; `None` if it has none, or one that was never set.
    fn there(&self) -> Option<UnixTime> {
        let said = rfc2822::parse(self.headers.get(header::DATE)?.to_str().ok()?).ok()?;
        let there = UnixTime(said.timestamp().as_second().try_into().ok()?);
        let apart = there.until(self.asked).max(self.asked.until(there)).as_secs();
        (apart <= MOST_APART).then_some(there)
    }

    fn is_page(&self) -> bool {
        let media = self.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        media.get(..PAGE.len()).is_some_and(|start| start.eq_ignore_ascii_case(PAGE))
    }

    /// A success that nobody can use.
    pub(super) fn unreadable(&self, why: &str) -> TokenError {
        TokenError::new(ErrorCode::ServerError).because(format!("the authority's answer: {why}"))
    }
}

/// Seconds.
const MOST_APART: u64 = 24 * 3600;
/// No token API answers in it; gateways and old proxies do.
const PAGE: &[u8] = b"text/html";
/// Seconds that a client is sent away for, whatever an authority says.
const LONGEST_PAUSE: u64 = 3600;
/// Seconds to wait where a 429 does not say it.
const PAUSE: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_counted_by_the_clock_of_whoever_told_it() {
        let until = |date: &str, end: u64| {
            let mut headers = HeaderMap::new();
            headers.insert(header::DATE, date.parse().unwrap());
            // 784111777 is the moment of all examples in RFC 9110.
            let asked = UnixTime(784_111_777);
            Heard { status: StatusCode::OK, headers: &headers, body: b"", asked }.until(asked.plus(end))
        };
        assert_eq!(until("Sun, 06 Nov 1994 08:49:37 GMT", 300), 300);
        assert_eq!(until("Sun, 06 Nov 1994 08:51:07 GMT", 390), 300, "90 s ahead");
        assert_eq!(until("Sun, 06 Nov 1994 08:48:07 GMT", 210), 300, "90 s behind");
        for senseless in ["Thu, 01 Jan 1970 00:00:00 GMT", "yesterday", ""] {
            assert_eq!(until(senseless, 300), 300, "{senseless}");
        }
    }
}
