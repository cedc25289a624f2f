//! May this request go on, and as whom? Token, policy, rate limits, and what the upstream is shown for it.

use std::{borrow::Cow, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::{
    Proxy, ProxyError, Seen,
    headers::{self, QueryToken, RepeatedToken},
};
use crate::{
    auth::{
        Principal, Refusal, Whose,
        another::Shown,
        basic,
        bearer::{self, BearerError},
        policy::Policy,
        verdict::Prepared,
    },
    config::{self, TokenPlace},
    model::{Context, Secret},
    rate::{Key, Limiter},
    telemetry::{metrics::Limited, reason::Reason},
};

/// In what capacity a request goes on.
pub(super) enum Admission {
    /// No token was asked for.
    Anonymous,
    /// A preflight that the upstream answers itself: no token was asked for, and none that is there goes on unjudged.
    Preflight,
    Known {
        principal: Principal,
        query_token: Option<Secret<String>>,
    },
    /// `mode: observe`, and it would have been refused.
    Observed,
}

/// What the upstream is shown in place of the client's token.
#[derive(Default)]
pub(super) struct Credential {
    pub(super) authorization: Option<HeaderValue>,
    /// The client's own token in a header of its own.
    pub(super) original: Option<(HeaderName, HeaderValue)>,
    /// Further `Authorization` headers of a client that is only observed.
    pub(super) repeated: Vec<HeaderValue>,
    pub(super) prepared: Option<Arc<Prepared>>,
    /// What came from an authority outside.
    pub(super) outside: Option<Shown>,
}

impl Credential {
    pub(super) fn identity(&self) -> &[(HeaderName, HeaderValue)] {
        self.prepared.as_ref().map_or(&[], |prepared| &prepared.identity)
    }

    /// What of it can be renewed.
    pub(super) fn shown(prepared: Option<Arc<Prepared>>, outside: Option<Shown>) -> Shown {
        match (outside, prepared) {
            (Some(outside), _) => outside,
            (None, Some(prepared)) if prepared.credential.is_some() => Shown::InternalJwt(prepared),
            (None, _) => Shown::Other,
        }
    }
}

/// The rate limits of one route.
pub(super) struct Limits {
    per_address: Option<Limiter>,
    per_principal: Option<Limiter>,
}

impl Limits {
    pub(super) fn new(route: &config::Route) -> Limits {
        let start = Instant::now();
        Limits {
            per_address: route.rate_per_address.map(|rate| Limiter::new(rate, start)),
            per_principal: route.rate_per_principal.map(|rate| Limiter::new(rate, start)),
        }
    }

    /// Behind a Unix socket there is no address, and nothing to limit by.
    pub(super) fn check_address(&self, cx: &Context) -> Result<(), ProxyError> {
        match (&self.per_address, cx.client) {
            (Some(limiter), Some(address)) => check(limiter, Key::address(address), cx),
            _ => Ok(()),
        }
    }

    fn check_principal(&self, principal: &Principal, cx: &Context) -> Result<(), ProxyError> {
        match &self.per_principal {
            Some(limiter) => check(limiter, Key::digest(principal.key().into()), cx),
            None => Ok(()),
        }
    }
}

fn check(limiter: &Limiter, key: Key, cx: &Context) -> Result<(), ProxyError> {
    limiter.check(key, cx.started).map_err(|wait| ProxyError::RateLimited { retry_after: wait.0 })
}

impl Proxy {
    /// Finds the token, judges it and applies the route's limits. Returns also the query that goes on, without a token.
    pub(super) async fn admit<'a>(
        &self,
        head: &'a Parts,
        index: usize,
        preflight: bool,
        cx: &Context,
        seen: &mut Seen,
    ) -> Result<(Admission, Option<Cow<'a, str>>), ProxyError> {
        let route = &self.config.routes[index];
        let found = token_from_query(head, &route.token).map_err(|RepeatedToken| malformed("repeated_query_token"));
        let policy = match &self.policies[index] {
            Some(policy) if !preflight => policy,
            _ => {
                let query = found.map_err(|refusal| refused(refusal, None, route))?.rest;
                seen.decided(Reason::Public);
                return Ok((if preflight { Admission::Preflight } else { Admission::Anonymous }, query));
            }
        };
        let judged = match found {
            Ok(found) => match self.judge(head, route, &found, policy, cx).await {
                Ok(principal) => {
                    let lasting = self.auth.lasting(principal, route.upstream, route.min_life, cx.now).await;
                    lasting.map(|principal| (principal, found))
                }
                Err(refusal) => {
                    if route.observe && refusal.reason.is_of_policy() {
                        seen.whose = self.whose(head, route, &found, policy);
                    }
                    Err(refusal)
                }
            },
            Err(refusal) => Err(refusal),
        };
        match judged {
            Ok((principal, QueryToken { token: query_token, rest: query })) => {
                seen.decided(Reason::Allowed);
                self.limits[index]
                    .check_principal(&principal, cx)
                    .inspect_err(|_| self.metrics.rate_limited(Limited::Principal))?;
                Ok((Admission::Known { principal, query_token }, query))
            }
            Err(refusal) if route.observe => {
                seen.decided(refusal.reason);
                seen.code = Some(refusal.code);
                seen.observed = true;
                // As it came, also where the token is not one of ours.
                Ok((Admission::Observed, head.uri.query().map(Cow::Borrowed)))
            }
            Err(refusal) => Err(refused(refusal, policy.challenge_scope.clone(), route)),
        }
    }

    async fn judge(
        &self,
        head: &Parts,
        route: &config::Route,
        found: &QueryToken<'_>,
        policy: &Policy,
        cx: &Context,
    ) -> Result<Principal, Refusal> {
        let in_query = found.token.as_ref().map(|token| token.expose().as_str());
        if let Some((credentials, client)) = by_basic(&head.headers, route)? {
            let place = &route.token.header;
            let beside = *place != header::AUTHORIZATION && head.headers.contains_key(place);
            if beside || in_query.is_some() {
                return Err(malformed("credentials_in_two_places"));
            }
            // Boxed: routes with bearer tokens need not carry the room for this.
            return Box::pin(self.auth.authenticate_basic(credentials, client, policy, cx)).await;
        }
        match bearer::extract(&head.headers, &route.token, in_query) {
            Ok(token) => self.auth.authenticate(token, policy, cx).await,
            Err(BearerError::Missing) => Err(Refusal::new(Reason::TokenMissing, BearerError::Missing.code())),
            Err(error @ BearerError::Malformed(_)) => Err(malformed(error.code())),
        }
    }

    /// Whose the valid token was that `policy` refuses.
    fn whose(
        &self,
        head: &Parts,
        route: &config::Route,
        found: &QueryToken<'_>,
        policy: &Policy,
    ) -> Option<Box<Whose>> {
        let in_query = found.token.as_ref().map(|token| token.expose().as_str());
        let token = bearer::extract(&head.headers, &route.token, in_query).ok()?;
        self.auth.whose(token, policy).map(Box::new)
    }

    /// What `admission` shows to the upstream of route `index`.
    pub(super) fn credential(
        &self,
        admission: &Admission,
        index: usize,
        headers: &HeaderMap,
        cx: &Context,
    ) -> Result<Credential, ProxyError> {
        let route = &self.config.routes[index];
        let own = || headers.get(header::AUTHORIZATION).cloned();
        match admission {
            // Nothing of ours goes out for somebody whom nobody vouched for.
            Admission::Observed => Ok(Credential {
                authorization: own(),
                repeated: headers.get_all(header::AUTHORIZATION).iter().skip(1).cloned().collect(),
                original: own_token(headers, &route.token),
                ..Credential::default()
            }),
            Admission::Anonymous if self.auth.passes_original(route.upstream) => {
                Ok(Credential { authorization: own(), ..Credential::default() })
            }
            Admission::Anonymous | Admission::Preflight => Ok(Credential::default()),
            Admission::Known { principal, query_token } => {
                let prepared = self.auth.prepare(principal, route.upstream, route.min_life, cx.now)?;
                let mut credential = Credential::default();
                if self.auth.passes_original(route.upstream) {
                    let basic = matches!(by_basic(headers, route), Ok(Some(_)));
                    let plain = route.token.header == header::AUTHORIZATION || basic;
                    if let Some(successor) = principal.successor() {
                        // Where the token would stand that it follows.
                        if plain || query_token.is_some() {
                            credential.authorization = successor.bearer();
                        } else {
                            credential.original = Some((route.token.header.clone(), successor.token.clone()));
                        }
                    } else if let Some(token) = query_token {
                        credential.authorization = bearer_value(token);
                    } else if plain {
                        credential.authorization = own();
                    } else {
                        credential.original = own_token(headers, &route.token);
                    }
                } else {
                    let minted = prepared.as_ref().and_then(|prepared| prepared.credential.clone());
                    credential.authorization = minted.or_else(|| self.auth.fixed_credential(route.upstream).cloned());
                }
                credential.prepared = prepared;
                Ok(credential)
            }
        }
    }
}

