//! Every request: `handle` observes and cannot fail, `answer` may use `?`; below them the one table error → status.

mod context;
mod decision;
mod documents;
mod observe;
mod problem;
mod rehearse;
pub mod status;
mod told;
pub mod trial;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, Uri, request::Parts};
use hyper::body::Incoming;

use self::{
    documents::{Document, Documents},
    observe::Observer,
    problem::Realm,
    trial::{RouteReport, Trials},
};
pub use self::{
    problem::Problem,
    rehearse::{Outcome, Rehearsal},
};
use crate::{
    auth::Issuer,
    config::Config,
    endpoints::{Endpoints, Mount},
    jose::mint::Minter,
    model::{Connection, Context, Time},
    proxy::{
        Proxy, ProxyError, Seen,
        headers::{is_trusted, one_host},
        limits,
        path::{canonical, may_be_respelled},
        upstream::{ResponseBody, Upstream},
        with_head,
    },
    spans::{Serving, Spans},
    telemetry::metrics::Metrics,
};

/// One generation of everything that a reload replaces.
pub struct Gate {
    config: Arc<Config>,
    proxy: Proxy,
    endpoints: Option<Endpoints>,
    generation: u64,
    time: Time,
    realm: Realm,
    observer: Observer,
    documents: Documents,
    spans: Spans,
}

/// What is served here, and not by an upstream.
enum Own<'a> {
    Document(&'a Document),
    Endpoint(&'a Endpoints, Mount),
}

/// What the client receives.
pub type ReplyBody = ResponseBody;

impl Gate {
    pub fn new(
        config: Arc<Config>,
        proxy: Proxy,
        endpoints: Option<Endpoints>,
        generation: u64,
        time: Time,
        metrics: &Metrics,
        trials: &Trials,
    ) -> Gate {
        Gate {
            spans: Spans::default(),
            realm: Realm::new(&config.resource),
            observer: Observer::new(&config, metrics, trials, time.now()),
            documents: Documents::new(&config, proxy.auth().minter().map(AsRef::as_ref)),
            proxy,
            endpoints,
            generation,
            time,
            config,
        }
    }

    /// Answers one request. Never fails: every error has become a response.
    ///
    /// The future is made by hand, so that it holds the request once: an `async fn` keeps its arguments as well.
    pub fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Response<ReplyBody>> + Send {
        let (mut head, body) = request.into_parts();
        async move {
            if let Some(questions) = &connection.decision {
                // Boxed: what is forwarded need not carry the room for this.
                return Box::pin(self.answer_question(Request::from_parts(head, body), connection, questions)).await;
            }
            let mut cx = context::of(&head.headers, connection, self.time.now_millis(), &self.config.trusted_proxies);
            let span = self.begin(&head.headers, &head.method, &mut cx);
            let watched = self.observer.begin(connection, &head.method);
            let mut seen = Seen::default();
            let mut response = match span.around(self.answer(&mut head, body, &cx, &mut seen)).await {
                Ok(response) => response,
                Err(error) => self.refuse(&error, &cx, &mut seen),
            };
            response.headers_mut().insert(REQUEST_ID, cx.id.header().clone());
            self.observer.end(watched, &cx, &seen, &response);
            span.end(response.status(), seen.code, || told::of(&cx, &seen, &self.config));
            response
        }
    }

    /// The span of a request, whose trace is then known.
    fn begin(&self, headers: &HeaderMap, method: &Method, cx: &mut Context) -> Serving {
        let peer = cx.connection.peer().ip();
        let trusted = || peer.is_some_and(|peer| is_trusted(peer, &self.config.trusted_proxies));
        let span = self.spans.begin(headers, method, (cx.moment, cx.started), trusted);
        cx.trace = span.trace().or(cx.trace);
        span
    }

    /// Returns once no renewal is under way: what an authority outside has given by then is kept.
    pub async fn quiet(&self) {
        if let Some(renewals) = self.proxy.auth().own().and_then(|own| own.renewals.as_ref()) {
            renewals.quiet().await;
        }
    }

    async fn answer(
        &self,
        head: &mut Parts,
        body: Incoming,
        cx: &Context,
        seen: &mut Seen,
    ) -> Result<Response<ReplyBody>, ProxyError> {
        match self.own(&head.method, &head.uri, &head.headers, cx)? {
            Some(Own::Document(document)) => Ok(document.answer(&head.method)?),
            Some(Own::Endpoint(endpoints, mount)) => {
                let request = with_head(head, body);
                seen.endpoint = Some(endpoints.label(mount));
                // Boxed: forwarded requests are many, and need not carry the room for this one.
                let answer = Box::pin(endpoints.answer(mount, request, cx)).await;
                if let Some(refused) = answer.refused {
                    seen.code = Some(refused.code);
                    seen.cause = refused.cause;
                }
                Ok(answer.response.map(ResponseBody::from))
            }
            None => self.proxy.forward(head, body, cx, seen).await,
        }
    }

    /// What comes before the routes: the limits of the listener, and what is served here.
    fn own(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        cx: &Context,
    ) -> Result<Option<Own<'_>>, ProxyError> {
        limits::check_head(method, uri, headers, cx.connection.head_limits)?;
        let own = self.find(uri.path());
        if own.is_some() {
            one_host(uri, headers)?;
        }
        Ok(own)
    }

    /// What is served here at `path`, in whatever way the path is written.
    fn find(&self, path: &str) -> Option<Own<'_>> {
        let at = |path: &str| {
            let endpoint = || self.endpoints.as_ref().and_then(|all| all.find(path).map(|m| Own::Endpoint(all, m)));
            self.documents.find(path).map(Own::Document).or_else(endpoint)
        };
        let found = at(path);
        // Few paths are written with either, so that the others are looked at once.
        let another_spelling =
            found.is_none() && may_be_respelled(path) && !(self.documents.is_empty() && self.endpoints.is_none());
        if another_spelling { canonical(path).ok().and_then(|path| at(path.as_str())) } else { found }
    }

    fn refuse(&self, error: &ProxyError, cx: &Context, seen: &mut Seen) -> Response<ReplyBody> {
        let problem = Problem::of(error);
        seen.failed(error, problem.code);
        let mut response = self.response(&problem, cx).map(ResponseBody::from);
        self.proxy.decorate_refusal(seen, response.headers_mut());
        response
    }

    /// The answer that tells a client of `problem`.
    pub fn response(&self, problem: &Problem, cx: &Context) -> Response<Bytes> {
        problem.response(&self.realm, &cx.id)
    }

    /// The key set of the internal JWT, if it is served at `path`.
    pub fn key_set(&self, path: &str) -> Option<Bytes> {
        self.documents.key_set(path)
    }

    /// What the routes that observe have let pass.
    pub fn observed(&self) -> Vec<RouteReport> {
        self.observer.reports(self.time.now())
    }

    /// Begins those counts anew, all or of one route; how many that are.
    pub fn reset_observed(&self, route: Option<&str>) -> usize {
        self.observer.reset(route, self.time.now())
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The same, with somebody who is told of its requests.
    pub fn with_spans(self, spans: Spans) -> Gate {
        Gate { spans, ..self }
    }

    /// Where the spans of its requests go.
    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The token endpoints, where the configuration has an authority.
    pub fn endpoints(&self) -> Option<&Endpoints> {
        self.endpoints.as_ref()
    }

    pub fn issuers(&self) -> &[Issuer] {
        self.proxy.auth().issuers()
    }

    pub fn minter(&self) -> Option<Arc<Minter>> {
        self.proxy.auth().minter().cloned()
    }

    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        self.proxy.upstreams()
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
