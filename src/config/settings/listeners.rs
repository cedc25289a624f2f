//! Where clients connect.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Size, Span};

/// One address that clients connect to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// Label in metrics and logs. Default: main.
    pub name: Option<String>,
    /// host:port, or unix:/run/sidegate.sock; port 0 takes a free one.
    pub address: Option<String>,
    /// HTTP versions; http2 without tls is h2c by prior knowledge. Default: both.
    pub protocols: Option<Vec<Protocol>>,
    /// Absent: plain text.
    pub tls: Option<ListenerTls>,
    /// `required` (v1 and v2): only from `trusted_proxies`. Default: off.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Decide for another proxy instead of forwarding. Absent: forward.
    pub decision: Option<Decision>,
    /// What one listener carries at the most.
    pub limits: Limits,
}

/// A proxy asks here whether a request of its client may go on.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decision {
    /// Where the proxy says what is asked about.
    pub from: Option<DecisionFrom>,
    /// With `envoy`: the `path_prefix` of its http_service, which it puts before the path. Default: none.
    pub path_prefix: Option<String>,
}

/// Where a proxy says what is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DecisionFrom {
    /// X-Original-Method, X-Original-URI and Host (auth_request).
    Nginx,
    /// X-Forwarded-Method, X-Forwarded-Uri and X-Forwarded-Host (Traefik, Caddy).
    Forwarded,
    /// The method, the path and the Host of the question itself (ext_authz by HTTP).
    Envoy,
}

/// An HTTP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Http1,
    Http2,
}

/// Whether a PROXY protocol header comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    Off,
    Required,
}

/// TLS on a listener.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerTls {
    /// The certificate chain, PEM, the server's own first.
    pub certificate_file: Option<PathBuf>,
    /// The private key, PEM.
    pub key_file: Option<PathBuf>,
    /// Whether clients show a certificate. Default: off.
    pub client_certificates: Option<ClientCertificates>,
    /// Who signs the clients' certificates; needed unless `off`.
    pub client_ca_file: Option<PathBuf>,
    /// The oldest version spoken. Default: "1.2".
    pub min_version: Option<TlsVersion>,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    Off,
    Optional,
    Required,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// What one listener carries at the most.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open at once; a further one waits in the kernel's backlog. Default: 10000.
    pub connections: Option<usize>,
    /// Request line and headers together; more: 431. Default: 32KiB.
    pub header_bytes: Option<Size>,
    /// Number of headers; more: 431. Default: 100.
    pub header_count: Option<usize>,
    /// From the first byte of a request head to its end. Default: 10s.
    pub header_read_timeout: Option<Span>,
    /// A kept-alive connection without a request. Default: 75s.
    pub idle_timeout: Option<Span>,
    /// Concurrent streams a connection. Default: 128.
    pub http2_streams: Option<u32>,
    /// Streams reset and not yet accounted for (rapid reset). Default: 20.
    pub http2_pending_resets: Option<usize>,
}

/// Probes and metrics.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Side {
    /// host:port, or unix:/path.
    pub address: Option<String>,
}

/// What operators ask.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// host:port on loopback, or unix:/path.
    pub address: Option<String>,
    /// A file with the token that sessions are listed and revoked with; absent: they are not.
    pub token_file: Option<PathBuf>,
}
