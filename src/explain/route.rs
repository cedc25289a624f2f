//! Which route answers, or why none does.

use http::{Method, request::Parts};

use super::Detail;
use crate::{
    config::Route,
    gate::{Gate, Outcome},
    proxy::{
        ProxyError, headers,
        path::{self, CanonicalPath},
        routes::{But, RouteError},
    },
};

/// What is said of the route, and the near misses where there is none.
pub fn tell(
    gate: &Gate,
    head: &Parts,
    found: Option<usize>,
    outcome: &Result<Outcome, ProxyError>,
) -> (String, Vec<Detail>) {
    let config = gate.config();
    if let Some(index) = found {
        let route = &config.routes[index];
        let mode = match (&route.policy, route.observe) {
            (None, _) => "public",
            (Some(_), true) => "observe",
            (Some(_), false) => "enforce",
        };
        return (format!("`{}` ({mode})", route.name), vec![Detail::plain(shape(route))]);
    }
    let (Ok(host), Ok(path)) = (headers::one_host(&head.uri, &head.headers), path::canonical(head.uri.path())) else {
        return Default::default();
    };
    let routes = gate.proxy().routes();
    let details = match outcome {
        Err(ProxyError::Route(RouteError::Ambiguous)) => routes
            .doubts(host, &path, &head.method)
            .into_iter()
            .map(|doubt| {
                let leads = match doubt.route {
                    Some(index) => format!("which `{}` answers", config.routes[index].name),
                    None => "which no route covers".to_owned(),
                };
                Detail::plain(format!("an upstream could read {}, {leads}", doubt.reading))
            })
            .take(MOST_DETAILS)
            .collect(),
        Err(ProxyError::Route(RouteError::EncodedSlash)) => {
            vec![Detail::plain("a route takes one where `allow_encoded_slashes` is true")]
        }
        _ => {
            let near = routes.near(&config.routes, host, &path, &head.method);
            if near.is_empty() {
                far(gate, host, &path, &head.method)
            } else {
                near.into_iter()
                    .map(|near| {
                        let route = &config.routes[near.route];
                        let but = match near.but {
                            But::Method => format!("but only with {}", methods(route)),
                            But::Host => format!("but only of {}", route.hosts.join(", ")),
                            But::LastSlash if path.as_str().ends_with('/') => {
                                "but only without the last slash".to_owned()
                            }
                            But::LastSlash => "but only with a slash at the end".to_owned(),
                            But::LetterCase => "but only in other letter case".to_owned(),
                        };
                        Detail::plain(format!("`{}` covers {}, {but}", route.name, near.pattern))
                    })
                    .take(MOST_DETAILS)
                    .collect()
            }
        }
    };
    (String::new(), details)
}

/// Where no route misses by one thing only.
fn far(gate: &Gate, host: &str, path: &CanonicalPath<'_>, method: &Method) -> Vec<Detail> {
    let routes = &gate.config().routes;
    let nearest = gate.proxy().routes().nearest(routes, host, path, method);
    let told = nearest.into_iter().map(|far| {
        let route = &routes[far.route];
        let mut misses = Vec::new();
        if !far.path {
            misses.push("this path".to_owned());
        }
        if !far.host {
            misses.push(format!("this host (it is of {})", route.hosts.join(", ")));
        }
        if !far.method {
            misses.push(format!("this method (it takes {})", methods(route)));
        }
        Detail::plain(format!("`{}` covers {}: not {}", route.name, far.pattern, misses.join(", not ")))
    });
    told.take(MOST_DETAILS).collect()
}

/// What the route takes.
fn shape(route: &Route) -> String {
    let hosts = if route.hosts.is_empty() { String::new() } else { format!(" of {}", route.hosts.join(", ")) };
    format!("takes {} {}{hosts}", methods(route), route.paths.join(", "))
}

fn methods(route: &Route) -> String {
    match route.methods.is_empty() {
        true => "any method".to_owned(),
        false => route.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// More near misses than this help nobody.
const MOST_DETAILS: usize = 12;
