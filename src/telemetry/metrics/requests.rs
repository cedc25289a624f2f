//! The families of requests, by route and by listener.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, StatusCode};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Families, Metrics, REQUEST_BUCKETS};
use crate::telemetry::reason::Reason;

pub(super) struct RequestFamilies {
    requests: IntCounterVec,
    duration: HistogramVec,
    overhead: HistogramVec,
    in_flight: IntGaugeVec,
    decisions: IntCounterVec,
    streams_closed: IntCounterVec,
    upgrades: IntGaugeVec,
    grpc: IntCounterVec,
}

/// The handles of one route.
pub struct RouteMetrics {
    /// By method (see [`METHODS`]) and class of status, 1xx to 5xx.
    requests: Box<[[IntCounter; 5]]>,
    duration: Histogram,
    decisions: Box<[IntCounter]>,
}

/// The handles of one listener.
pub struct ListenerMetrics {
    pub in_flight: IntGauge,
    pub overhead: Histogram,
}

/// What goes on after the head of a response: the handles of one route.
pub struct StreamMetrics {
    closed: [IntCounter; Closed::ALL.len()],
    upgrades: IntGauge,
    /// By status, see [`GRPC`]; `None` where the upstream does not speak HTTP/2.
    grpc: Option<Box<[IntCounter; GRPC.len()]>>,
}

/// Why a stream was closed before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Closed {
    TokenExpired,
    SessionEnded,
    KeyGone,
}

/// One of something that goes on until it is dropped.
pub struct Ongoing(IntGauge);

impl RequestFamilies {
    pub(super) fn new(family: &Families<'_>) -> RequestFamilies {
        RequestFamilies {
            requests: family.counters(
                "http_requests_total",
                "Requests answered, by route, method and class of status.",
                &["route", "method", "code"],
            ),
            duration: family.histograms(
                "http_request_duration_seconds",
                "Seconds from the head of the request to the head of the response.",
                &["route"],
                REQUEST_BUCKETS,
            ),
            overhead: family.histograms(
                "http_overhead_seconds",
                "Seconds spent in sidegate itself until the head of the response: the request's time less the upstream's.",
                &["listener"],
                OVERHEAD_BUCKETS,
            ),
            in_flight: family.gauges(
                "http_requests_in_flight",
                "Requests whose response has not been started.",
                &["listener"],
            ),
            decisions: family.counters(
                "auth_decisions_total",
                "Decisions of authentication and policy; with `mode: observe`, what would have been decided.",
                &["route", "result", "reason"],
            ),
            streams_closed: family.counters(
                "streams_closed_total",
                "Streams that were closed since they had outlived their token, by route and reason.",
                &["route", "reason"],
            ),
            upgrades: family.gauges(
                "upgrades_open",
                "Connections that have left HTTP and are open: WebSockets and other upgrades.",
                &["route"],
            ),
            grpc: family.counters(
                "grpc_responses_total",
                "Answers of gRPC services, by their status; none: they ended without one.",
                &["route", "grpc_code"],
            ),
        }
    }
}

impl Metrics {
    pub fn route(&self, route: &str) -> RouteMetrics {
        let family = &self.requests;
        let by_class = |method: &str| CLASSES.map(|class| family.requests.with_label_values(&[route, method, class]));
        RouteMetrics {
            requests: METHODS.iter().map(|method| by_class(method)).collect(),
            duration: family.duration.with_label_values(&[route]),
            decisions: Reason::ALL
                .iter()
                .map(|reason| family.decisions.with_label_values(&[route, reason.result(), reason.as_str()]))
                .collect(),
        }
    }

    pub fn listener(&self, listener: &str) -> ListenerMetrics {
        ListenerMetrics {
            in_flight: self.requests.in_flight.with_label_values(&[listener]),
            overhead: self.requests.overhead.with_label_values(&[listener]),
        }
    }

    /// `grpc`: it leads to an upstream that may answer so.
    pub fn streams(&self, route: &str, grpc: bool) -> Arc<StreamMetrics> {
        let family = &self.requests;
        Arc::new(StreamMetrics {
            closed: Closed::ALL.map(|reason| family.streams_closed.with_label_values(&[route, reason.as_str()])),
            upgrades: family.upgrades.with_label_values(&[route]),
            grpc: grpc.then(|| Box::new(GRPC.map(|code| family.grpc.with_label_values(&[route, code])))),
        })
    }
}

impl RouteMetrics {
    /// Counts one answered request.
    pub fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        self.requests[method_index(method)][class(status)].inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub fn decided(&self, reason: Reason) {
        self.decisions[reason as usize].inc();
    }

    pub fn decisions(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason, self.decisions[reason as usize].get()))
    }
}

impl StreamMetrics {
    pub fn closed(&self, reason: Closed) {
        self.closed[reason as usize].inc();
    }

    pub fn upgraded(&self) -> Ongoing {
        self.upgrades.inc();
        Ongoing(self.upgrades.clone())
    }

    /// Whether answers of gRPC services may come on this route.
    pub fn counts_grpc(&self) -> bool {
        self.grpc.is_some()
    }

    /// Counts an answer of a gRPC service that ended with this `grpc-status`, or with none.
    pub fn grpc_ended(&self, status: Option<&HeaderValue>) {
        let number = status.map(|status| status.to_str().ok().and_then(|status| status.parse::<usize>().ok()));
        let index = match number {
            None => NO_GRPC_STATUS,
            // What is no status means UNKNOWN.
            Some(number) => number.filter(|number| *number < NO_GRPC_STATUS).unwrap_or(2),
        };
        if let Some(counters) = &self.grpc {
            counters[index].inc();
        }
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Closed {
    const ALL: [Closed; 3] = [Closed::TokenExpired, Closed::SessionEnded, Closed::KeyGone];

    pub fn as_str(self) -> &'static str {
        match self {
            Closed::TokenExpired => "token_expired",
            Closed::SessionEnded => "session_ended",
            Closed::KeyGone => "key_gone",
        }
    }
}

/// The index of a status in [`CLASSES`].
pub(super) fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::PATCH => 5,
        Method::OPTIONS => 6,
        Method::CONNECT => 7,
        Method::TRACE => 8,
        _ => 9,
    }
}

/// The values of the `method` label.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "other"];

/// The values of the `code` label.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The values of the `grpc_code` label: the statuses of gRPC from 0 on, and none.
const GRPC: [&str; 18] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
    "none",
];
const NO_GRPC_STATUS: usize = GRPC.len() - 1;

const OVERHEAD_BUCKETS: &[f64] =
    &[0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 1.0];
