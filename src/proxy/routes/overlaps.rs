//! What `sidegate check` warns of: a public route that takes more than the paths it names one by one, and a protected one
//! over or under it.

use std::fmt;

use super::{
    Routes,
    tree::{Segment, parse},
};
use crate::config::Route;

/// The patterns of a public and of a protected route, one within the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// Indexes of the two routes.
    pub public: usize,
    pub protected: usize,
    pub pattern: String,
    pub other: String,
    /// The public pattern is the wider one.
    pub covers: bool,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overlap { pattern, other, covers, .. } = self;
        match covers {
            true => {
                write!(f, "`{pattern}` is public, and so is whatever the upstream adds beside the protected `{other}`")
            }
            false => write!(f, "everything in `{pattern}` is public, in the middle of the protected `{other}`"),
        }
    }
}

impl Overlap {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        if self.covers { "name the public paths one by one, or protect the rest" } else { "name its paths one by one" }
    }
}

impl Routes {
    /// Finds the overlaps, one for each pair of routes. Paths that a public route names one by one are nobody's surprise.
    pub fn overlaps(&self, routes: &[Route]) -> Vec<Overlap> {
        let mut found = Vec::new();
        for (public, route) in routes.iter().enumerate().filter(|(_, route)| route.policy.is_none()) {
            for (protected, other) in routes.iter().enumerate().filter(|(_, other)| other.policy.is_some()) {
                if share_a_host(route, other) && super::overlap(route, other) {
                    found.extend(between(public, route, protected, other));
                }
            }
        }
        found
    }
}

fn between(public: usize, route: &Route, protected: usize, other: &Route) -> Option<Overlap> {
    for pattern in &route.paths {
        let mine = parse(pattern).ok()?;
        if mine.iter().all(|segment| matches!(segment, Segment::Literal(_))) {
            continue;
        }
        for theirs in &other.paths {
            let them = parse(theirs).ok()?;
            let wider = covers(&mine, &them);
            if wider || covers(&them, &mine) {
                let (pattern, theirs) = (pattern.clone(), theirs.clone());
                return Some(Overlap { public, protected, pattern, other: theirs, covers: wider });
            }
        }
    }
    None
}

/// Whether `wide` takes every path that `narrow` takes.
fn covers(wide: &[Segment], narrow: &[Segment]) -> bool {
    match (wide, narrow) {
        ([], []) => true,
        ([Segment::Rest], [_, ..]) => true,
        ([Segment::Any, wide @ ..], [Segment::Any, narrow @ ..]) => covers(wide, narrow),
        ([Segment::Any, wide @ ..], [Segment::Literal(text), narrow @ ..]) => !text.is_empty() && covers(wide, narrow),
        ([Segment::Literal(one), wide @ ..], [Segment::Literal(other), narrow @ ..]) => {
            one == other && covers(wide, narrow)
        }
        _ => false,
    }
}

fn share_a_host(one: &Route, other: &Route) -> bool {
    let within = |name: &str, pattern: &str| {
        let below = |suffix: &str| name.trim_start_matches('*').ends_with(suffix);
        name == pattern || pattern.strip_prefix('*').is_some_and(below)
    };
    let any = one.hosts.is_empty() || other.hosts.is_empty();
    any || one.hosts.iter().any(|one| other.hosts.iter().any(|other| within(one, other) || within(other, one)))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::proxy::routes::tests::route;

    fn told(routes: &[Route]) -> Vec<(usize, usize, String)> {
        let overlaps = Routes::build(routes).unwrap().overlaps(routes);
        overlaps.iter().map(|found| (found.public, found.protected, found.to_string())).collect()
    }

    #[test]
    fn a_public_route_around_a_protected_one_is_told_of() {
        let routes = [route("site", &["/", "/*"], None), route("admin", &["/admin/*"], Some("api"))];
        let words = "`/*` is public, and so is whatever the upstream adds beside the protected `/admin/*`";
        assert_eq!(told(&routes), [(0, 1, words.to_owned())]);
        let routes = [route("admin", &["/{tenant}/admin"], Some("api")), route("any", &["/{tenant}/{what}"], None)];
        assert_eq!(told(&routes).len(), 1);
    }

    #[test]
    fn a_public_folder_within_a_protected_one_is_told_of_and_single_paths_are_not() {
        let routes = |public| [route("all", &["/", "/*"], Some("api")), route("open", &[public], None)];
        let words = "everything in `/assets/*` is public, in the middle of the protected `/*`";
        assert_eq!(told(&routes("/assets/*")), [(1, 0, words.to_owned())]);
        for single in ["/healthz", "/assets/logo.svg", "/"] {
            let routes = [route("all", &["/*"], Some("api")), route("open", &[single], None)];
            assert_eq!(told(&routes[usize::from(single == "/")..]), [], "{single}");
        }
    }

    #[test]
    fn other_methods_are_nobodys_surprise() {
        let mut routes = [route("write", &["/orders/*"], Some("api")), route("read", &["/orders/*"], None)];
        routes[0].methods = vec![Method::POST];
        routes[1].methods = vec![Method::GET];
        assert_eq!(told(&routes), []);
        routes[1].paths = vec!["/*".to_owned()];
        assert_eq!(told(&routes), []);
        routes[1].methods.clear();
        assert_eq!(told(&routes).len(), 1);
    }

    #[test]
    fn other_hosts_and_other_paths_are_nobodys_surprise() {
        let on = |host: &str, mut route: Route| {
            route.hosts = vec![host.to_owned()];
            route
        };
        let pair = |one: &str, other: &str| {
            [on(one, route("site", &["/*"], None)), on(other, route("api", &["/api/*"], Some("api")))]
        };
        assert_eq!(told(&pair("www.example.com", "api.example.com")), []);
        assert_eq!(told(&pair("*.example.com", "api.example.com")).len(), 1);
        assert_eq!(told(&[route("a", &["/a/*"], None), route("b", &["/b/*"], Some("api"))]), []);
    }
}
