//! Where sessions are kept, and the keys that protect them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where sessions are kept: one of them. Default: redb.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// In this process; gone when it ends.
    pub memory: Option<MemoryStore>,
    /// In one file of this process; survives restarts and crashes.
    pub redb: Option<RedbStore>,
}

/// Nothing to set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryStore {}

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedbStore {
    /// Default: /var/lib/sidegate/sessions.redb
    pub path: Option<PathBuf>,
}

/// The master keys, from which all others are derived.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// A ring that `sidegate keys master` makes; needed for every store but memory.
    pub master_file: Option<PathBuf>,
    /// true: make `master_file` if it is not there (a key beside the data protects little). Default: false.
    pub generate: Option<bool>,
}
