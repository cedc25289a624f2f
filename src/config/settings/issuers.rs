//! Who is believed, and the token of our own.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Pairs, Span};

/// Who issues tokens that are believed, and where its keys are.
///
/// One source of keys; without any of them: OpenID Connect discovery below `issuer`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Issuer {
    /// Label in metrics, logs and policies.
    pub name: Option<String>,
    /// Exactly the `iss` of its tokens.
    pub issuer: Option<String>,
    /// The discovery document.
    pub discovery_url: Option<String>,
    /// The key set.
    pub jwks_uri: Option<String>,
    /// The key set as a file.
    pub jwks_file: Option<PathBuf>,
    /// A file with a shared secret of at least 32 bytes; the only kind of issuer that may use HS256/384/512.
    pub hs_secret_file: Option<PathBuf>,
    /// RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA, or HS256 HS384 HS512 with a shared secret.
    /// Default: RS256, PS256, ES256, EdDSA; HS256 with a shared secret.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Accepted `typ` values, compared without case and `application/`; default: JWT and at+jwt, or none given.
    pub token_types: Option<Vec<String>>,
    /// Clock difference tolerated; at most 60s. Default: 30s.
    pub leeway: Option<Span>,
    /// true: /readyz is false until the keys were there once. Default: false.
    pub required: Option<bool>,
    /// Instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Keys are fetched anew this often, in the background. Default: 5m.
    pub refresh_interval: Option<Span>,
    /// Keys are kept through an outage for this long. Default: 24h.
    pub max_stale: Option<Span>,
    /// RFC 7662, for opaque tokens.
    pub introspection: Option<Introspection>,
    /// Instead of introspection, for an old server that has none: a request with the token, whose answer is the verdict.
    pub probe: Option<Probe>,
}

/// A signature algorithm of RFC 7518 or RFC 8037.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

/// Asks the issuer about opaque tokens (RFC 7662).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Introspection {
    /// The issuer's introspection endpoint.
    pub endpoint: Option<String>,
    /// Who asks.
    pub client_id: Option<String>,
    /// A file with the secret of `client_id`.
    pub client_secret_file: Option<PathBuf>,
    /// An answer is kept for this long at most; never beyond `exp`. Default: 60s.
    pub cache_ttl: Option<Span>,
    /// "Not active" is kept for this long. Default: 10s.
    pub negative_ttl: Option<Span>,
    /// Questions at once; more: 503. Default: 32.
    pub max_concurrent: Option<usize>,
    /// For one question. Default: 5s.
    pub timeout: Option<Span>,
}

/// Asks an old server about its own tokens by a request that carries the token; its status, and members of its JSON
/// answer, are the verdict. What is neither a yes nor a no (a failure, a redirect, another status) is 503, and is asked
/// again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// A cheap page of the server that needs a token: https, or http in the same pod.
    pub url: Option<String>,
    /// GET, HEAD or POST (without a body). Default: GET.
    pub method: Option<ProbeMethod>,
    /// Where the token stands: Authorization (as Bearer); another header carries the bare token. Default: Authorization.
    pub header: Option<String>,
    /// Other headers that the server wants, by name.
    pub headers: Pairs<String>,
    /// Statuses that mean yes, of 200 to 299. Default: 200.
    pub accept: Option<Vec<u32>>,
    /// Statuses that mean no, of 200 to 499. Default: 401 and 403.
    pub refuse: Option<Vec<u32>>,
    /// Members of the JSON answer that must have one of these values, by JSON pointer (RFC 6901); an empty list: any.
    /// An answer without such a member, or with another value, is a no.
    pub require: Pairs<Vec<serde_json::Value>>,
    /// Claim: JSON pointer of the member that it is read from.
    pub claims: Pairs<String>,
    /// `sub` where the answer has none.
    pub subject: Option<String>,
    /// `aud` where the answer has none; needed unless `claims` has `aud`.
    pub audiences: Option<Vec<String>>,
    /// `scope` where the answer has none.
    pub scopes: Option<Vec<String>>,
    /// An answer is kept for this long at most; never beyond `exp`. Default: 60s.
    pub cache_ttl: Option<Span>,
    /// A no is kept for this long. Default: 10s.
    pub negative_ttl: Option<Span>,
    /// Questions at once; more: 503. Default: 32.
    pub max_concurrent: Option<usize>,
    /// For one question. Default: 5s.
    pub timeout: Option<Span>,
}

/// How a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProbeMethod {
    Get,
    Head,
    Post,
}

/// The token that upstreams with `credential: internal_jwt` receive.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InternalJwt {
    /// Its `iss`. Default: `https://sidegate.internal`.
    pub issuer: Option<String>,
    /// ES256, RS256, EdDSA or HS256. Default: ES256.
    pub algorithm: Option<Algorithm>,
    /// PKCS#8 PEM, or the secret for HS256; without it a key is made at start (not for HS256).
    pub key_file: Option<PathBuf>,
    /// Never beyond the client's token. Default: 120s.
    pub lifetime: Option<Span>,
    /// Where the key set is served, on the listeners and on `health`. Default: /.well-known/sidegate/jwks.json
    pub jwks_path: Option<String>,
}
