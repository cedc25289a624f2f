//! How the program runs.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Size, Span};

/// What is remembered of tokens that were validated.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Validated tokens. Default: 64MiB.
    pub max_bytes: Option<Size>,
    /// Refused tokens. Default: 4MiB.
    pub negative_max_bytes: Option<Size>,
    /// A refusal is kept for this long. Default: 10s.
    pub negative_ttl: Option<Span>,
}

/// What is logged.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// json or text. Default: json.
    pub format: Option<LogFormat>,
    /// error, warn, info or debug. Default: info.
    pub level: Option<LogLevel>,
    /// all, sampled or refused. Default: all.
    pub access: Option<AccessLog>,
    /// With `sampled`: one in so many of the allowed requests. Default: 100.
    pub sample: Option<u32>,
    /// Where grants, refreshes, revocations and sign-ins are noted, whatever the level.
    pub audit: Audit,
}

/// Where the audit lines go: one of them. Default: stderr.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Among the other lines, with the target `sidegate::audit`.
    pub stderr: Option<AuditStderr>,
    /// A file of JSON lines, made with mode 0600 and opened anew by a reload.
    pub file: Option<PathBuf>,
}

/// Nothing to set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditStderr {}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Json,
    Text,
}

/// The least important lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// Which requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    All,
    Sampled,
    Refused,
}

/// RFC 9728 metadata, named in the challenges.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resource {
    /// The URL of this resource. Absent: no metadata.
    pub identifier: Option<String>,
    /// In the challenges. Default: sidegate.
    pub realm: Option<String>,
}

/// How a new configuration is taken over while the program runs. SIGHUP asks for it in any case.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// Whether the files are watched: this one, and every file and folder that it names. Default: true.
    pub watch: Option<bool>,
    /// How often they are looked at. Default: 10s.
    pub interval: Option<Span>,
}

/// How the program ends.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// Between "not ready" and closing the listeners. Default: 0s.
    pub delay: Option<Span>,
    /// Then what is left is closed. Default: 30s.
    pub timeout: Option<Span>,
}
