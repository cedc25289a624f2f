//! How the request ends.

use http::{HeaderMap, header};
use serde::Serialize;

use crate::{
    auth::Refusal,
    gate::{Gate, Outcome, Problem, Rehearsal},
    proxy::{ProxyError, path::PathError},
    telemetry::reason::Reason,
};

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Verdict {
    /// To the upstream of a route.
    Forwarded {
        route: String,
        /// With `mode: observe`: what the client would be told if the route enforced its policy.
        would_be: Option<Refused>,
    },
    /// A proxy asks, and may forward it itself.
    Allowed {
        route: String,
        /// As with [`Verdict::Forwarded`].
        would_be: Option<Refused>,
    },
    /// By sidegate itself.
    Answered {
        what: &'static str,
    },
    Refused(Refused),
}

#[derive(Debug, Serialize)]
pub struct Refused {
    pub status: u16,
    /// What the client is told.
    pub code: &'static str,
    /// What only the log is told.
    pub cause: String,
    /// `WWW-Authenticate`, `Allow` and `Retry-After`.
    pub headers: Vec<(String, String)>,
}

/// The step at which the way of a request ends, or would end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Limits,
    Documents,
    Host,
    Path,
    Route,
    Preflight,
    Rates,
    Body,
    Token,
    Validation,
    Policy,
    Upstream,
    /// What a proxy that asks is told.
    Answer,
}

impl Verdict {
    pub fn of(gate: &Gate, rehearsal: &Rehearsal) -> Verdict {
        match &rehearsal.outcome {
            Ok(Outcome::Document) => Verdict::Answered { what: "a document of its own" },
            Ok(Outcome::Preflight { .. }) => Verdict::Answered { what: "a preflight, with 204" },
            Ok(Outcome::Forward { route }) => {
                Verdict::Forwarded { route: name(gate, *route), would_be: would_be(gate, rehearsal, *route) }
            }
            Ok(Outcome::Allow { route }) => {
                Verdict::Allowed { route: name(gate, *route), would_be: would_be(gate, rehearsal, *route) }
            }
            Err(error) => Verdict::Refused(refused(gate, rehearsal, error)),
        }
    }

    pub fn is_refused(&self) -> bool {
        matches!(self, Verdict::Refused(_))
    }
}

fn name(gate: &Gate, route: usize) -> String {
    gate.config().routes[route].name.to_string()
}

/// What the client would be told if a route that observes enforced its policy.
fn would_be(gate: &Gate, rehearsal: &Rehearsal, route: usize) -> Option<Refused> {
    let refusal = observed(rehearsal)?;
    let scope = gate.proxy().policy(route).and_then(|policy| policy.challenge_scope.clone());
    let basic = gate.config().routes[route].token.basic.is_some();
    Some(refused(gate, rehearsal, &ProxyError::Refused { refusal, scope, basic }))
}

/// Where the way ends; `None` if nothing is in it.
pub fn place_of(rehearsal: &Rehearsal) -> Option<Place> {
    match &rehearsal.outcome {
        Err(error) => Some(match error {
            ProxyError::Head(_) => Place::Limits,
            ProxyError::Host(_) => Place::Host,
            ProxyError::Path(PathError::AmbiguousRewrite) => Place::Upstream,
            ProxyError::Path(_) => Place::Path,
            ProxyError::Route(_) => Place::Route,
            ProxyError::RateLimited { .. } => Place::Rates,
            ProxyError::BodyTooLarge => Place::Body,
            ProxyError::Question(_) => Place::Limits,
            ProxyError::OwnPath => Place::Documents,
            ProxyError::PreflightNotAnswered => Place::Preflight,
            ProxyError::Forged(_) => Place::Answer,
            ProxyError::Refused { refusal, .. } => place_of_refusal(*refusal),
            ProxyError::Credential(_) | ProxyError::Upstream(_) => Place::Upstream,
        }),
        Ok(_) => observed(rehearsal).map(place_of_refusal),
    }
}

fn place_of_refusal(refusal: Refusal) -> Place {
    match refusal.reason {
        Reason::TokenMissing | Reason::TokenMalformed => Place::Token,
        Reason::AudienceRefused | Reason::ScopeMissing | Reason::ClientRefused | Reason::ClaimRefused => Place::Policy,
        // A policy's refusal has no finer word than its reason.
        Reason::IssuerRefused if refusal.code == Reason::IssuerRefused.as_str() => Place::Policy,
        _ => Place::Validation,
    }
}

/// The refusal that was only observed.
fn observed(rehearsal: &Rehearsal) -> Option<Refusal> {
    let seen = &rehearsal.seen;
    seen.observed.then(|| seen.reason.zip(seen.code).map(|(reason, code)| Refusal::new(reason, code))).flatten()
}

fn refused(gate: &Gate, rehearsal: &Rehearsal, error: &ProxyError) -> Refused {
    let problem = Problem::of(error);
    let answer = gate.response(&problem, &rehearsal.cx);
    Refused {
        status: problem.status.as_u16(),
        code: problem.code,
        cause: super::word(error),
        headers: telling(answer.headers()),
    }
}

fn telling(headers: &HeaderMap) -> Vec<(String, String)> {
    [header::WWW_AUTHENTICATE, header::ALLOW, header::RETRY_AFTER]
        .iter()
        .filter_map(|name| Some((name.to_string(), headers.get(name)?.to_str().ok()?.to_owned())))
        .collect()
}
