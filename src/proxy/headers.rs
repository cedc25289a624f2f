//! Out: hop-by-hop headers and everything that a client could forge. In: credential, identity, where it came from.
//!
//! Everything is stripped first and set after, in one function, so that nothing a client wrote (such as
//! `Connection: x-forwarded-user`) removes or outlives what we say. No `Via` is added: upstreams that see it stop
//! compressing, and the request id serves tracing better.

mod cookies;
mod entrusted;
mod forwarded;
mod host;
mod names;
mod query;
pub mod successor;
mod why;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
        COOKIE, EXPECT, HOST, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
    },
};

use smallvec::SmallVec;

use self::{
    entrusted::Entrusted,
    names::{Names, same},
};
use crate::config::{Config, HostHeader, Target};

pub use self::forwarded::{Hop, asked_client, client_address, is_trusted};
pub use self::host::{HostError, one_host, one_host_and_header};
pub use self::names::Kind;
pub use self::query::{QueryToken, RepeatedToken, take_query_token};
pub use self::why::Why;

/// What is dropped and what Host is sent, worked out once from the configuration.
#[derive(Debug)]
pub struct HeaderRules {
    names: Names,
    /// There are sign-in pages, and so there may be cookies of theirs.
    pages: bool,
    routes: Vec<RouteRules>,
    entrusted: Entrusted,
}

/// What of the client's headers needs a second look.
#[derive(Default)]
struct Special {
    host: bool,
    cookies: bool,
    /// It takes trailers.
    trailers: bool,
}

#[derive(Debug)]
struct RouteRules {
    /// Carries the client's token, so it never goes on.
    token: HeaderName,
    pass: Vec<HeaderName>,
    /// `None`: the client's.
    host: Option<HeaderValue>,
}

/// What the forwarded request is to say.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Index of the route.
    pub route: usize,
    pub hop: Hop<'a>,
    /// The upgrade is permitted: `Upgrade` goes on.
    pub upgrade: bool,
    /// The upstream speaks HTTP/2, which has no `Connection`.
    pub http2: bool,
    /// The whole value of `Authorization`.
    pub credential: Option<&'a HeaderValue>,
    pub identity: &'a [(HeaderName, HeaderValue)],
    pub request_id: &'a HeaderValue,
}

impl HeaderRules {
    pub fn new(config: &Config) -> Self {
        let identity = config.upstreams.iter().flat_map(|upstream| &upstream.identity_headers);
        let routes = config.routes.iter().map(|route| RouteRules {
            token: route.token.header.clone(),
            pass: route.pass_headers.clone(),
            host: match &route.host {
                HostHeader::Preserve => None,
                HostHeader::Upstream => upstream_host(&config.upstreams[route.upstream].target),
                HostHeader::Named(host) => Some(host.clone()),
            },
        });
        HeaderRules {
            names: Names::new(identity.map(|(name, _)| name)),
            pages: config.authority.is_some(),
            routes: routes.collect(),
            entrusted: Entrusted::new(config),
        }
    }

    /// Turns the client's headers into those of the forwarded request.
    ///
    /// `Host` is set also for HTTP/2, whose client takes the authority from it.
    pub fn prepare(&self, headers: &mut HeaderMap, out: &Outgoing<'_>) {
        let upgrade = out.upgrade.then(|| headers.get(UPGRADE).cloned()).flatten();
        let special = self.strip(headers, out);
        let trailers = special.trailers;

        if special.cookies {
            if self.pages {
                cookies::remove_own(headers);
            }
            if !out.http2 {
                join_cookies(headers);
            }
        }
        forwarded::set(headers, out.hop);
        match &self.routes[out.route].host {
            Some(host) => drop(headers.insert(HOST, host.clone())),
            None if special.host => {}
            None => headers.extend(HeaderValue::from_str(out.hop.host).ok().map(|host| (HOST, host))),
        }
        for (name, value) in out.identity {
            headers.insert(name, value.clone());
        }
        if let Some(credential) = out.credential {
            headers.insert(AUTHORIZATION, credential.clone());
        }
        headers.insert(X_REQUEST_ID, out.request_id.clone());
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        // RFC 9110, 7.6.1: whoever sends TE or Upgrade names it in Connection.
        let connection = match (upgrade.is_some(), trailers && !out.http2) {
            (true, true) => Some("upgrade, te"),
            (true, false) => Some("upgrade"),
            (false, true) => Some("te"),
            (false, false) => None,
        };
        headers.extend(upgrade.map(|upgrade| (UPGRADE, upgrade)));
        headers.extend(connection.map(|names| (CONNECTION, HeaderValue::from_static(names))));
    }

