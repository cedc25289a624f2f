//! What the upstream would see.

use http::{HeaderName, HeaderValue, header, request::Parts};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    config::{Credential, Route, Target},
    gate::{Gate, Outcome, Rehearsal, status::shown_place},
    jose::peek,
    telemetry::reason::Reason,
};

#[derive(Debug, Serialize)]
pub struct Sight {
    pub upstream: String,
    pub address: String,
    pub protocol: &'static str,
    pub method: String,
    pub target: String,
    /// What stands in place of the client's own credential.
    pub credential: String,
    /// Credentials are shown as `…`.
    pub headers: Vec<(String, String)>,
    /// Those of them that are not the client's: it sent none of that name, or another value.
    pub set: Vec<String>,
    /// What the client sent and the upstream does not see, or sees with a value of sidegate's.
    pub removed: Vec<Removed>,
    /// What the internal JWT says.
    pub internal_jwt: Option<Map<String, Value>>,
}

/// A header of the client that did not go on as it came.
#[derive(Debug, Serialize)]
pub struct Removed {
    pub name: String,
    pub why: &'static str,
    /// Sidegate says something under this name in its place.
    pub replaced: bool,
}

impl Sight {
    /// `None` where the upstream hears nothing. `asked`: the head as it came.
    pub fn of(gate: &Gate, asked: &Parts, rehearsal: &Rehearsal) -> Option<Sight> {
        let Ok(Outcome::Forward { route }) = rehearsal.outcome else { return None };
        let removed = removed(gate, asked, rehearsal, route);
        let route = &gate.config().routes[route];
        let upstream = &gate.config().upstreams[route.upstream];
        let head = &rehearsal.head;
        let shown = |(name, value): (&HeaderName, &HeaderValue)| {
            let secret = is_credential(name, value, route);
            let name = if upstream.http2 && *name == header::HOST { ":authority" } else { name.as_str() };
            (name.to_owned(), if secret { hidden(value) } else { text(value) })
        };
        // Anything else that is not for this token was the client's own.
        let minted = matches!(upstream.credential, Credential::InternalJwt { .. })
            && rehearsal.seen.reason == Some(Reason::Allowed);
        let internal_jwt = head.headers.get(header::AUTHORIZATION).filter(|_| minted).and_then(claims);
        Some(Sight {
            upstream: upstream.name.to_string(),
            address: address(&upstream.target),
            protocol: if upstream.http2 { "HTTP/2" } else { "HTTP/1.1" },
            method: head.method.to_string(),
            target: head.uri.to_string(),
            credential: credential(&upstream.credential, rehearsal.seen.reason == Some(Reason::Allowed)),
            headers: head.headers.iter().map(shown).collect(),
            set: set(asked, head),
            removed,
            internal_jwt,
        })
    }
}

/// Whether both have the same values of `name`.
fn agree(name: &HeaderName, one: &Parts, other: &Parts) -> bool {
    one.headers.get_all(name).iter().eq(other.headers.get_all(name).iter())
}

fn set(asked: &Parts, seen: &Parts) -> Vec<String> {
    seen.headers.keys().filter(|name| !agree(name, asked, seen)).map(ToString::to_string).collect()
}

fn removed(gate: &Gate, asked: &Parts, rehearsal: &Rehearsal, route: usize) -> Vec<Removed> {
    let seen = &rehearsal.head;
    let changed = asked.headers.keys().filter(|name| !agree(name, asked, seen));
    changed
        .map(|name| {
            let why = gate.proxy().why_dropped(name, &asked.headers, route, &rehearsal.cx);
            Removed {
                name: name.to_string(),
                why: match why {
                    Some(why) => why.as_str(),
                    None if *name == header::COOKIE => {
                        "cookies of sidegate's own pages are in it, or several are joined"
                    }
                    None if *name == header::HOST => "the route names another host",
                    None => "this request carries it only once it is judged, or sidegate writes it itself",
                },
                replaced: seen.headers.contains_key(name),
            }
        })
        .collect()
}

pub(super) fn is_credential(name: &HeaderName, value: &HeaderValue, route: &Route) -> bool {
    *name == route.token.header || CREDENTIALS.contains(name) || value.is_sensitive()
}

/// In words. `admitted`: somebody was vouched for, and nothing of ours goes out for anybody else.
fn credential(credential: &Credential, admitted: bool) -> String {
    match credential {
        Credential::Original => "what the client sent".to_owned(),
        _ if !admitted => "nothing of sidegate's".to_owned(),
        Credential::InternalJwt { audience } => format!("an internal JWT for `{audience}`"),
        Credential::AuthorityToken => "the session's token of the authority outside".to_owned(),
        Credential::Service(service) => {
            let (dialect, place) = (service.remote.api.dialect(), shown_place(&service.remote));
            format!("the service token that the serving process gets by {dialect} at {place}")
        }
        Credential::Basic(_) => "a fixed user".to_owned(),
        Credential::None => "none".to_owned(),
    }
}

/// `Bearer …`: the scheme is no secret.
pub(super) fn hidden(value: &HeaderValue) -> String {
    match text(value).split_once(' ') {
        Some((scheme @ ("Bearer" | "Basic"), _)) => format!("{scheme} …"),
        _ => "…".to_owned(),
    }
}

pub(super) fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn claims(credential: &HeaderValue) -> Option<Map<String, Value>> {
    let token = credential.to_str().ok()?.strip_prefix("Bearer ")?;
    Some(peek(token).ok()?.claims().to_map())
}

fn address(target: &Target) -> String {
    match target {
        Target::Http { host, port } => format!("http://{host}:{port}"),
        Target::Https { host, port, .. } => format!("https://{host}:{port}"),
        Target::Unix(path) => format!("unix:{}", path.display()),
    }
}

const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
