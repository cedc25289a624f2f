//! Which request goes where, and what its token must say.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Pairs, Size, Span, Timeouts};

/// Which request goes to which upstream, and what its token must say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// Label in metrics and logs.
    pub name: Option<String>,
    /// Exact names or *.example.com; empty: any.
    pub hosts: Vec<String>,
    /// Literal, {one_segment}, and a trailing /* for everything below.
    pub paths: Vec<String>,
    /// Empty: any.
    pub methods: Vec<String>,
    /// The name of an upstream.
    pub upstream: Option<String>,
    /// No authentication. Default: false.
    pub public: Option<bool>,
    /// observe: evaluate, count and log, but forward. Default: enforce.
    pub mode: Option<Mode>,
    /// What the token must say.
    pub policy: Option<Policy>,
    /// Where the token stands.
    pub token: Token,
    /// The Host that the upstream sees: preserve, upstream or a name. Default: preserve.
    pub host: Option<String>,
    /// Taken from the front of the path after policy; the result is checked again.
    pub strip_prefix: Option<String>,
    /// Put before the path after policy; the result is checked again.
    pub add_prefix: Option<String>,
    /// %2F within a segment. Default: false.
    pub allow_encoded_slashes: Option<bool>,
    /// 0: no limit. Default: 10MiB.
    pub max_body_bytes: Option<Size>,
    /// How many requests to each replica; absent: no limit.
    pub rate_limit: RateLimit,
    /// Cross-origin requests of browsers; absent: no special treatment.
    pub cors: Option<Cors>,
    /// Override headers that are otherwise dropped, e.g. X-HTTP-Method-Override.
    pub pass_headers: Vec<String>,
    /// When a stream that outlives its token is closed (a WebSocket or another upgrade, events, gRPC, a body of unknown
    /// length). keep: never; close_at_expiry: with the token or the session; close_when_session_ends: only with the
    /// session, or with the key of a token of others. Default: close_when_session_ends.
    pub on_expiry: Option<OnExpiry>,
    /// What the credential that the upstream is shown must have left when a request begins; well below what it has when it
    /// is new. What has less is renewed first, or the request refused. Default: 0s.
    pub min_life: Option<Span>,
    /// What becomes of a request to which the upstream answers 401.
    pub replay: Replay,
    /// Overrides the upstream's.
    pub timeouts: Timeouts,
}

/// What happens to a request that is refused for its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Enforce,
    Observe,
}

/// When a stream that outlives its token is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    Keep,
    CloseAtExpiry,
    CloseWhenSessionEnds,
}

/// What becomes of a request to which the upstream answers 401, where it was shown an internal JWT, the token of the
/// authority outside or one of sidegate's own: that is renewed and the request sent once more.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Replay {
    /// false: the answer goes to the client as it came, and nothing is renewed for it. Default: true.
    pub on_401: Option<bool>,
    /// How much of a body is kept in memory so that it can be sent once more, for each request under way; a request with a
    /// longer one is not repeated. All together that is at most as many times this as there can be requests under way
    /// (`limits.connections` of the listeners, times `limits.http2_streams` for HTTP/2), and only clients with a good token have
    /// anything kept. 0: only requests without a body. Default: 64KiB.
    pub max_body_bytes: Option<Size>,
}

/// What the token must say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Names of issuers; empty: any configured.
    pub issuers: Vec<String>,
    /// Mandatory: one of them stands in the token's `aud`.
    pub audiences: Vec<String>,
    /// All of these scopes.
    pub scopes_all: Vec<String>,
    /// At least one of these scopes.
    pub scopes_any: Vec<String>,
    /// `client_id` or `azp`; empty: any.
    pub clients: Vec<String>,
    /// Each claim must be there with one of these values (or contain one, if it is a list).
    pub claims: Pairs<Vec<String>>,
}

/// Where the token stands.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Token {
    /// A header other than Authorization carries the bare token. Default: Authorization.
    pub header: Option<String>,
    /// A legacy client's way; removed before forwarding, never logged.
    pub query_parameter: Option<String>,
    /// The `id` of the client for which HTTP Basic (name and password of a user) is taken in place of a token.
    pub basic: Option<String>,
}

/// How many requests.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// By the token's subject.
    pub per_principal: Option<Rate>,
    /// By the client's address.
    pub per_address: Option<Rate>,
}

/// A rate and what may come at once.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// So many requests …
    pub requests: Option<u32>,
    /// … in this time. Default: 1s.
    pub per: Option<Span>,
    /// Requests that may come at once. Default: `requests`.
    pub burst: Option<u32>,
}

/// Cross-origin requests of browsers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// answer: here; forward: by the upstream, without a token. Default: answer.
    pub preflight: Option<Preflight>,
    /// `https://app.example.com`, or `"*"` (not with `credentials`).
    pub origins: Vec<String>,
    /// Default: GET, POST, PUT, PATCH, DELETE.
    pub methods: Option<Vec<String>>,
    /// Request headers. Default: authorization, content-type.
    pub headers: Option<Vec<String>>,
    /// Response headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// Cookies and client certificates. Default: false.
    pub credentials: Option<bool>,
    /// How long a browser keeps the answer. Default: 10m.
    pub max_age: Option<Span>,
}

/// Who answers a preflight request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preflight {
    Answer,
    Forward,
}
