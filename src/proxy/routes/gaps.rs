//! What `sidegate check` warns of: a protected pattern whose sibling, with or without the last slash, is public.

use std::fmt;

use http::Method;

use super::{
    Routes,
    tree::{Segment, parse},
};
use crate::{config::Route, proxy::path::canonical};

/// Many upstreams answer `/x` and `/x/` alike; here one is protected and the other is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Indexes of the two routes.
    pub protected: usize,
    pub public: usize,
    pub pattern: String,
    /// A path that the public route takes, with `-` for each `{name}`.
    pub path: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is protected, but `{}` is public, and many upstreams answer both alike",
            self.pattern, self.path
        )
    }
}

impl Routes {
    /// Finds the gaps; `routes` is what the table was built of.
    pub fn gaps(&self, routes: &[Route]) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for (protected, route) in routes.iter().enumerate().filter(|(_, route)| route.policy.is_some()) {
            for pattern in &route.paths {
                let Some(path) = sibling(pattern) else { continue };
                let public = self.answers(route, &path).find(|&other| routes[other].policy.is_none());
                gaps.extend(public.map(|public| Gap { protected, public, pattern: pattern.clone(), path }));
            }
        }
        gaps
    }

    /// The routes that answer `path` on the hosts and with the methods of `route`.
    fn answers(&self, route: &Route, path: &str) -> impl Iterator<Item = usize> {
        let mut found = Vec::new();
        let Ok(path) = canonical(path) else { return found.into_iter() };
        let hosts: Vec<_> = route.hosts.iter().map(|host| host.replace('*', "-")).collect();
        let nowhere = route.hosts.is_empty().then_some("");
        for host in hosts.iter().map(String::as_str).chain(nowhere) {
            let methods = if route.methods.is_empty() { &[Method::GET, Method::POST][..] } else { &route.methods };
            found.extend(methods.iter().filter_map(|method| self.find(host, &path, method).ok()));
        }
        found.into_iter()
    }
}

/// `/x` for `/x/*` and `/x/`; `/x/` for `/x`.
fn sibling(pattern: &str) -> Option<String> {
    let segments = parse(pattern).ok()?;
    let mut path = String::new();
    for segment in &segments {
        match segment {
            Segment::Literal(text) => path.extend(["/", text]),
            Segment::Any => path.push_str("/-"),
            Segment::Rest => path.push('/'),
        }
    }
    match path.strip_suffix('/') {
        Some("") => None,
        Some(shorter) => Some(shorter.to_owned()),
        None => Some(path + "/"),
    }
}
