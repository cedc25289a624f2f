//! What a collector of traces is told of a request. Never its path, query, token, user or address: whoever reads traces
//! need not be allowed to read those.

use crate::{
    config::Config,
    model::Context,
    proxy::Seen,
    spans::{Attribute, Value},
};

/// What the span of a request is called after its method, and what else is known of it.
pub(super) fn of(cx: &Context, seen: &Seen, config: &Config) -> (String, Vec<Attribute>) {
    let mut attributes: Vec<Attribute> = vec![
        ("url.scheme", if cx.connection.tls { "https" } else { "http" }.into()),
        ("sidegate.listener", (&cx.connection.listener).into()),
    ];
    let mut name = String::new();
    if let Some(route) = seen.route.map(|route| &config.routes[route]) {
        attributes.push(("sidegate.route", (&route.name).into()));
        // A route with several is known by its name alone.
        if let [path] = &route.paths[..] {
            attributes.push(("http.route", path.clone().into()));
            name.clone_from(path);
        } else {
            name = route.name.as_ref().to_owned();
        }
    } else if let Some(endpoint) = &seen.endpoint {
        attributes.push(("sidegate.endpoint", endpoint.clone().into_owned().into()));
        name = endpoint.clone().into_owned();
    }
    if let Some(reason) = seen.reason {
        attributes.push(("sidegate.decision", reason.result().into()));
        attributes.push(("sidegate.reason", reason.as_str().into()));
    }
    let code = seen.code.map(|code| ("sidegate.code", code.into()));
    let yes = |said: bool, name| said.then_some((name, Value::Yes));
    attributes.extend(code);
    attributes.extend(yes(seen.observed, "sidegate.observed"));
    attributes.extend(yes(seen.replayed, "sidegate.replayed"));
    (name, attributes)
}
