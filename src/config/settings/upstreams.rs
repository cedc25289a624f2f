//! Where requests go.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Pairs, Protocol, Span};

/// Where requests go.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// What routes call it; label in metrics and logs.
    pub name: Option<String>,
    /// http://, https://, or unix:/run/app.sock.
    pub url: Option<String>,
    /// http1, or http2 (h2c with prior knowledge, or h2 by ALPN). Default: http1.
    pub protocol: Option<Protocol>,
    /// For https.
    pub tls: Option<UpstreamTls>,
    /// What is put on the forwarded request. Default: none.
    pub credential: Option<Credential>,
    /// Header: claim; the header is always removed from what the client sent.
    pub identity_headers: Pairs<String>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// The connections that are kept.
    pub connections: Connections,
}

/// TLS towards an upstream.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// Instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// The name in its certificate, if it is not the host of `url`.
    pub server_name: Option<String>,
    /// The certificate for mutual TLS.
    pub certificate_file: Option<PathBuf>,
    /// The key of that certificate.
    pub key_file: Option<PathBuf>,
}

/// What is put on the forwarded request in place of the client's `Authorization`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Credential {
    /// A token of our own that carries the client's identity.
    InternalJwt {
        /// Its `aud`.
        audience: Option<String>,
    },
    /// The client's own token.
    Original {},
    /// The access token that the authority outside gave for the session.
    AuthorityToken {},
    /// A fixed user.
    Basic {
        /// The user's name.
        username: Option<String>,
        /// A file with the password.
        password_file: Option<PathBuf>,
    },
    /// Nothing.
    None {},
}

/// How long an upstream may take.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Until the connection stands. Default: 2s.
    pub connect: Option<Span>,
    /// From the end of the request to the head of the response. Default: 30s.
    pub first_byte: Option<Span>,
    /// Without a byte in either direction. Default: 60s.
    pub idle: Option<Span>,
}

/// The connections to an upstream that are kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Connections {
    /// Kept open per worker. Default: 64.
    pub max_idle: Option<usize>,
    /// Closed after this long without a request. Default: 30s.
    pub idle_timeout: Option<Span>,
    /// Then closed, and the name is resolved anew. Default: 5m.
    pub max_age: Option<Span>,
}
