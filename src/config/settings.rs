//! The configuration file exactly as it is written. What is left out gets its default where it is checked.

mod authority;
mod declared;
mod dialects;
mod issuers;
mod listeners;
mod remote;
mod routes;
mod running;
mod store;
mod traces;
mod upstreams;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::{
    authority::*, declared::*, dialects::*, issuers::*, listeners::*, remote::*, routes::*, running::*, store::*,
    traces::*, upstreams::*,
};
pub use super::units::{Pairs, Size, Span};

/// The configuration of sidegate.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "sidegate configuration")]
pub struct Settings {
    /// Where clients connect; without any: 127.0.0.1:8080.
    pub listeners: Option<Vec<Listener>>,
    /// Probes and metrics; absent: off.
    pub health: Option<Side>,
    /// /status and the sessions, on loopback only; absent: off.
    pub admin: Option<Admin>,
    /// Networks whose Forwarded / X-Forwarded-* (and PROXY header) are believed, e.g. 10.0.0.0/8.
    pub trusted_proxies: Vec<String>,
    /// Who is believed.
    pub issuers: Vec<Issuer>,
    /// Token endpoints of our own; absent: off.
    pub authority: Option<Authority>,
    /// Token APIs of your own, which `authority` serves or speaks.
    pub dialects: Vec<DeclaredDialect>,
    /// Where the sessions of `authority` are kept.
    pub store: Store,
    /// The master keys of `authority`.
    pub keys: Keys,
    /// When what is about to expire is renewed.
    pub refresh: Refresh,
    /// The token that upstreams with `credential: internal_jwt` receive.
    pub internal_jwt: Option<InternalJwt>,
    /// Where requests go.
    pub upstreams: Vec<Upstream>,
    /// Which request goes to which upstream, and what its token must say.
    pub routes: Vec<Route>,
    /// What is remembered of tokens that were validated.
    pub cache: Cache,
    /// What is logged.
    pub log: Log,
    /// Who is told of the way of requests.
    pub traces: Traces,
    /// RFC 9728 metadata, named in the challenges.
    pub resource: Resource,
    /// How a new configuration is taken over while the program runs.
    pub reload: Reload,
    /// How the program ends.
    pub drain: Drain,
    /// Worker threads; 0: as many as the CPU quota allows, at least one. Default: 0.
    pub workers: Option<usize>,
}
