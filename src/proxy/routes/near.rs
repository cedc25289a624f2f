//! Why a request finds no route: the patterns that it misses by little, and the readings that make it ambiguous.

use http::Method;

use super::{
    Routes,
    hosts::key,
    tree::{Node, Segment, parse, unescape},
};
use crate::{
    config::Route,
    proxy::{
        path::{CanonicalPath, canonical},
        readings::readings,
    },
};

/// A pattern that would cover the request but for one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// Index of the route.
    pub route: usize,
    pub pattern: String,
    pub but: But,
}

/// A pattern that misses the request by more than one thing, and has at least its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Far {
    /// Index of the route.
    pub route: usize,
    pub pattern: String,
    pub path: bool,
    pub host: bool,
    pub method: bool,
}

/// The one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum But {
    /// It does not take the method.
    Method,
    /// It is for other hosts.
    Host,
    /// It covers the path with, or without, the last slash.
    LastSlash,
    /// It covers the path in other letter case.
    LetterCase,
}

/// What an upstream could take the path for, and which other route that would be; `None`: no route covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    pub reading: String,
    pub route: Option<usize>,
}

impl Routes {
    /// The patterns of `routes` (what the table was built of) that miss the request by one thing only.
    pub fn near(&self, routes: &[Route], host: &str, path: &CanonicalPath<'_>, method: &Method) -> Vec<Near> {
        let toggled = match path.as_str().strip_suffix('/') {
            Some(shorter) => shorter.to_owned(),
            None => format!("{}/", path.as_str()),
        };
        let mut near = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let (hosted, takes) = (is_for(route, host), self.rules[index].takes(method));
            for pattern in &route.paths {
                let Ok(segments) = parse(pattern) else { continue };
                let covers = covers(&segments, path.as_str(), false);
                let but = match (covers, hosted, takes) {
                    (true, true, false) => But::Method,
                    (true, false, true) => But::Host,
                    (false, true, true) if self::covers(&segments, &toggled, false) => But::LastSlash,
                    (false, true, true) if self::covers(&segments, path.as_str(), true) => But::LetterCase,
                    _ => continue,
                };
                near.push(Near { route: index, pattern: pattern.clone(), but });
            }
        }
        near
    }

    /// Where nothing misses by one thing only: the patterns that share the most segments with the path, from its start;
    /// all of them if none shares any.
    pub fn nearest(&self, routes: &[Route], host: &str, path: &CanonicalPath<'_>, method: &Method) -> Vec<Far> {
        let mut all = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            for pattern in &route.paths {
                let covered = parse(pattern).is_ok_and(|segments| covers(&segments, path.as_str(), false));
                let far = Far {
                    route: index,
                    pattern: pattern.clone(),
                    path: covered,
                    host: is_for(route, host),
                    method: self.rules[index].takes(method),
                };
                all.push((shared(pattern, path.as_str()), far));
            }
        }
        let most = all.iter().map(|(shared, _)| *shared).max().unwrap_or_default();
        all.into_iter().filter(|(shared, _)| *shared == most).map(|(_, far)| far).collect()
    }

    /// Why [`Routes::find`] calls the request ambiguous: every reading that does not land where the same is asked.
    pub fn doubts(&self, host: &str, path: &CanonicalPath<'_>, method: &Method) -> Vec<Doubt> {
        let host = key(host);
        let Ok(found) = self.first(&host, path.as_str(), method) else { return Vec::new() };
        let twin = self.rules[found].twin(method);
        let mut all = vec![path.as_str().as_bytes().to_vec()];
        all.extend(readings(path.as_str()).unwrap_or_default());
        let mut doubts = Vec::new();
        for method in [Some(method), twin.as_ref()].into_iter().flatten() {
            for reading in all.iter().filter(|reading| !self.agrees(found, &host, reading, method)) {
                let shown = format!("{method} {}", reading.escape_ascii());
                doubts.push(Doubt { reading: shown, route: self.other(found, &host, reading, method) });
            }
        }
        doubts
    }

    /// The first route on which the reading lands and which asks something else than `found`.
    fn other(&self, found: usize, host: &str, reading: &[u8], method: &Method) -> Option<usize> {
        let class = self.rules[found].class;
        let mut other = None;
        for folded in [false, true] {
            self.hosts.visit(host, reading, folded, &mut |routes| {
                let mut taking = routes.iter().copied().filter(|&route| self.rules[route].takes(method)).peekable();
                let lands = taking.peek().is_some();
                other = other.or_else(|| taking.find(|&route| self.rules[route].class != class));
                lands
            });
        }
        other
    }
}

