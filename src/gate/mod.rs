//! Every request: `handle` observes and cannot fail, `answer` may use `?`; below them the one table error → status.

mod context;
mod documents;
mod observe;
mod problem;
pub mod status;

use std::sync::Arc;

use http::{HeaderName, Request, Response};
use hyper::body::Incoming;

use self::{
    documents::Documents,
    observe::Observer,
    problem::{Problem, Realm},
};
use crate::{
    auth::Issuer,
    config::Config,
    jose::mint::Minter,
    model::{Connection, Context, Time},
    proxy::{
        Proxy, ProxyError, Seen, headers, limits,
        upstream::{ResponseBody, Upstream},
    },
    telemetry::metrics::Metrics,
};

/// One generation of everything that a reload replaces.
pub struct Gate {
    config: Arc<Config>,
    proxy: Proxy,
    generation: u64,
    time: Time,
    realm: Realm,
    observer: Observer,
    documents: Documents,
}

/// What the client receives.
pub type ReplyBody = ResponseBody;

impl Gate {
    pub fn new(config: Arc<Config>, proxy: Proxy, generation: u64, time: Time, metrics: &Metrics) -> Gate {
        Gate {
            realm: Realm::new(&config.resource),
            observer: Observer::new(&config, metrics),
            documents: Documents::new(&config, proxy.auth().minter().map(AsRef::as_ref)),
            proxy,
            generation,
            time,
            config,
        }
    }

    /// Answers one request. Never fails: every error has become a response.
    pub async fn handle(&self, request: Request<Incoming>, connection: &Arc<Connection>) -> Response<ReplyBody> {
        let cx = context::of(&request, connection, self.time.now(), &self.config.trusted_proxies);
        let watched = self.observer.begin(connection, request.method());
        let mut seen = Seen::default();
        let mut response = match self.answer(request, &cx, &mut seen).await {
            Ok(response) => response,
            Err(error) => self.refuse(&error, &cx, &mut seen),
        };
        response.headers_mut().insert(REQUEST_ID, cx.id.header().clone());
        self.observer.end(watched, &cx, &seen, &response);
        response
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        cx: &Context,
        seen: &mut Seen,
    ) -> Result<Response<ReplyBody>, ProxyError> {
        if let Some(listener) = self.config.listeners.get(cx.connection.listener) {
            limits::check_head(request.method(), request.uri(), request.headers(), &listener.limits)?;
        }
        match self.documents.find(request.uri().path()) {
            Some(document) => {
                headers::one_host(request.uri(), request.headers())?;
                Ok(document.answer(request.method())?)
            }
            None => self.proxy.forward(request, cx, seen).await,
        }
    }

    fn refuse(&self, error: &ProxyError, cx: &Context, seen: &mut Seen) -> Response<ReplyBody> {
        let problem = Problem::of(error);
        seen.failed(error, problem.code);
        let mut response = problem.response(&self.realm, &cx.id).map(ResponseBody::from);
        self.proxy.decorate_refusal(seen, response.headers_mut());
        response
    }

    /// The key set of the internal JWT, if it is served at `path`.
    pub fn key_set(&self, path: &str) -> Option<bytes::Bytes> {
        self.documents.key_set(path)
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn proxy(&self) -> &Proxy {
        &self.proxy
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
