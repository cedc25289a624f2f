//! What a proxy that asks cannot do for sidegate: warned of, where a listener decides.

use super::section::Section;
use crate::config::{Authority, HostHeader, Listener, Preflight, Route};

pub(super) fn warn(
    listeners: Option<&[Listener]>,
    routes: Option<&[Route]>,
    authority: Option<&Authority>,
    root: &Section<'_>,
) {
    let listeners = listeners.unwrap_or_default();
    let Some(deciding) = listeners.iter().find(|listener| listener.decision.is_some()) else { return };
    for (index, route) in routes.unwrap_or_default().iter().enumerate() {
        let section = root.key("routes").key(index);
        let warn = |key, problem: &str, remedy| {
            section.key(key).warn(format!("a proxy that asks at listener `{}` {problem}", deciding.name), remedy);
        };
        if route.token.query_parameter.is_some() {
            let token = section.key("token").key("query_parameter");
            token.warn(
                format!("a proxy that asks at listener `{}` forwards the query with the token in it", deciding.name),
                TARGET,
            );
        }
        for (key, given) in [("strip_prefix", &route.strip_prefix), ("add_prefix", &route.add_prefix)] {
            if !given.is_empty() {
                warn(key, "forwards the path as it came", TARGET);
            }
        }
        if route.host != HostHeader::Preserve {
            warn("host", "forwards a Host of its own choice", "let the proxy set it too");
        }
        if route.cors.is_some() && route.preflight == Preflight::Answer {
            warn(
                "cors",
                "answers its client itself: nothing of this holds there, and preflights are refused",
                "set cors.preflight: forward, and let the upstream or the proxy answer them",
            );
        }
    }
    if authority.is_some() && listeners.iter().all(|listener| listener.decision.is_some()) {
        root.key("authority").warn(
            "every listener decides for another proxy, so nobody reaches the token endpoints",
            "add a listener without decision, and let the proxy forward their paths to it",
        );
    }
}

const TARGET: &str = "let the proxy forward what the answer's X-Sidegate-Target says (docs/decision.md)";
