//! Sessions in Redis or Valkey, as the store finds them.

use std::{path::PathBuf, time::Duration};

use crate::model::Secret;

/// Where the sessions of many replicas are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct RedisStore {
    pub servers: RedisServers,
    /// 0 with a Cluster.
    pub database: u16,
    /// As an ACL names it; `None`: the default user.
    pub username: Option<String>,
    pub password: Option<Secret<String>>,
    /// `None`: without TLS.
    pub tls: Option<RedisTls>,
    /// In front of every key and channel. No braces: they would decide the hash slot.
    pub prefix: String,
    /// To one server; at least 1.
    pub connections: usize,
    /// For one step, connecting included.
    pub timeout: Duration,
    /// The folder of the local journal; `None`: there is none, and `/status` says so.
    pub journal: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RedisServers {
    One(RedisAddress),
    /// Asked for the master of this name, all at once.
    Sentinel {
        sentinels: Vec<RedisAddress>,
        master: String,
        username: Option<String>,
        password: Option<Secret<String>>,
    },
    /// Some of its nodes: they tell of the others.
    Cluster(Vec<RedisAddress>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    Tcp {
        host: String,
        port: u16,
    },
    /// Only for [`RedisServers::One`].
    Unix(PathBuf),
}

/// PEM.
#[derive(Debug, Clone, PartialEq)]
pub struct RedisTls {
    /// `None`: what the system trusts.
    pub ca: Option<Vec<u8>>,
    pub client: Option<RedisClientCertificate>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RedisClientCertificate {
    pub chain: Vec<u8>,
    pub key: Secret<Vec<u8>>,
}
