//! The whole way of a request to the upstream, on one page.

mod admit;
pub mod cors;
mod decision;
mod error;
pub mod headers;
mod life;
pub mod limits;
pub mod path;
pub mod question;
mod readings;
mod replay;
mod rewrite;
pub mod routes;
mod seen;
mod told;
pub mod upstream;

use std::{mem::take, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts,
    uri::PathAndQuery,
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;

use self::{
    admit::{Admission, Credential, Limits},
    headers::{HeaderRules, Hop, Outgoing, Why},
    life::{Life, Lives},
    path::CanonicalPath,
    replay::Forwarded,
    routes::Routes,
    upstream::{Answer, RequestBody, ResponseBody, TrailerFilter, Tunnel, Upstream, UpstreamError},
};
pub use self::{error::ProxyError, seen::Seen};
use crate::{
    auth::{Auth, Principal, another::Shown, policy::Policy},
    config::{self, Config, Preflight},
    model::{Context, Time},
    spans,
    telemetry::{
        metrics::{Limited, Metrics, RouteReplays, StreamMetrics, UpstreamMetrics, bounded},
        reason::Reason,
    },
};

/// Routes, judges and upstreams of one generation.
pub struct Proxy {
    config: Arc<Config>,
    routes: Routes,
    /// By route; `None` for a public one.
    policies: Vec<Option<Policy>>,
    limits: Vec<Limits>,
    rules: Arc<HeaderRules>,
    trailers: TrailerFilter,
    auth: Auth,
    upstreams: Vec<Arc<Upstream>>,
    upstream_metrics: Vec<UpstreamMetrics>,
    /// By route.
    streams: Vec<Arc<StreamMetrics>>,
    /// By route; `None` where no request is sent once more.
    replays: Vec<Option<RouteReplays>>,
    metrics: Arc<Metrics>,
    lives: Arc<Lives>,
}

/// What is to be done with a request that may go on.
#[derive(Debug)]
pub enum Plan {
    /// To the upstream of the route, for whom it was admitted. `by_query`: the token came in the query.
    Forward { route: usize, by_query: bool, principal: Option<Principal>, shown: Shown },
    /// It is a preflight, and answered here.
    Preflight { route: usize },
}

/// A request that may go on.
struct Cleared {
    route: usize,
    host: HeaderValue,
    /// What it would be sent as.
    target: PathAndQuery,
    /// It is a preflight that the upstream answers.
    preflight: bool,
    admission: Admission,
    credential: Credential,
}

#[expect(clippy::large_enum_variant, reason = "made for each request and taken apart at once: a box would cost more")]
enum Clearance {
    Go(Cleared),
    /// It is a preflight, and answered here.
    Preflight {
        route: usize,
    },
}

impl Proxy {
    pub fn new(
        config: Arc<Config>,
        routes: Routes,
        auth: Auth,
        upstreams: Vec<Arc<Upstream>>,
        time: Time,
        metrics: Arc<Metrics>,
    ) -> Proxy {
        let sessions = auth.own().map(|own| own.sessions.clone());
        let rules = Arc::new(HeaderRules::new(&config));
        let for_trailers = rules.clone();
        let routes_named =
            || config.routes.iter().enumerate().map(|(index, route)| (route, bounded(index, &route.name)));
        Proxy {
            policies: config.routes.iter().map(|route| route.policy.as_ref().map(|p| auth.policy(p))).collect(),
            limits: config.routes.iter().map(Limits::new).collect(),
            trailers: Arc::new(move |name| !for_trailers.is_forbidden_trailer(name)),
            upstream_metrics: config
                .upstreams
                .iter()
                .enumerate()
                .map(|(index, upstream)| metrics.upstream(bounded(index, &upstream.name)))
                .collect(),
            streams: routes_named()
                .map(|(route, name)| metrics.streams(name, config.upstreams[route.upstream].http2))
                .collect(),
            replays: routes_named().map(|(route, name)| route.replay.map(|_| metrics.replay.route(name))).collect(),
            rules,
            routes,
            auth,
            upstreams,
            lives: Arc::new(Lives { time, sessions }),
            metrics,
            config,
        }
    }

    /// Decides, and forwards what may go on, `head` with it. `seen` learns on the way what is to be observed.
    ///
    /// # Errors
    /// Why the request was not answered by the upstream; that has then received no byte of it, unless the error is its
    /// own.
    pub async fn forward(
        &self,
        head: &mut Parts,
        body: Incoming,
        cx: &Context,
        seen: &mut Seen,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let (index, by_query, mut principal, shown) = match self.plan(head, cx, seen).await? {
            Plan::Forward { route, by_query, principal, shown } => (route, by_query, principal, shown),
            Plan::Preflight { route } => return Ok(self.answer_preflight(&self.config.routes[route], &head.headers)),
        };
        let route = &self.config.routes[index];
        let body = RequestBody::streamed(body, route.max_body_bytes, Some(self.trailers.clone()));
        let keep = if matches!(shown, Shown::Other) { None } else { route.replay };
        let upstream = &self.upstreams[route.upstream];
        let span = spans::sending(&mut head.headers, &head.method, || told::of(upstream.settings()));
        let sent = Instant::now();
        let request = with_head(head, body);
        let answer = upstream.send(cx.connection.worker, request, &route.timeouts, keep, sent).await;
        self.note_upstream(route.upstream, &answer, sent, seen);
        span.end(answer.as_ref().map(|answer| answer.response.status()).map_err(UpstreamError::code));
        let answer = answer?;
        let mut response = match (&self.replays[index], &principal) {
            (Some(replays), Some(principal))
                if keep.is_some() && answer.response.status() == StatusCode::UNAUTHORIZED =>
            {
                let forwarded = Forwarded { route, principal, shown: &shown, replays };
                // Boxed: it must not make the future of other requests larger.
                Box::pin(self.replay(answer, forwarded, cx, seen)).await?
            }
            _ => answer.response,
        };
        if let Some(principal) = &mut principal {
            self.auth.await_successor(principal).await;
        }
        self.finish(&mut response, index, principal, seen);
        if by_query {
            admit::keep_private(response.headers_mut());
        }
        Ok(response)
    }

    fn note_upstream(&self, upstream: usize, answer: &Result<Answer, UpstreamError>, sent: Instant, seen: &mut Seen) {
        let took = sent.elapsed();
        seen.upstream += took;
        let status = answer.as_ref().ok().map(|answer| answer.response.status());
        self.upstream_metrics[upstream].answered(status, took);
    }

    /// Everything that comes before the first byte to the upstream. Where the request is to be forwarded, `head` has
    /// become what the upstream is to see.
    ///
    /// # Errors
    /// Why the request does not go on.
    pub async fn plan(&self, head: &mut Parts, cx: &Context, seen: &mut Seen) -> Result<Plan, ProxyError> {
        let Cleared { route: index, host, target, preflight, admission, credential } =
            match self.clear(head, cx, seen).await? {
                Clearance::Go(cleared) => cleared,
                Clearance::Preflight { route } => return Ok(Plan::Preflight { route }),
            };
        let route = &self.config.routes[index];
        let by_query = matches!(admission, Admission::Known { query_token: Some(_), .. });
        let upgrade = wants_upgrade(head);
        if !upgrade {
            head.extensions.remove::<OnUpgrade>();
        }
        head.uri = Uri::from(target);
        head.version = Version::HTTP_11;
        let peer = cx.connection.peer().ip();
        let out = Outgoing {
            route: index,
            hop: Hop {
                peer: cx.connection.address(),
                trusted: peer.is_some_and(|peer| headers::is_trusted(peer, &self.config.trusted_proxies)),
                tls: cx.connection.tls,
                host: host.to_str().unwrap_or_default(),
            },
            upgrade,
            http2: self.config.upstreams[route.upstream].http2,
            credential: credential.authorization.as_ref(),
            identity: credential.identity(),
            request_id: cx.id.header(),
        };
        self.rules.prepare(&mut head.headers, &out);
        if let Some((name, value)) = credential.original {
            head.headers.insert(name, value);
        }
        if preflight {
            // Nobody was asked for a token, so nothing may make this another method or another target.
            for name in &route.pass_headers {
                head.headers.remove(name);
            }
        }
        for value in credential.repeated {
            head.headers.append(header::AUTHORIZATION, value);
        }
        let shown = Credential::shown(credential.prepared, credential.outside);
        let principal = match admission {
            Admission::Known { principal, .. } => Some(principal),
            Admission::Anonymous | Admission::Preflight | Admission::Observed => None,
        };
        Ok(Plan::Forward { route: index, by_query, principal, shown })
    }

    /// Whether the request may go on, where to and as whom: limits, canonical path, route, token, policy, and what the
    /// upstream is shown.
    async fn clear(&self, head: &Parts, cx: &Context, seen: &mut Seen) -> Result<Clearance, ProxyError> {
        let host = host(head)?;
        let path = path::canonical(head.uri.path())?;
        let preflight = cors::preflight_method(&head.method, &head.headers);
        let index = self.find(&host, &path, &head.method, preflight.as_ref())?;
        let route = &self.config.routes[index];
        seen.found(index, route, &head.headers);
        if preflight.is_some() && route.preflight == Preflight::Answer {
            seen.decided(Reason::Public);
            return Ok(Clearance::Preflight { route: index });
        }
        self.limits[index].check_address(cx).inspect_err(|_| self.metrics.rate_limited(Limited::Address))?;
        check_length(&head.headers, route.max_body_bytes)?;

        let preflight = preflight.is_some() && route.preflight == Preflight::Forward;
        let (admission, query) = self.admit(head, index, preflight, cx, seen).await?;
        let mut credential = self.credential(&admission, index, &head.headers, cx)?;
        self.add_outside_token(&mut credential, &admission, index, cx).await?;

        let target = rewrite::rewrite(&path, &route.strip_prefix, &route.add_prefix)?;
        let target = match head.uri.path_and_query() {
            Some(original) => target.target(original, query.as_deref())?,
            None => return Err(path::PathError::Empty.into()),
        };
        Ok(Clearance::Go(Cleared { route: index, host, target, preflight, admission, credential }))
    }

    /// The route that a request with this head is for.
    ///
    /// # Errors
    /// If its Host or path is none, or no route covers it.
    pub fn route_of(&self, head: &Parts) -> Result<usize, ProxyError> {
        let host = host(head)?;
        let path = path::canonical(head.uri.path())?;
        self.find(&host, &path, &head.method, cors::preflight_method(&head.method, &head.headers).as_ref())
    }

    /// A preflight goes where the request that it asks for would go, if that route treats preflights specially.
    fn find(
        &self,
        host: &HeaderValue,
        path: &CanonicalPath<'_>,
        method: &Method,
        preflight: Option<&Method>,
    ) -> Result<usize, ProxyError> {
        let host = host.to_str().unwrap_or_default();
        if let Some(asked) = preflight
            && let Ok(index) = self.routes.find(host, path, asked)
            && self.config.routes[index].preflight != Preflight::Ignore
        {
            return Ok(index);
        }
        Ok(self.routes.find(host, path, method)?)
    }

    fn answer_preflight(&self, route: &config::Route, headers: &HeaderMap) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if let Some(cors) = &route.cors {
            *response.headers_mut() = cors::preflight(cors, headers);
        }
        response
    }

    fn finish(&self, response: &mut Response<ResponseBody>, index: usize, principal: Option<Principal>, seen: &Seen) {
        let (route, streams) = (&self.config.routes[index], &self.streams[index]);
        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        headers::strip_response(response.headers_mut(), switching);
        if let Some(names) = &self.config.successors {
            let successor = principal.as_ref().and_then(Principal::successor);
            // Only sessions of ours have any, and it is their time that its end is told by.
            let successor = successor.zip(self.lives.sessions.as_ref().map(|sessions| sessions.now()));
            headers::successor::put(response.headers_mut(), names, successor);
        }
        let life = Life::of(response, principal, route, streams, &self.lives);
        if let Some(cors) = &route.cors {
            cors::decorate(cors, seen.origin.as_ref(), response.headers_mut());
        }
        if let Some(tunnel) = response.extensions_mut().remove::<Tunnel>() {
            let upgraded = streams.upgraded();
            // The server counts the connection until the tunnel is over, and a drain waits for it.
            tokio::spawn(async move {
                let _upgraded = upgraded;
                let over = async {
                    match life {
                        Some(life) => life.over().await,
                        None => std::future::pending().await,
                    }
                };
                if let Err(error) = tunnel.run(over).await {
                    tracing::debug!(%error, "a tunnel ended");
                }
            });
            return;
        }
        if let Some(life) = life {
            response.body_mut().bind(life);
        }
        if streams.counts_grpc() && life::is_grpc(response.headers()) {
            // Without a body, what is a trailer otherwise stands among the headers.
            match response.headers().get(GRPC_STATUS) {
                Some(status) => streams.grpc_ended(Some(status)),
                None => response.body_mut().count_grpc(streams.clone()),
            }
        }
    }

    /// Makes a refusal readable for scripts of the origins that the route allows.
    pub fn decorate_refusal(&self, seen: &Seen, headers: &mut HeaderMap) {
        if let Some(cors) = seen.route.and_then(|route| self.config.routes[route].cors.as_ref()) {
            cors::decorate(cors, seen.origin.as_ref(), headers);
        }
    }

    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Why a header `name` among the `headers` of a request does not go on, by route `index`; `None`: it does.
    pub fn why_dropped(&self, name: &HeaderName, headers: &HeaderMap, index: usize, cx: &Context) -> Option<Why> {
        let trusted =
            cx.connection.peer().ip().is_some_and(|peer| headers::is_trusted(peer, &self.config.trusted_proxies));
        self.rules.why(name, headers, index, trusted)
    }

    /// What route `index` asks of a token; `None` for a public one.
    pub fn policy(&self, index: usize) -> Option<&Policy> {
        self.policies[index].as_ref()
    }

    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }
}

