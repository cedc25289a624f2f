//! The dialects that can be served beside `oauth2`, and their options.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Pairs;

/// PascalCase JSON in an envelope: an API key begins a session, a refresh token goes on with it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Redex {
    /// Takes an API key. Default: /public/v2/connect/token
    pub token: Option<String>,
    /// Takes a refresh token. Default: /public/v2/connect/token/refresh
    pub refresh: Option<String>,
    /// current, or original: that of the first revision of the published page. Default: current.
    pub envelope: Option<Envelope>,
    /// text, as the published samples show it, or number. Default: text.
    pub expires_in: Option<NumberForm>,
    /// Of sessions that begin here: compact, which is 36 characters, or full. Default: compact.
    pub refresh_token_length: Option<RefreshTokenLength>,
}

/// How long refresh tokens may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RefreshTokenLength {
    Compact,
    Full,
}

/// Which revision of the published page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    Current,
    Original,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NumberForm {
    Text,
    Number,
}

/// A .NET Web API that talks JSON and XML: a password begins a session, a refresh token goes on with it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Consinco {
    /// Takes company, user and password. Default: /api/v1/auth/login
    pub login: Option<String>,
    /// Takes a refresh token. Default: /api/v1/auth/refresh-token
    pub refresh: Option<String>,
    /// The client that its sessions belong to, since its requests name none: a public one.
    pub client: Option<String>,
    /// documented, or backing_fields: the names of the published samples; XML always has those. Default: documented.
    pub json_names: Option<JsonNames>,
    /// `ADUser` and `productLine`, as newer servers have them. Default: false.
    pub extra_members: Option<bool>,
    /// What `.issued` tells: login, or token. Default: login.
    pub issued: Option<Issued>,
    /// Of time stamps: a name like America/Sao_Paulo. Default: UTC.
    pub zone: Option<String>,
    /// Member of the answer, by its documented name, to the claim that it shows. `id`, `userSequence` and `isExt` must
    /// be there; a text is otherwise the claim of its own name, or the login name.
    pub claims: Pairs<String>,
}

/// What members of a JSON answer are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JsonNames {
    Documented,
    BackingFields,
}

/// Whose time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Issued {
    Login,
    Token,
}
