//! The token of operators: compared in constant time, and wrong ones slowed down.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::refusal;
use crate::{
    config::Rate,
    model::{Connection, Secret, UnixTime},
    rate::{Key, Limiter, RetryAfter},
};

/// Counts wrong tokens. It outlives a reload, which may change the token.
pub(super) struct Access {
    wrong: Limiter,
    start: Instant,
}

/// Why a request is not carried out.
pub(super) enum Denied {
    /// There is no token that could be right.
    Off,
    Missing,
    Wrong,
    Throttled(RetryAfter),
}

impl Default for Access {
    fn default() -> Self {
        let start = Instant::now();
        Access { wrong: Limiter::new(WRONG_TOKENS, start), start }
    }
}

impl Access {
    pub(super) fn check(
        &self,
        token: Option<&Secret<String>>,
        headers: &HeaderMap,
        connection: &Connection,
        now: UnixTime,
    ) -> Result<(), Denied> {
        let token = token.ok_or(Denied::Off)?;
        self.judge(token, &bearer(headers).ok_or(Denied::Missing)?, connection, now)
    }

    pub(super) fn judge(
        &self,
        token: &Secret<String>,
        presented: &Secret<String>,
        connection: &Connection,
        now: UnixTime,
    ) -> Result<(), Denied> {
        let key = Key::address(connection.peer().ip().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        // The clock that tests move; from which day it counts does not matter.
        let at = self.start.checked_add(Duration::from_secs(now.0)).unwrap_or(self.start);
        // Before the comparison: whoever guesses learns nothing from a guess that comes too early.
        self.wrong.look(key, at).map_err(Denied::Throttled)?;
        if presented == token {
            return Ok(());
        }
        self.wrong.check(key, at).map_err(Denied::Throttled)?;
        Err(Denied::Wrong)
    }
}

impl Denied {
    pub(super) fn is_throttled(&self) -> bool {
        matches!(self, Denied::Throttled(_))
    }

    /// Status, stable code, and what to do.
    pub(super) fn told(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Denied::Off => {
                let message = "this is on once admin.token_file names a file with a token";
                (StatusCode::FORBIDDEN, "administration_off", message)
            }
            Denied::Missing => {
                let message = "send the token of admin.token_file: Authorization: Bearer …";
                (StatusCode::UNAUTHORIZED, "token_missing", message)
            }
            Denied::Wrong => (StatusCode::UNAUTHORIZED, "token_wrong", "this is not the token of admin.token_file"),
            Denied::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, "throttled", "too many wrong tokens; wait"),
        }
    }

    pub(super) fn answer(self) -> Response<Full<Bytes>> {
        let (status, code, message) = self.told();
        let mut response = refusal(status, code, message);
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sidegate admin\""));
        }
        if let Denied::Throttled(retry) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry.seconds()));
        }
        response
    }
}

/// The one bearer token of the request.
fn bearer(headers: &HeaderMap) -> Option<Secret<String>> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (one, None) = (given.next()?, given.next()) else { return None };
    let (scheme, token) = one.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim_start_matches(' ').to_owned()))
}

/// From one address: ten at once, and then one a second.
const WRONG_TOKENS: Rate = Rate { interval: Duration::from_secs(1), burst: 10 };
