//! What a proxy that asks must do to its client's headers, since it forwards them itself: put in what the answer says,
//! and take out what a client could forge.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};

use super::{HeaderRules, Kind, cookies, join_cookies, names::KNOWN};
use crate::config::Config;

/// Worked out once from the configuration.
#[derive(Debug)]
pub struct Entrusted {
    /// The proxy takes these from each answer, and drops its client's where the answer has none.
    copied: Vec<HeaderName>,
    /// By route: what a client could forge, for a proxy that can be told by the answer to take it out.
    removed: Vec<HeaderValue>,
}

impl Entrusted {
    pub(super) fn new(config: &Config) -> Entrusted {
        let mut copied = vec![AUTHORIZATION];
        let identity =
            config.upstreams.iter().flat_map(|upstream| upstream.identity_headers.iter().map(|(name, _)| name));
        let tokens = config.routes.iter().map(|route| &route.token.header);
        copied.extend(identity.chain(tokens).cloned());
        // There may be cookies of the sign-in pages.
        copied.extend(config.authority.is_some().then_some(COOKIE));
        let mut seen = Vec::new();
        copied.retain(|name| {
            let new = !seen.contains(name);
            seen.push(name.clone());
            new
        });
        let removed = config.routes.iter().map(|route| {
            let forged = KNOWN.iter().flat_map(|(kind, names)| names.iter().map(move |name| (*kind, *name)));
            let forged = forged.filter(|(kind, name)| match kind {
                Kind::Identity | Kind::Override => true,
                Kind::Claimed => !is_the_proxys(name),
                // The others it writes itself.
                Kind::Forwarded => !["x-forwarded-for", "x-forwarded-proto"].contains(name),
                Kind::Hop | Kind::OneSpelling => false,
            });
            let named = |name: &str, other: &HeaderName| other.as_str() == name;
            let passes = |name: &str| {
                copied.iter().any(|other| named(name, other))
                    || route.pass_headers.iter().any(|other| named(name, other))
            };
            let names = forged.map(|(_, name)| name).filter(|name| !passes(name));
            let names: Vec<&str> = names.collect();
            HeaderValue::try_from(names.join(",")).expect("names of headers")
        });
        Entrusted { removed: removed.collect(), copied }
    }

    /// The names that the proxy must copy from each answer.
    pub fn copied(&self) -> &[HeaderName] {
        &self.copied
    }

    /// What is always to be removed on route `index`, as one list.
    pub fn removed(&self, index: usize) -> &HeaderValue {
        &self.removed[index]
    }
}

impl HeaderRules {
    pub fn entrusted(&self) -> &Entrusted {
        &self.entrusted
    }

    /// The names in `headers` that a client could forge and that no answer replaces: what goes to an upstream of
    /// sidegate's own without them. `pass`: the route lets some pass.
    pub fn forged<'h>(
        &'h self,
        headers: &'h HeaderMap,
        route: usize,
        pass: bool,
    ) -> impl Iterator<Item = (&'h HeaderName, Kind)> {
        let rules = &self.routes[route];
        headers.keys().filter_map(move |name| {
            if self.entrusted.copied.contains(name) || (pass && rules.pass.contains(name)) {
                return None;
            }
            let token = super::same(rules.token.as_str().as_bytes(), name.as_str().as_bytes());
            match self.names.kind(name) {
                // Another spelling of it.
                _ if token => Some((name, Kind::Identity)),
                // The connections are the proxy's own, and so is what it says of its client.
                Some((Kind::Hop | Kind::Forwarded | Kind::OneSpelling, true)) | None => None,
                Some((Kind::Claimed, true)) if is_the_proxys(name.as_str()) => None,
                Some((kind, _)) => Some((name, kind)),
            }
        })
    }

    /// The client's cookies without those of the sign-in pages, where there are such pages.
    pub fn cookies(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if !self.pages || !headers.contains_key(COOKIE) {
            return None;
        }
        let mut kept = HeaderMap::new();
        kept.extend(headers.get_all(COOKIE).iter().map(|value| (COOKIE, value.clone())));
        cookies::remove_own(&mut kept);
        join_cookies(&mut kept);
        kept.remove(COOKIE)
    }
}

/// Names by which proxies tell where a request came from: the one that asks writes its own.
fn is_the_proxys(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name.starts_with("x-envoy-")
}