impl Proxy {
    /// The token of an authority outside, where the upstream of route `index` is shown one: the session's, or one of
    /// sidegate's own. Apart from the others since these are the credentials that a request may have to wait for.
    pub(super) async fn add_outside_token(
        &self,
        credential: &mut Credential,
        admission: &Admission,
        index: usize,
        cx: &Context,
    ) -> Result<(), ProxyError> {
        let route = &self.config.routes[index];
        let Admission::Known { principal, .. } = admission else { return Ok(()) };
        if self.auth.shows_authority_token(route.upstream) {
            let shown = self.auth.authority_token(principal, route.min_life, cx.now).await;
            let showing = shown.map_err(|refusal| refused(refusal, None, route))?;
            credential.authorization = Some(showing.authorization.clone());
            credential.outside = Some(Shown::AuthorityToken(showing));
        }
        if let Some(keeper) = self.auth.service(route.upstream) {
            let shown = self.auth.service_token(keeper, route.min_life, cx.now).await;
            let shown = shown.map_err(|refusal| refused(refusal, None, route))?;
            credential.authorization = Some(shown.authorization.clone());
            credential.outside = Some(Shown::Service(shown));
        }
        Ok(())
    }
}

/// Name and password in place of a token, where the route takes them, and the client they are for.
fn by_basic<'a>(
    headers: &'a HeaderMap,
    route: &'a config::Route,
) -> Result<Option<(&'a HeaderValue, &'a str)>, Refusal> {
    let Some(client) = &route.token.basic else { return Ok(None) };
    let credentials = basic::presented(headers).map_err(|error| malformed(error.code()))?;
    Ok(credentials.map(|credentials| (credentials, &**client)))
}