    /// Takes out what does not go on. One look at the few names that are there costs less than asking for each that
    /// could be.
    fn strip(&self, headers: &mut HeaderMap, out: &Outgoing<'_>) -> Special {
        let route = &self.routes[out.route];
        let mut special = Special::default();
        let mut doomed: SmallVec<[HeaderName; 8]> = SmallVec::new();
        let (mut connection, mut te) = (false, false);
        for name in headers.keys() {
            special.host |= *name == HOST;
            special.cookies |= *name == COOKIE;
            connection |= *name == CONNECTION;
            te |= *name == TE;
            // What takes its place drops every value of it.
            let replaced = *name == AUTHORIZATION && out.credential.is_some();
            if !replaced && self.is_dropped(name, route, out.hop.trusted) {
                doomed.push(name.clone());
            }
        }
        special.trailers = te && lists(headers, &TE, "trailers");
        if connection {
            let mut named = named_in_connection(headers);
            // Of what a trusted peer says about earlier hops, a client's `Connection` that it let through takes nothing.
            if out.hop.trusted {
                named.retain(|name| !matches!(self.names.kind(name), Some((Kind::Forwarded, _))));
            }
            doomed.extend(named);
        }
        for name in doomed {
            headers.remove(name);
        }
        special
    }

    fn is_dropped(&self, name: &HeaderName, route: &RouteRules, trusted: bool) -> bool {
        if *name == route.token || same(route.token.as_str().as_bytes(), name.as_str().as_bytes()) {
            return true;
        }
        match self.names.kind(name) {
            None => false,
            Some((Kind::Hop | Kind::Identity, _)) => true,
            Some((Kind::Forwarded, proper)) => !(proper && trusted || route.pass.contains(name)),
            Some((Kind::Override | Kind::Claimed, _)) => !route.pass.contains(name),
            Some((Kind::OneSpelling, proper)) => !proper,
        }
    }

    /// Whether a trailer of this name could frame, direct, authenticate or change the request (RFC 9110, 6.5.1).
    pub fn is_forbidden_trailer(&self, name: &HeaderName) -> bool {
        let token = |route: &RouteRules| same(route.token.as_str().as_bytes(), name.as_str().as_bytes());
        NEVER_TRAILERS.contains(name) || self.names.kind(name).is_some() || self.routes.iter().any(token)
    }
}

/// Removes what belongs to the upstream's connection from its answer. With `switching` (status 101) `Upgrade` stays.
pub fn strip_response(headers: &mut HeaderMap, switching: bool) {
    // One look at the few names that are there costs less than asking for each that could be.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let upgrade = switching.then(|| headers.get(UPGRADE).cloned()).flatten();
    let mut doomed = named_in_connection(headers);
    doomed.extend(headers.keys().filter(|name| is_hop_by_hop(name)).cloned());
    for name in doomed {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What `Connection` names, except what frames and directs the message itself: nobody can sign that away.
fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut named = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for option in value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            let ordinary = ["keep-alive", "close", "upgrade", "te"];
            if ordinary.iter().any(|known| option.eq_ignore_ascii_case(known.as_bytes())) {
                continue;
            }
            let name = HeaderName::from_bytes(option).ok();
            named.extend(name.filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)));
        }
    }
    named
}

/// HTTP/2 lets a client send its cookies in many fields; elsewhere they are one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        whole.set_sensitive(true);
        headers.insert(COOKIE, whole);
    }
}

/// Whether the list header `name` contains `word`.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let mut words = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    words.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

fn upstream_host(target: &Target) -> Option<HeaderValue> {
    let bracketed =
        |host: &str| if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let text = match target {
        Target::Http { host, port: 80 } | Target::Https { host, port: 443, .. } => bracketed(host),
        Target::Http { host, port } | Target::Https { host, port, .. } => format!("{}:{port}", bracketed(host)),
        Target::Unix(_) => "localhost".to_owned(),
    };
    HeaderValue::try_from(text).ok()
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Besides everything that is dropped from headers.
const NEVER_TRAILERS: [HeaderName; 12] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    MAX_FORWARDS,
    SET_COOKIE,
    TRAILER,
    WWW_AUTHENTICATE,
];

#[cfg(test)]
mod tests;
