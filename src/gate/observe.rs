//! What is noted of every request: metrics always, a log line as `log.access` says.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Method, Response};

use super::trial::{Known, RouteReport, Trial, Trials};
use crate::{
    auth::Whose,
    config::{AccessLog, Config, LOCAL, LOCAL_ISSUER, Route},
    endpoints::Mount,
    model::{Connection, Context, UnixTime},
    proxy::{Seen, upstream::UpstreamError},
    telemetry::{
        metrics::{ListenerMetrics, Metrics, RouteMetrics, RouteObserved, bounded},
        reason::Reason,
        recent::recent,
    },
};

pub struct Observer {
    routes: Vec<RouteMetrics>,
    /// By route; `None` where it enforces, or is public.
    trials: Vec<Option<(Arc<Trial>, RouteObserved)>>,
    /// Issuers by their place in the configuration, and the clients that it names anywhere.
    issuer_names: Vec<Arc<str>>,
    client_names: HashSet<Arc<str>>,
    /// Requests that no route covers, or that were refused before a route was found.
    unrouted: RouteMetrics,
    /// Endpoints of ours, by name.
    endpoints: Vec<(Cow<'static, str>, RouteMetrics)>,
    route_names: Vec<Arc<str>>,
    /// By route: where errors of its upstream are noted.
    upstreams: Vec<String>,
    listeners: Vec<(Arc<str>, ListenerMetrics)>,
    access: AccessLog,
    since_sample: AtomicU32,
}

/// A request under observation; in flight until it is dropped.
pub struct Watched<'a> {
    listener: Option<&'a ListenerMetrics>,
    method: Method,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if let Some(listener) = self.listener {
            listener.in_flight.dec();
        }
    }
}

impl Observer {
    pub fn new(config: &Config, metrics: &Metrics, trials: &Trials, now: UnixTime) -> Observer {
        let labelled = || config.routes.iter().enumerate().map(|(index, route)| (route, bounded(index, &route.name)));
        let trial = |route: &Route, label: &str| (trials.of(&route.name, now), metrics.observed.route(label));
        let observes = |route: &Route| route.observe && route.policy.is_some();
        Observer {
            routes: labelled().map(|(_, label)| metrics.route(label)).collect(),
            trials: labelled().map(|(route, label)| observes(route).then(|| trial(route, label))).collect(),
            issuer_names: config.issuers.iter().map(|issuer| issuer.name.clone()).collect(),
            client_names: named_clients(config),
            unrouted: metrics.route(UNROUTED),
            endpoints: match &config.authority {
                Some(authority) => {
                    let labels =
                        Mount::all(&authority.endpoints).into_iter().map(|mount| mount.label(&authority.endpoints));
                    labels.map(|label| (label.clone(), metrics.route(&label))).collect()
                }
                None => Vec::new(),
            },
            route_names: config.routes.iter().map(|route| route.name.clone()).collect(),
            upstreams: config
                .routes
                .iter()
                .map(|route| format!("upstream {}", config.upstreams[route.upstream].name))
                .collect(),
            listeners: config
                .listeners
                .iter()
                .map(|listener| (listener.name.clone(), metrics.listener(&listener.name)))
                .collect(),
            access: config.log.access,
            since_sample: AtomicU32::new(0),
        }
    }

