//! Where the successors of access tokens stand in answers.

use http::{HeaderName, header};

use super::{names, section::Section};
use crate::config::{Authority, Renewal, Route, SuccessorHeaders, Upstream, settings};

/// The names, whether anybody needs them or not. `upstreams` is `None` if one of them is wrong.
pub(super) fn check(
    settings: &settings::SuccessorHeaders,
    upstreams: Option<&[Upstream]>,
    section: &Section<'_>,
) -> Option<SuccessorHeaders> {
    let one = |key: &'static str, name: &Option<String>, default: HeaderName| match name {
        None => Some(default),
        Some(name) => name_of(name, upstreams.unwrap_or_default(), &section.key(key)),
    };
    let token = one("token", &settings.token, TOKEN);
    let expires_in = one("expires_in", &settings.expires_in, EXPIRES_IN);
    let headers = SuccessorHeaders { token: token?, expires_in: expires_in? };
    if headers.token == headers.expires_in {
        section.problem(format!("token and expires_in are both {}", headers.token), "give each a name of its own");
        return None;
    }
    Some(headers)
}

fn name_of(name: &str, upstreams: &[Upstream], section: &Section<'_>) -> Option<HeaderName> {
    let name = names::header(name, section)?;
    let taken = TAKEN.contains(&name) || FAMILIES.iter().any(|family| name.as_str().starts_with(family));
    if taken || name.as_str().ends_with("cache-control") {
        section.problem(
            format!("{name} means something else in an answer"),
            "write a name that nobody else uses, for example X-Access-Token",
        );
        return None;
    }
    let identity = |upstream: &Upstream| upstream.identity_headers.iter().any(|(header, _)| *header == name);
    if upstreams.iter().any(identity) {
        section.problem(
            format!("{name} is among the identity_headers of an upstream"),
            "write a name that nobody else uses, for example X-Access-Token",
        );
        return None;
    }
    Some(name)
}

/// Whether a client's tokens have successors.
pub(super) fn are_wanted(authority: Option<&Authority>) -> bool {
    let mut clients = authority.into_iter().flat_map(|authority| authority.clients.values());
    clients.any(|client| client.renewal == Some(Renewal::Successor))
}

/// Lets scripts of other origins read them.
pub(super) fn expose(headers: &SuccessorHeaders, routes: &mut [Route]) {
    for cors in routes.iter_mut().filter_map(|route| route.cors.as_mut()) {
        for name in [&headers.token, &headers.expires_in] {
            if !cors.expose_headers.contains(name) {
                cors.expose_headers.push(name.clone());
            }
        }
    }
}

const TOKEN: HeaderName = HeaderName::from_static("x-access-token");
const EXPIRES_IN: HeaderName = HeaderName::from_static("x-access-token-expires-in");

/// What clients, caches and proxies in front act upon.
const TAKEN: [HeaderName; 24] = [
    header::ACCEPT_RANGES,
    header::AGE,
    header::ALLOW,
    header::ALT_SVC,
    header::AUTHORIZATION,
    header::COOKIE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::FORWARDED,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::PRAGMA,
    header::REFRESH,
    header::RETRY_AFTER,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::VARY,
    header::WARNING,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("x-request-id"),
];
const FAMILIES: [&str; 7] =
    ["access-control-", "content-", "proxy-", "sec-", "x-accel-", "x-content-type-", "x-forwarded-"];
