//! What the way of a request leaves behind for those who observe it.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderValue};

use super::{ProxyError, cors};
use crate::{auth::Whose, config, telemetry::reason::Reason};

#[derive(Debug, Default)]
pub struct Seen {
    /// Index of the route.
    pub route: Option<usize>,
    /// The name of the endpoint of ours that answered instead of a route.
    pub endpoint: Option<Cow<'static, str>>,
    pub reason: Option<Reason>,
    /// The finer word for a refusal or an error.
    pub code: Option<&'static str>,
    /// The inside of an error.
    pub cause: Option<String>,
    /// `mode: observe`: it would have been refused, and was forwarded.
    pub observed: bool,
    /// A proxy asked, and forwards the request itself.
    pub asked: bool,
    /// Whose the token was then, if it was valid and only the policy refused it.
    pub whose: Option<Box<Whose>>,
    /// The upstream answered 401, and the request was sent once more.
    pub replayed: bool,
    /// From sending the request to the head of the response, both times if it was sent twice.
    pub upstream: Duration,
    /// Kept only where the route has CORS.
    pub origin: Option<HeaderValue>,
}

impl Seen {
    pub fn found(&mut self, index: usize, route: &config::Route, headers: &HeaderMap) {
        self.route = Some(index);
        if route.cors.is_some() {
            self.origin = cors::the_origin(headers).cloned();
        }
    }

    pub fn decided(&mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    pub fn failed(&mut self, error: &ProxyError, code: &'static str) {
        self.reason = error.reason().or(self.reason);
        self.code = Some(match error {
            ProxyError::Refused { refusal, .. } => refusal.code,
            _ => code,
        });
        self.cause = match error {
            // The code says it all, and such refusals are many.
            ProxyError::Refused { .. } | ProxyError::RateLimited { .. } => None,
            _ => Some(error.to_string()),
        };
    }
}
