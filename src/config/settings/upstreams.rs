//! Where requests go.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Account, AuthorizeAt, Format, Pairs, Protocol, Remote, RemoteClient, Span};

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
    /// One token of sidegate's own, for all requests to this upstream.
    Service(Box<Service>),
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

/// One token of sidegate's own, got from an authority outside and renewed ahead of time.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// What the authority speaks: oauth2, redex, consinco, or the name of one of `dialects`.
    pub dialect: Option<String>,
    /// oauth2: where its metadata stand below (RFC 8414, OpenID Connect Discovery).
    pub issuer: Option<String>,
    /// oauth2 without metadata: the token endpoint. The others: the URL that their paths stand below.
    pub url: Option<String>,
    /// redex and consinco: below `url`, where a token is got. Default: as published.
    pub token_path: Option<String>,
    /// redex and consinco: below `url`, where it is renewed. Default: as published.
    pub refresh_path: Option<String>,
    /// Who sidegate is to the authority.
    pub client: RemoteClient,
    /// What it signs in with there. Without one: as a client on its own behalf (client_credentials).
    pub account: Option<Account>,
    /// oauth2, and what `dialects` tell of: what is asked for. Default: nothing.
    pub scopes: Option<Vec<String>>,
    /// oauth2: further parameters of each request, for example audience.
    pub parameters: Pairs<String>,
    /// consinco: json or xml. Default: json.
    pub format: Option<Format>,
    /// consinco: the company of an account that names none.
    pub company: Option<String>,
    /// Instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// For one call. Default: 5s.
    pub timeout: Option<Span>,
}

impl Service {
    /// The same as an authority at which no user signs in.
    pub fn as_remote(&self) -> Remote {
        Remote {
            dialect: self.dialect.clone(),
            issuer: self.issuer.clone(),
            url: self.url.clone(),
            token_path: self.token_path.clone(),
            refresh_path: self.refresh_path.clone(),
            client: self.client.clone(),
            scopes: self.scopes.clone(),
            parameters: self.parameters.clone(),
            format: self.format,
            company: self.company.clone(),
            authorize: Some(AuthorizeAt::Password),
            ca_file: self.ca_file.clone(),
            timeout: self.timeout,
            ..Remote::default()
        }
    }
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
