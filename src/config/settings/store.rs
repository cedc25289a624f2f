//! Where sessions are kept, and the keys that protect them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Span;

/// Where sessions are kept: one of them. Default: redb.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// In this process; gone when it ends.
    pub memory: Option<MemoryStore>,
    /// In one file of this process; survives restarts and crashes.
    pub redb: Option<RedbStore>,
    /// In Redis 7 or Valkey, for replicas: one session, whichever replica is asked. Needs `keys.master_file`.
    pub redis: Option<RedisStore>,
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

/// Servers that all replicas share. One of `url`, `sentinel` and `cluster`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisStore {
    /// One server: redis://host:6379, rediss://host:6379 with TLS, or unix:/run/redis.sock. The port may be left out.
    pub url: Option<String>,
    /// Servers that Sentinels watch over.
    pub sentinel: Option<Sentinel>,
    /// Some nodes of a Cluster, as redis:// or rediss:// URLs; they tell of the others.
    pub cluster: Option<Vec<String>>,
    /// As an ACL names it. Default: the default user.
    pub username: Option<String>,
    /// A file with the user's password. Default: none is sent.
    pub password_file: Option<PathBuf>,
    /// For rediss:// only, of which it says more; certificates are verified with and without it.
    pub tls: Option<RedisTls>,
    /// 0 to 15; a Cluster has none. Default: 0.
    pub database: Option<u16>,
    /// In front of every key and channel: sidegates with another one share nothing. Letters, digits, `.`, `_`, `-` and `:`.
    /// Default: sidegate
    pub prefix: Option<String>,
    /// To one server. Default: 4.
    pub connections: Option<usize>,
    /// For one step, connecting included. Default: 1s.
    pub timeout: Option<Span>,
    /// A folder on a disk of this machine that outlives the process; several processes may use the same. What the authority
    /// outside gave is written there before it is sent to the servers, so that neither they nor this process can lose it.
    /// Default: none.
    pub journal: Option<PathBuf>,
}

/// Who is asked which server is the master.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sentinel {
    /// What the Sentinels call it (`sentinel monitor NAME …`).
    pub master: Option<String>,
    /// The Sentinels, as redis:// URLs, or as rediss:// where they and the servers speak TLS. Default port: 26379.
    pub urls: Vec<String>,
    /// Of the Sentinels themselves. Default: the default user.
    pub username: Option<String>,
    /// A file with the password of the Sentinels themselves. Default: none is sent.
    pub password_file: Option<PathBuf>,
}

/// Whom sidegate trusts, and who it is, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisTls {
    /// Instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// For mutual TLS, with `key_file`.
    pub certificate_file: Option<PathBuf>,
    /// For mutual TLS, with `certificate_file`.
    pub key_file: Option<PathBuf>,
}

/// The master keys, from which all others are derived.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// A ring that `sidegate keys master` makes; needed for every store but memory. With redis it is one ring for all replicas.
    pub master_file: Option<PathBuf>,
    /// true: make `master_file` if it is not there (a key beside the data protects little). Not with redis. Default: false.
    pub generate: Option<bool>,
}