/// A request with what `head` holds, which is empty after that.
pub fn with_head<B>(head: &mut Parts, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = take(&mut head.method);
    *request.uri_mut() = take(&mut head.uri);
    *request.version_mut() = head.version;
    *request.headers_mut() = take(&mut head.headers);
    *request.extensions_mut() = take(&mut head.extensions);
    request
}

/// Where a gRPC service says how a call ended.
const GRPC_STATUS: &str = "grpc-status";

/// The one Host of the request, held apart from its headers, which are about to change.
fn host(head: &Parts) -> Result<HeaderValue, ProxyError> {
    let (host, header) = headers::one_host_and_header(&head.uri, &head.headers)?;
    match header {
        // Shares the bytes.
        Some(value) if value == host => Ok(value.clone()),
        _ => HeaderValue::from_str(host).map_err(|_| headers::HostError::Malformed.into()),
    }
}

/// Refuses by the announced length, before the upstream hears of the request.
fn check_length(headers: &HeaderMap, limit: Option<u64>) -> Result<(), ProxyError> {
    let Some(limit) = limit else { return Ok(()) };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) { Err(ProxyError::BodyTooLarge) } else { Ok(()) }
}

/// An upgrade that may go on: any but `h2c`, which would carry requests past us. It is ignored, as RFC 9110 (7.8)
/// allows, since clients that merely offer it would break if it were refused.
fn wants_upgrade(head: &Parts) -> bool {
    // The server has put it there for those alone that ask for one.
    if head.version != Version::HTTP_11 || head.extensions.get::<OnUpgrade>().is_none() {
        return false;
    }
    let mut offered = head.headers.get_all(header::UPGRADE).iter().peekable();
    offered.peek().is_some()
        && offered.all(|value| {
            value.as_bytes().split(|byte| *byte == b',').all(|name| {
                let name = name.trim_ascii();
                let name = name.split(|byte| *byte == b'/').next().unwrap_or_default();
                !name.eq_ignore_ascii_case(b"h2c") && !name.eq_ignore_ascii_case(b"http") && !name.is_empty()
            })
        })
}
