//! Traces.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Pairs, Span};

/// Where spans go.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// To an OpenTelemetry collector, by a build that has the feature `otlp`. Absent: off.
    pub otlp: Option<Otlp>,
}

/// A collector that takes OTLP over HTTP, in protobuf.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// Where it takes traces, e.g. http://127.0.0.1:4318/v1/traces.
    pub url: Option<String>,
    /// The share of requests to record, 0 to 1, where no `traceparent` decides. Default: 1.
    pub sample: Option<f64>,
    /// Whose `traceparent` decides whether a request is recorded: anyone or trusted_proxies. Default: anyone.
    pub follow: Option<Follow>,
    /// What says in the traces who this is, by attribute. Default: service.name: sidegate, service.version: its version.
    pub resource: Pairs<String>,
    /// Headers for the collector, by name: the file that holds the value.
    pub header_files: Pairs<PathBuf>,
    /// Trust roots instead of the system's, for https.
    pub ca_file: Option<PathBuf>,
    /// The most time that one message may take. Default: 10s.
    pub timeout: Option<Span>,
    /// The most time that a span waits for others to go with it. Default: 1s.
    pub interval: Option<Span>,
    /// Spans that may wait; more are lost, and counted. Default: 4096.
    pub queue: Option<usize>,
}

/// Who decides whether a request is recorded, by the flag in `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    Anyone,
    TrustedProxies,
}
