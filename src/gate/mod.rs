//! Every request: `handle` observes and cannot fail, `answer` may use `?`; below them the one table error → status.

mod observe;
mod problem;
pub mod status;

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use self::{
    observe::Observer,
    problem::{Problem, Realm},
};
use crate::{
    auth::Issuer,
    config::{Config, Listener},
    jose::mint::Minter,
    model::{Connection, Context, Time},
    proxy::{Proxy, ProxyError, Seen, context, upstream::{ResponseBody, Upstream}},
    server_hooks::Drains,
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
    /// The documents that sidegate serves itself, by path.
    documents: Vec<(String, Document)>,
}

struct Document {
    media_type: &'static str,
    body: Bytes,
}

/// What the client receives.
pub type ReplyBody = ResponseBody;

impl Gate {
    pub fn new(config: Arc<Config>, proxy: Proxy, generation: u64, time: Time, metrics: &Metrics) -> Gate {
        let metadata = config.resource.identifier.as_ref().map(|identifier| metadata_url(identifier));
        Gate {
            realm: Realm { realm: config.resource.realm.clone(), metadata },
            observer: Observer::new(&config, metrics),
            documents: documents(&config, &proxy),
            proxy,
            generation,
            time,
            config,
        }
    }

    /// Answers one request. Never fails: every error has become a response.
    pub async fn handle(&self, request: Request<Incoming>, connection: &Arc<Connection>) -> Response<ReplyBody> {
        let started = Instant::now();
        let cx = context(&request, connection, self.time.now(), started, &self.config.trusted_proxies);
        let watched = self.observer.begin(connection, request.method());
        let mut seen = Seen::default();
        let mut response = match self.answer(request, &cx, &mut seen).await {
            Ok(response) => response,
            Err(error) => {
                seen.failed(&error);
                let mut refused = Problem::of(&error).response(&self.realm, &cx.id).map(ResponseBody::from);
                self.proxy.decorate_refusal(&seen, refused.headers_mut());
                refused
            }
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
        if let Some(listener) = self.listener(&cx.connection) {
            crate::proxy::limits::check_head(&request, &listener.limits)?;
        }
        if let Some(document) = self.document(request.uri().path()) {
            return Ok(document.answer(request.method()));
        }
        self.proxy.forward(request, cx, seen).await
    }
}