    /// The values of the `route` label.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let routes = self.route_names.iter().enumerate().map(|(index, name)| bounded(index, name));
        routes.chain(self.endpoints.iter().map(|(name, _)| &**name)).chain([UNROUTED])
    }

    pub fn begin(&self, connection: &Connection, method: &Method) -> Watched<'_> {
        let mut listeners = self.listeners.iter();
        let listener = listeners.find(|(name, _)| *name == connection.listener).map(|(_, metrics)| metrics);
        if let Some(listener) = listener {
            listener.in_flight.inc();
        }
        Watched { listener, method: method.clone() }
    }

    pub fn end<B>(&self, watched: Watched<'_>, cx: &Context, seen: &Seen, response: &Response<B>) {
        let took = Instant::now().saturating_duration_since(cx.started);
        let own = took.saturating_sub(seen.upstream);
        let endpoint =
            || self.endpoints.iter().find(|(name, _)| seen.endpoint.as_ref() == Some(name)).map(|(_, metrics)| metrics);
        let route = seen.route.map(|route| &self.routes[route]).or_else(endpoint).unwrap_or(&self.unrouted);
        route.answered(&watched.method, response.status(), took);
        if let Some(reason) = seen.reason {
            route.decided(reason);
            self.note_trial(reason, cx, seen);
        }
        if let Some(listener) = watched.listener {
            listener.overhead.observe(own.as_secs_f64());
        }
        if let (Some(upstream), Some(cause)) = (seen.route.map(|route| &self.upstreams[route]), &seen.cause)
            && seen.code.is_some_and(|code| UpstreamError::CODES.contains(&code))
        {
            recent().note(upstream, cause, "");
        }
        let failed = seen.code.is_some() || response.status().is_server_error();
        if self.logs(failed) {
            self.log(&watched.method, cx, seen, response.status().as_u16(), took);
        }
    }

    fn note_trial(&self, reason: Reason, cx: &Context, seen: &Seen) {
        let Some(Some((trial, metrics))) = seen.route.map(|route| &self.trials[route]) else { return };
        // Limits hold in any mode, and say nothing of the token.
        if reason == Reason::RateLimited {
            return;
        }
        trial.seen(cx.now);
        if seen.observed {
            metrics.refused(reason);
            let known = seen.whose.as_deref().map(|whose| self.known(whose));
            trial.refused(reason, seen.code.unwrap_or_default(), known, &cx.id, cx.now);
        }
    }

    fn known(&self, whose: &Whose) -> Known {
        let local = || (whose.issuer == LOCAL_ISSUER).then(|| LOCAL.into());
        Known {
            issuer: self.issuer_names.get(whose.issuer).cloned().or_else(local),
            client: whose.client.as_ref().and_then(|client| self.client_names.get(client)).cloned(),
        }
    }

    /// What the routes that observe have let pass, in the order of the configuration.
    pub fn reports(&self, now: UnixTime) -> Vec<RouteReport> {
        let trials = self.route_names.iter().zip(&self.trials);
        trials.filter_map(|(name, trial)| Some(trial.as_ref()?.0.report(name, now))).collect()
    }

    /// The decisions on the requests of a route since the start, those that there were.
    pub fn decisions(&self, route: usize) -> impl Iterator<Item = (Reason, u64)> {
        self.routes[route].decisions().filter(|(_, count)| *count > 0)
    }

    /// Begins the count of the routes that observe anew, or of the one of this name alone; how many that are.
    pub fn reset(&self, route: Option<&str>, now: UnixTime) -> usize {
        let trials = self.route_names.iter().zip(&self.trials);
        let wanted = trials.filter(|(name, _)| route.is_none_or(|route| *route == ***name));
        wanted.filter_map(|(_, trial)| trial.as_ref()).map(|(trial, _)| trial.reset(now)).count()
    }

    fn logs(&self, failed: bool) -> bool {
        match self.access {
            AccessLog::All => true,
            _ if failed => true,
            AccessLog::Refused => false,
            AccessLog::Sampled(one_in) => {
                self.since_sample.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in.max(1))
            }
        }
    }

    /// Neither path nor query: both carry tokens in the wild. The route says where the request went.
    fn log(&self, method: &Method, cx: &Context, seen: &Seen, status: u16, took: Duration) {
        tracing::info!(
            target: "sidegate::access",
            route = seen.route.map_or(seen.endpoint.as_deref().unwrap_or(UNROUTED), |route| &*self.route_names[route]),
            method = method.as_str(),
            status,
            decision = seen.reason.map_or("none", Reason::as_str),
            code = seen.code,
            cause = seen.cause,
            observed = seen.observed.then_some(true),
            asked = seen.asked.then_some(true),
            replayed = seen.replayed.then_some(true),
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            upstream_us = u64::try_from(seen.upstream.as_micros()).unwrap_or(u64::MAX),
            client = cx.client.map(tracing::field::display),
            request_id = cx.id.as_str(),
            trace_id = cx.trace.as_ref().map(|trace| trace.as_str()),
            "request"
        );
    }
}

fn named_clients(config: &Config) -> HashSet<Arc<str>> {
    let own = config.authority.iter().flat_map(|authority| authority.clients.keys().map(String::as_str));
    let policies = config.routes.iter().filter_map(|route| route.policy.as_ref());
    own.chain(policies.flat_map(|policy| policy.clients.iter().map(String::as_str))).map(Arc::from).collect()
}

/// The `route` label of requests without one; no route may be called so.
const UNROUTED: &str = "none";
