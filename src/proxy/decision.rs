//! A decision for a proxy that asks, in place of forwarding: the same way, up to where the request would be sent.
//!
//! Whoever asks forwards its client's request as it is. So the path must be one that everybody reads in one way, and
//! what would be put in or taken out on the way to an upstream is told to the proxy, or is a reason to refuse.

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::{Admission, Clearance, Cleared, Credential, Proxy, ProxyError, Seen, headers::successor, path};
use crate::model::{Context, Questions};

impl Proxy {
    /// Whether the request with this head may go on: the headers of the answer that lets it.
    ///
    /// # Errors
    /// Why the request does not go on.
    pub async fn decide(
        &self,
        head: &Parts,
        questions: &Questions,
        cx: &Context,
        seen: &mut Seen,
    ) -> Result<HeaderMap, ProxyError> {
        path::without_dot_segments(head.uri.path())?;
        let mut cleared = match self.clear(head, cx, seen).await? {
            Clearance::Go(cleared) => cleared,
            Clearance::Preflight { .. } => return Err(ProxyError::PreflightNotAnswered),
        };
        if let Admission::Known { principal, .. } = &mut cleared.admission {
            self.auth.await_successor(principal).await;
        }
        let mut answer = self.entrust(head, &cleared);
        match questions {
            Questions::Envoy { .. } => self.name_forged(head, &cleared, &mut answer),
            Questions::Nginx | Questions::Forwarded => {
                self.refuse_forged(head, &cleared, seen)?;
                // Where it is another one than was asked about, only a proxy that sends this one does it right.
                answer.extend(
                    HeaderValue::from_str(cleared.target.as_str()).ok().map(|target| (X_SIDEGATE_TARGET, target)),
                );
            }
        }
        self.put_successor(&mut answer, &cleared);
        answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }

    /// What the upstream is to see of us.
    fn entrust(&self, head: &Parts, cleared: &Cleared) -> HeaderMap {
        let Credential { authorization, original, repeated, .. } = &cleared.credential;
        let mut answer = HeaderMap::with_capacity(8);
        for (name, value) in cleared.credential.identity() {
            answer.insert(name, value.clone());
        }
        if let Some(value) = authorization {
            answer.insert(header::AUTHORIZATION, value.clone());
        }
        for value in repeated {
            answer.append(header::AUTHORIZATION, value.clone());
        }
        if let Some((name, value)) = original {
            answer.insert(name, value.clone());
        }
        answer.extend(self.rules.cookies(&head.headers).map(|cookies| (header::COOKIE, cookies)));
        answer
    }

    /// For a proxy that takes out what the answer names.
    fn name_forged(&self, head: &Parts, cleared: &Cleared, answer: &mut HeaderMap) {
        let entrusted = self.rules.entrusted();
        answer.append(ENVOY_REMOVES, entrusted.removed(cleared.route).clone());
        let not_given = entrusted.copied().iter().filter(|name| !answer.contains_key(*name));
        let forged = self.rules.forged(&head.headers, cleared.route, !cleared.preflight).map(|(name, _)| name);
        let names: Vec<&str> = not_given.chain(forged).map(HeaderName::as_str).collect();
        answer.extend(HeaderValue::from_str(&names.join(",")).ok().map(|names| (ENVOY_REMOVES, names)));
    }

    /// For a proxy that cannot be told: nothing that a client forged passes.
    fn refuse_forged(&self, head: &Parts, cleared: &Cleared, seen: &mut Seen) -> Result<(), ProxyError> {
        let mut forged = self.rules.forged(&head.headers, cleared.route, !cleared.preflight);
        let Some((name, _)) = forged.next() else { return Ok(()) };
        let error = ProxyError::Forged(name.clone());
        if self.config.routes[cleared.route].observe {
            seen.code.get_or_insert("forged_header");
            seen.cause = Some(error.to_string());
            return Ok(());
        }
        Err(error)
    }

    fn put_successor(&self, answer: &mut HeaderMap, cleared: &Cleared) {
        let Some(names) = &self.config.successors else { return };
        let Admission::Known { principal, .. } = &cleared.admission else { return };
        let successor = principal.successor().zip(self.lives.sessions.as_ref().map(|sessions| sessions.now()));
        successor::put(answer, names, successor);
    }

    /// The headers that a proxy which asks must copy from each answer, in the place of its client's.
    pub fn copied_headers(&self) -> &[HeaderName] {
        self.rules.entrusted().copied()
    }
}

/// What would be forwarded: path and query, with the route's prefixes and without a token.
const X_SIDEGATE_TARGET: HeaderName = HeaderName::from_static("x-sidegate-target");

/// The names in it are removed from the request that Envoy forwards.
const ENVOY_REMOVES: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
