//! The store of a configuration, opened beside whatever serves from it.

use std::{path::Path, process::ExitCode, sync::Arc};

use tokio::runtime::{Builder, Runtime};

use crate::{
    app::{self, load},
    cli::{WRONG_SETTINGS, run},
    config::{Config, MasterKeys, RedisAddress, RedisServers, Store},
    model::{BoxError, Time},
    session::{SessionStore, memory::Memory, ring::KeyRing},
};

/// What moving sessions needs. The store is closed before the runtime.
pub struct Opened {
    pub store: Arc<dyn SessionStore>,
    pub ring: Arc<KeyRing>,
    /// Names the store.
    pub named: String,
    /// The signing keys are in a folder, and not in the store.
    pub signs_from_folder: bool,
    pub runtime: Runtime,
}

/// What is about to be done with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Export,
    Import,
    DryRun,
}

/// `first` is done before the store is opened: that may make one, under the ring that is there.
///
/// # Errors
/// The exit code, once what is wrong was said.
pub fn open(
    file: &Path,
    purpose: Purpose,
    first: impl FnOnce(&KeyRing) -> Result<(), BoxError>,
) -> Result<Opened, ExitCode> {
    app::install_crypto();
    // What `check` warns of is not what this is about.
    let config = load::load(file, &run::environment()).map_err(|unusable| {
        eprintln!("{}", unusable.problems);
        ExitCode::from(WRONG_SETTINGS)
    })?;
    let config = config.config;
    opened(&config, purpose, first).map_err(|error| {
        eprintln!("sidegate: {error}");
        ExitCode::FAILURE
    })
}

fn opened(
    config: &Config,
    purpose: Purpose,
    first: impl FnOnce(&KeyRing) -> Result<(), BoxError>,
) -> Result<Opened, BoxError> {
    let Some(authority) = &config.authority else {
        return Err("without `authority` in the configuration no sessions are kept".into());
    };
    let named = named(&config.store).ok_or(IN_A_PROCESS)?;
    let ring = match &config.keys {
        MasterKeys::Given(ring) => Arc::new(KeyRing::new(ring)),
        MasterKeys::Generate(path) => {
            let hint = "put the ring there that the sessions were made under";
            return Err(format!("{}: there is no ring of master keys yet: {hint}", path.display()).into());
        }
        MasterKeys::Ephemeral => return Err("keys.master_file is needed: sessions are sealed under it".into()),
    };
    first(&ring)?;
    let (runtime, time) = (Builder::new_multi_thread().worker_threads(1).enable_all().build()?, Time::default());
    let store: Arc<dyn SessionStore> = match &config.store {
        // To open it would make it.
        Store::Redb { path } if purpose == Purpose::Export && !path.exists() => {
            return Err(format!("{}: there is no such store", path.display()).into());
        }
        Store::Redb { path } if purpose == Purpose::DryRun && !path.exists() => Arc::new(Memory::new(time)),
        store => app::open_store(store, &ring, &time, runtime.handle())?.ok_or(IN_A_PROCESS)?,
    };
    let signs_from_folder = authority.signing.folder.is_some();
    Ok(Opened { store, ring, named, signs_from_folder, runtime })
}

/// Says no secret. `None`: it is in no other process's reach.
fn named(store: &Store) -> Option<String> {
    match store {
        Store::Memory => None,
        Store::Redb { path } => Some(format!("redb {}", path.display())),
        Store::Redis(redis) => {
            let place = match &redis.servers {
                RedisServers::One(address) => said(address),
                RedisServers::Sentinel { master, .. } => format!("sentinel {master}"),
                RedisServers::Cluster(nodes) => format!("cluster {}", nodes.first().map(said).unwrap_or_default()),
            };
            Some(format!("redis {place}, database {}, prefix {}", redis.database, redis.prefix))
        }
    }
}

fn said(address: &RedisAddress) -> String {
    match address {
        RedisAddress::Tcp { host, port } => format!("{host}:{port}"),
        RedisAddress::Unix(path) => path.display().to_string(),
    }
}

const IN_A_PROCESS: &str = "the sessions of `store: memory` live in the process that serves, and end with it: there is \
                            nothing to move, and nowhere to move to";
