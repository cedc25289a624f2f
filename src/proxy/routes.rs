//! Method, host and canonical path → route.
//!
//! The most specific host wins (a name, then the longest `*.suffix`, then any), then the most specific path
//! (literal, `{segment}`, `/*`, compared from the left), then the method: a less specific pattern is tried when the
//! more specific one does not take the method. `/x/*` covers what begins with `/x/`, not `/x` itself.
//!
//! **One meaning.** An upstream may read a path otherwise than we do (see [`super::readings`]; and it may ignore
//! letter case). So a route is only returned if every reading of the path lands on a route that *asks the same*:
//! - for a public route, on a public one;
//! - for a protected route, on one with the same policy, mode, place of the token and upstream: a token that is
//!   good here must not open another door from inside;
//! - for both, on one with the same limits of rate and body.
//!
//! The method has a second reading too, unless the route names it: `HEAD` runs what `GET` runs, and `post` is `POST` to
//! some frameworks.
//!
//! A reading that no route covers is ambiguous too, since a request that no rule covers is never forwarded; except on
//! a protected route that allows encoded slashes, as long as the reading stays below the literal beginning of one
//! of its patterns (`/files/{name}` and `/files/a%2Fb`).

mod gaps;
mod hosts;
mod near;
mod overlaps;
mod tree;

use std::{fmt, sync::Arc};

use http::{HeaderValue, Method};

use self::hosts::{Hosts, key};
use self::tree::{Segment, parse, unescape};
use super::{path::CanonicalPath, readings::readings};
use crate::config::Route;

pub use self::near::{But, Doubt, Far, Near};
pub use self::{gaps::Gap, overlaps::Overlap};

/// The table of routes.
#[derive(Debug)]
pub struct Routes {
    hosts: Hosts,
    rules: Vec<Rule>,
    /// Some literal has an upper-case letter, so that even a path without any has a second reading.
    cased: bool,
}

/// What finding needs to know of a route.
#[derive(Debug)]
struct Rule {
    /// Empty: any.
    methods: Vec<Method>,
    /// Routes that ask the same have the same number.
    class: usize,
    /// Empty unless a reading that no route covers may stay below one of these.
    stays_below: Vec<Vec<u8>>,
    allow_encoded_slashes: bool,
}

/// Why the table could not be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// Two routes would answer the same requests.
    SamePattern { first: Arc<str>, second: Arc<str>, host: Option<String>, pattern: String },
    /// The pattern cannot be matched.
    BadPattern { route: Arc<str>, pattern: String, reason: &'static str },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conflict::SamePattern { first, second, host, pattern } => {
                write!(f, "routes `{first}` and `{second}` both take `{pattern}`")?;
                if let Some(host) = host {
                    write!(f, " of `{host}`")?;
                }
                f.write_str("; give them different methods, hosts or paths")
            }
            Conflict::BadPattern { route, pattern, reason } => {
                write!(f, "route `{route}`: the path `{pattern}` {reason}")
            }
        }
    }
}

/// Why no route is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("no route covers this path")]
    NotFound,
    /// `allow` is the value of the `Allow` header.
    #[error("no route covers this path with this method")]
    MethodNotAllowed { allow: HeaderValue },
    #[error("an upstream could take this path for another one")]
    Ambiguous,
    #[error("this route does not allow an encoded slash")]
    EncodedSlash,
}

impl RouteError {
    /// The stable code for answers, logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            RouteError::NotFound => "no_route",
            RouteError::MethodNotAllowed { .. } => "method_not_allowed",
            RouteError::Ambiguous => "ambiguous_path",
            RouteError::EncodedSlash => "encoded_slash",
        }
    }
}

