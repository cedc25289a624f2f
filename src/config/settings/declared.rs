//! Token APIs that are told in the configuration instead of in code.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Pairs, RefreshTokenLength, Span};
pub use crate::config::shape::Shape;

/// A token API: what its requests, its answers and its errors look like. It can be served and spoken.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredDialect {
    /// What `authority.endpoints.declared`, metrics and logs call it.
    pub name: Option<String>,
    /// Where tokens are asked for, one for each grant.
    pub endpoints: Vec<DeclaredEndpoint>,
    /// What an endpoint answers that has no `responses` of its own. The first one that a client accepts is served; all
    /// are understood.
    pub responses: Vec<DeclaredResponse>,
    /// What is answered where nothing is given.
    pub errors: Vec<DeclaredError>,
    /// Error code of RFC 6749 to HTTP status. Default: 400; 401 for invalid_client, 503 for temporarily_unavailable, 500
    /// for server_error.
    pub statuses: Pairs<u16>,
    /// Error code of RFC 6749 to what `{code}` writes instead.
    pub codes: Pairs<String>,
    /// Error code of RFC 6749 to what `{description}` says where nothing more is known.
    pub descriptions: Pairs<String>,
    /// How moments are written.
    pub times: DeclaredTimes,
    /// Of sessions that begin here: compact, which is 36 characters, or full. Default: full.
    pub refresh_token_length: Option<RefreshTokenLength>,
    /// How long an access token lives whose answer does not say it, where the dialect is spoken. Default: 1m.
    pub lifetime: Option<Span>,
}

/// Where one grant is asked for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredEndpoint {
    /// What is given for the tokens: refresh_token, api_key, password or client_credentials.
    pub grant: Option<DeclaredGrant>,
    /// Where it is served unless `authority.endpoints.declared` says otherwise, and below the base URL where it is
    /// spoken. Endpoints at one path are told apart by the constants of their requests.
    pub path: Option<String>,
    /// The client proves itself by HTTP Basic. Default: false.
    pub basic: Option<bool>,
    /// What requests look like. The one with the media type of the request is read; the first one is spoken.
    pub requests: Vec<DeclaredRequest>,
    /// Instead of the `responses` of the dialect.
    pub responses: Vec<DeclaredResponse>,
    /// `{description}` where a member is missing, instead of its name.
    pub missing: Option<String>,
    /// `{description}` where the media type is another. Default: the media types that are taken.
    pub wrong_media_type: Option<String>,
}

/// What is given for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeclaredGrant {
    RefreshToken,
    ApiKey,
    Password,
    ClientCredentials,
}

/// One form of a request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredRequest {
    /// json, xml, form (of a POST), or query (of a GET). Default: json.
    pub form: Option<DeclaredForm>,
    /// What `Content-Type` may be; the first one is sent. Default: application/json, application/xml or
    /// application/x-www-form-urlencoded.
    pub media_types: Vec<String>,
    /// The name of the root element, for xml.
    pub root: Option<String>,
    /// The namespace of all elements, for xml. Default: none.
    pub namespace: Option<String>,
    /// What it looks like: texts are constants, which must be there, or have one of `{refresh_token}`, `{api_key}`,
    /// `{username}`, `{password}`, `{company}`, `{client_id}`, `{client_secret}` and `{scope}` in them.
    pub body: Shape,
    /// Members that may be missing, each from the root on: /auth/scope
    pub optional: Vec<String>,
    /// Members that are written and never read.
    pub ignored: Vec<String>,
    /// Placeholder to the most characters that it may have.
    pub longest: Pairs<u32>,
}

/// One form of a success.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredResponse {
    /// Default: 200.
    pub status: Option<u16>,
    /// json, xml or form. Default: json.
    pub form: Option<DeclaredForm>,
    /// What `Accept` may choose from, as `Content-Type` writes it. Default: as for requests.
    pub media_types: Vec<String>,
    /// The name of the root element, for xml.
    pub root: Option<String>,
    /// The namespace of all elements, for xml. Default: none.
    pub namespace: Option<String>,
    /// What becomes of a member for which there is nothing: null, or omit. Default: null.
    pub absent: Option<DeclaredAbsent>,
    /// What it looks like: texts are constants, or have one of `{access_token}`, `{refresh_token}`, `{id_token}`,
    /// `{expires_in}`, `{expires}`, `{issued}`, `{login}`, `{scope}`, `{username}`, `{claim:NAME}`, `{status}` and
    /// `{reason}` in them. `{expires_in as text}` writes a number as text; also `as integer` and `as boolean`.
    pub body: Shape,
}

/// One form of an error.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredError {
    /// json, xml or form. Default: json.
    pub form: Option<DeclaredForm>,
    /// What `Accept` may choose from, as `Content-Type` writes it. Default: as for requests.
    pub media_types: Vec<String>,
    /// The name of the root element, for xml.
    pub root: Option<String>,
    /// The namespace of all elements, for xml. Default: none.
    pub namespace: Option<String>,
    /// What it looks like: texts are constants, or have `{code}`, `{description}`, `{status}` and `{reason}` in them. A
    /// list of one item with `{member}` or `{problem}` has an item for each member that is wrong.
    pub body: Shape,
}

/// How members are put into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeclaredForm {
    Json,
    Xml,
    Form,
    /// The query of a GET: proxies and servers between may note it, tokens and all.
    Query,
}

/// What becomes of a member for which there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeclaredAbsent {
    Null,
    Omit,
}

/// How moments are written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredTimes {
    /// unix (seconds, a number), or a pattern of strftime. Default: %Y-%m-%dT%H:%M:%S%:z
    pub format: Option<String>,
    /// A name like America/Sao_Paulo. Default: UTC.
    pub zone: Option<String>,
}

/// Where a declared dialect is served.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredMount {
    /// The name of one of `dialects`.
    pub dialect: Option<String>,
    /// Grant to the path where it is served; off: it is not. Default: the paths of the dialect.
    pub paths: Pairs<String>,
    /// The client that its sessions belong to, where its requests name none: a public one.
    pub client: Option<String>,
}