fn token_from_query<'a>(head: &'a Parts, place: &TokenPlace) -> Result<QueryToken<'a>, RepeatedToken> {
    match (head.uri.query(), &place.query_parameter) {
        (Some(query), Some(name)) => headers::take_query_token(query, name),
        (query, _) => Ok(QueryToken { token: None, rest: query.map(Cow::Borrowed) }),
    }
}

/// The client's token, where the route has a header of its own for it.
fn own_token(headers: &HeaderMap, place: &TokenPlace) -> Option<(HeaderName, HeaderValue)> {
    let token = (place.header != header::AUTHORIZATION).then(|| headers.get(&place.header)).flatten();
    token.map(|token| (place.header.clone(), token.clone()))
}

/// A token that came in the query goes on where a token belongs. Its grammar was checked.
fn bearer_value(token: &Secret<String>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// An answer to a token in the query is nobody else's: its URL is a key of shared caches (RFC 6750, section 2.3).
pub(super) fn keep_private(headers: &mut HeaderMap) {
    let says = |word: &str| {
        let values = headers.get_all(header::CACHE_CONTROL).iter();
        values
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    if !says("private") && !says("no-store") {
        // Of directives that contradict each other, caches follow the strictest (RFC 9111, section 4.2.1).
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

fn malformed(code: &'static str) -> Refusal {
    Refusal::new(Reason::TokenMalformed, code)
}

pub(super) fn refused(refusal: Refusal, scope: Option<String>, route: &config::Route) -> ProxyError {
    ProxyError::Refused { refusal, scope, basic: route.token.basic.is_some() }
}