impl Routes {
    /// Builds the table, or names every conflict. Indexes are those of `routes`.
    pub fn build(routes: &[Route]) -> Result<Routes, Vec<Conflict>> {
        let mut table = Routes { hosts: Hosts::default(), rules: Vec::new(), cased: false };
        let mut conflicts = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let class = routes.iter().position(|other| asks_the_same(other, route)).unwrap_or(index);
            table.rules.push(Rule {
                methods: route.methods.clone(),
                class,
                stays_below: Vec::new(),
                allow_encoded_slashes: route.allow_encoded_slashes,
            });
            for pattern in &route.paths {
                match parse(pattern) {
                    Ok(segments) => table.insert(routes, index, pattern, &segments, &mut conflicts),
                    Err(reason) => conflicts.push(Conflict::BadPattern {
                        route: route.name.clone(),
                        pattern: pattern.clone(),
                        reason,
                    }),
                }
            }
        }
        if conflicts.is_empty() { Ok(table) } else { Err(conflicts) }
    }

    fn insert(
        &mut self,
        routes: &[Route],
        index: usize,
        pattern: &str,
        segments: &[Segment],
        conflicts: &mut Vec<Conflict>,
    ) {
        let route = &routes[index];
        let literals = segments.iter().map_while(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Any | Segment::Rest => None,
        });
        self.cased |= segments.iter().any(
            |segment| matches!(segment, Segment::Literal(text) if text.bytes().any(|byte| byte.is_ascii_uppercase())),
        );
        if route.policy.is_some() && route.allow_encoded_slashes {
            let mut beginning = vec![b'/'];
            for literal in literals {
                beginning.extend(unescape(literal));
                beginning.push(b'/');
            }
            self.rules[index].stays_below.push(beginning);
        }
        let any_host = route.hosts.is_empty().then_some(None);
        for host in route.hosts.iter().map(|host| Some(host.as_str())).chain(any_host) {
            let same = self.hosts.insert(host, segments, index);
            let clash = same.iter().find(|&&other| other != index && overlap(&routes[other], route));
            if let Some(&other) = clash {
                conflicts.push(Conflict::SamePattern {
                    first: routes[other].name.clone(),
                    second: route.name.clone(),
                    host: host.map(str::to_owned),
                    pattern: pattern.to_owned(),
                });
            }
        }
    }

    /// The index of the route that answers; the rules stand at the top of this file.
    ///
    /// `host` is the one valid Host of the request, with or without its port.
    pub fn find(&self, host: &str, path: &CanonicalPath<'_>, method: &Method) -> Result<usize, RouteError> {
        let host = if self.hosts.matter() { key(host) } else { "".into() };
        let found = self.first(&host, path.as_str(), method)?;
        if path.has_encoded_slash() && !self.rules[found].allow_encoded_slashes {
            return Err(RouteError::EncodedSlash);
        }
        let twin = self.rules[found].twin(method);
        let agrees = |reading: &[u8]| {
            let methods = [Some(method), twin.as_ref()];
            methods.into_iter().flatten().all(|method| self.agrees(found, &host, reading, method))
        };
        let itself = path.as_str().as_bytes();
        let one_meaning = if path.is_plain() {
            let second_reading = path.has_uppercase() || self.cased || twin.is_some();
            !second_reading || agrees(itself)
        } else {
            let all = readings(path.as_str()).ok_or(RouteError::Ambiguous)?;
            agrees(itself) && all.iter().all(|reading| agrees(reading))
        };
        if one_meaning { Ok(found) } else { Err(RouteError::Ambiguous) }
    }

    /// The most specific route for the path as it stands.
    fn first(&self, host: &str, path: &str, method: &Method) -> Result<usize, RouteError> {
        let mut found = None;
        let mut covered = false;
        self.hosts.visit(host, path.as_bytes(), false, &mut |routes| {
            covered = true;
            found = routes.iter().copied().find(|&route| self.rules[route].takes(method));
            found.is_some()
        });
        match found {
            Some(found) => Ok(found),
            None if covered => Err(RouteError::MethodNotAllowed { allow: self.allow(host, path) }),
            None => Err(RouteError::NotFound),
        }
    }

    /// Whether the reading lands where the same is asked as by `found`, with and without regard to case.
    fn agrees(&self, found: usize, host: &str, reading: &[u8], method: &Method) -> bool {
        let found = &self.rules[found];
        let (mut landed, mut same) = (false, true);
        for folded in [false, true] {
            landed |= self.hosts.visit(host, reading, folded, &mut |routes| {
                let mut taking =
                    routes.iter().map(|&route| &self.rules[route]).filter(|rule| rule.takes(method)).peekable();
                let lands = taking.peek().is_some();
                same &= taking.all(|rule| rule.class == found.class);
                lands
            });
        }
        same && (landed || found.stays_above(reading))
    }

    fn allow(&self, host: &str, path: &str) -> HeaderValue {
        let mut methods: Vec<&str> = Vec::new();
        self.hosts.visit(host, path.as_bytes(), false, &mut |routes| {
            methods.extend(routes.iter().flat_map(|&route| &self.rules[route].methods).map(Method::as_str));
            false
        });
        methods.sort_unstable();
        methods.dedup();
        HeaderValue::from_str(&methods.join(", ")).expect("methods are tokens, which any header may hold")
    }
}

impl Rule {
    fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// The method that an upstream may take `method` for, if nobody has named it.
    fn twin(&self, method: &Method) -> Option<Method> {
        if !self.methods.is_empty() {
            return None;
        }
        if method == Method::HEAD {
            return Some(Method::GET);
        }
        let lower = method.as_str().bytes().any(|byte| byte.is_ascii_lowercase());
        lower.then(|| Method::from_bytes(method.as_str().to_ascii_uppercase().as_bytes()).ok()).flatten()
    }

    fn stays_above(&self, reading: &[u8]) -> bool {
        self.stays_below
            .iter()
            .any(|beginning| reading.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning)))
    }
}

fn overlap(one: &Route, other: &Route) -> bool {
    let any = one.methods.is_empty() || other.methods.is_empty();
    any || one.methods.iter().any(|method| other.methods.contains(method))
}

/// Nobody gains anything by having a request for `one` taken for a request for `other`, or the reverse.
fn asks_the_same(one: &Route, other: &Route) -> bool {
    let limits = |route: &Route| (route.rate_per_principal, route.rate_per_address, route.max_body_bytes);
    let doors = match (&one.policy, &other.policy) {
        (None, None) => true,
        (Some(_), Some(_)) => {
            one.policy == other.policy
                && one.upstream == other.upstream
                && one.observe == other.observe
                && one.token == other.token
        }
        (None, Some(_)) | (Some(_), None) => false,
    };
    doors && limits(one) == limits(other)
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
pub(in crate::proxy) mod tests;