/// How many segments at the start of `path` a pattern has, too.
fn shared(pattern: &str, path: &str) -> usize {
    let same = |(pattern, path): &(&str, &str)| pattern == path || pattern.starts_with('{');
    pattern.split('/').skip(1).zip(path.split('/').skip(1)).take_while(same).count()
}

fn is_for(route: &Route, host: &str) -> bool {
    let host = key(host);
    route.hosts.is_empty()
        || route.hosts.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => key(pattern) == host,
        })
}

/// Whether one pattern by itself covers `path`.
fn covers(pattern: &[Segment], path: &str, folded: bool) -> bool {
    let Ok(path) = canonical(path) else { return false };
    let path = if folded { unescape(path.as_str()) } else { path.as_str().as_bytes().to_vec() };
    let mut alone = Node::default();
    alone.insert(pattern, folded, 0);
    alone.visit(path.strip_prefix(b"/"), folded, &mut |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::routes::tests::route;

    fn near(routes: &[Route], host: &str, path: &str, method: Method) -> Vec<(String, But)> {
        let table = Routes::build(routes).unwrap();
        let near = table.near(routes, host, &canonical(path).unwrap(), &method);
        near.into_iter().map(|near| (near.pattern, near.but)).collect()
    }

    #[test]
    fn a_near_miss_names_the_one_thing_that_is_wrong() {
        let mut get = route("get", &["/orders", "/orders/*"], Some("a"));
        get.methods = vec![Method::GET];
        let mut other = route("other", &["/api/*"], Some("a"));
        other.hosts = vec!["*.example.com".into()];
        let routes = [get, other];
        for (host, path, method, pattern, but) in [
            ("a", "/orders", Method::POST, "/orders", But::Method),
            ("a", "/api/x", Method::GET, "/api/*", But::Host),
            ("a.example.com", "/api", Method::GET, "/api/*", But::LastSlash),
            ("a", "/Orders", Method::GET, "/orders", But::LetterCase),
        ] {
            assert_eq!(near(&routes, host, path, method), [(pattern.to_owned(), but)], "{path}");
        }
        assert_eq!(near(&routes, "a", "/elsewhere", Method::GET), []);
    }

    #[test]
    fn where_nothing_is_near_the_patterns_that_begin_alike_are_named() {
        let mut put = route("put", &["/api/orders/{id}"], Some("a"));
        put.methods = vec![Method::PUT];
        put.hosts = vec!["b".into()];
        let routes = [put, route("items", &["/api/items/*"], Some("a")), route("other", &["/other"], Some("a"))];
        let table = Routes::build(&routes).unwrap();
        let nearest = |path: &str| {
            let far = table.nearest(&routes, "a", &canonical(path).unwrap(), &Method::GET);
            far.into_iter().map(|far| (far.pattern, far.path, far.host, far.method)).collect::<Vec<_>>()
        };
        assert_eq!(nearest("/api/orders/7"), [("/api/orders/{id}".to_owned(), true, false, false)]);
        assert_eq!(
            nearest("/api/x"),
            [("/api/orders/{id}".to_owned(), false, false, false), ("/api/items/*".to_owned(), false, true, true)]
        );
        assert_eq!(nearest("/nowhere").len(), 3);
    }

    #[test]
    fn a_doubt_names_the_reading_and_the_route_that_it_leads_to() {
        let routes = [route("open", &["/open/*"], None), route("closed", &["/closed/*"], Some("a"))];
        let table = Routes::build(&routes).unwrap();
        let path = canonical("/open/..;/closed/x").unwrap();
        let doubts = table.doubts("", &path, &Method::GET);
        let led = Doubt { reading: "GET /closed/x".into(), route: Some(1) };
        assert!(doubts.contains(&led), "{doubts:?}");
        assert!(doubts.iter().all(|doubt| doubt.route != Some(0)));
    }
}
