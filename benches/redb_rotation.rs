//! How many refresh tokens rotate in a second in the store on disk, and what each of them costs.
//!
//! `cargo bench --bench redb_rotation -- [--only step|refresh|http] [--sessions 50000] [--at-once 64] [--seconds 5]
//! [--folder DIR] [--json FILE]`
//!
//! First the step alone, then the step with the look at the session that comes before it, and then everything: a
//! confidential client with a generated secret, which posts to the token endpoint over keep-alive connections. All of it
//! is one process, whose threads are told apart; the load over HTTP is one of them. Each commit is made durable, as
//! always; what that costs tells a `--folder` on a tmpfs, where a sync does nothing. Syncs are counted by `perf`, where
//! there is one. Each session should come up once: one that is refreshed again and again has ever more access tokens.
#![allow(clippy::print_stdout)] // its figures are what it is for

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use sidegate::{
    app::App,
    authority::hashes,
    config::{self, Address, Config, Environment, MasterRing},
    model::Time,
    telemetry::log,
};
use tokio::runtime::Builder;

use self::rotation::{Failure, Plan, Way};

#[allow(dead_code)] // each bench takes what it needs
mod rotation;
#[path = "side_by_side/wire.rs"]
#[allow(dead_code)]
mod wire;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let plan = Plan::read(50_000)?;
    let only = wire::option("--only");
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let place = wire::option("--folder").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let folder = Folder(place.join(format!("redb-rotation-{}", std::process::id())));
    fs::create_dir_all(&folder.0)?;
    let mut logging = None;
    let mut told = json!({"sessions": plan.sessions, "at_once": plan.at_once});
    for (name, way) in [("step", Some(Way::Step)), ("refresh", Some(Way::Refresh)), ("http", None)] {
        if !wanted(name) {
            continue;
        }
        let (secret, hash) = hashes::generate().map_err(|error| error.to_string())?;
        let config = configuration(&folder.0, name, &hash)?;
        // Each refresh writes its audit line.
        logging.get_or_insert(log::install(&config.log)?);
        let app = App::start(config, Time::default())?;
        let seen = match way {
            Some(way) => {
                let sessions = app.gate().endpoints().ok_or("no authority")?.grants.sessions.clone();
                let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
                runtime.block_on(async {
                    let made = rotation::make(&sessions, plan).await?;
                    rotation::directly(&sessions, made, way, plan).await
                })?
            }
            None => {
                let Some(Address::Tcp(address)) = app.address("main") else { return Err("it does not listen".into()) };
                let basic = BASE64_STANDARD.encode(format!("shop:{}", secret.expose()));
                rotation::over_http(address, &basic, plan)?
            }
        };
        println!("{name}: {}", seen.told);
        told[name] = seen.told;
        app.abort();
    }
    if let Some(file) = wire::option("--json") {
        fs::write(file, serde_json::to_string_pretty(&told)?)?;
    }
    Ok(())
}

/// Gone with the bench.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A local authority with a generated secret for its client, and its sessions on disk.
fn configuration(folder: &Path, name: &str, secret: &str) -> Result<Config, Failure> {
    let ring = folder.join("master");
    if !ring.exists() {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&ring)?;
        file.write_all(MasterRing::generate()?.text().expose().as_bytes())?;
    }
    // SHA-256 of "p".
    let password = "sha256:148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";
    let lifetimes = json!({"idle": "1d", "absolute": "1d"});
    let settings = json!({
        "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
        "log": {"access": "refused", "level": "error", "audit": {"file": folder.join("audit")}},
        "authority": {
            "issuer": "http://127.0.0.1:8080",
            "audiences": ["api"],
            "sessions_per_user": 1_000_000,
            "users": [{"username": "ana", "password_hash": password}],
            "clients": [
                {"id": "app", "public": true, "grants": ["password", "refresh_token"], "refresh_token": lifetimes},
                {"id": "shop", "secret_hashes": [secret], "grants": ["password", "refresh_token"],
                    "refresh_token": lifetimes},
            ],
        },
        "store": {"redb": {"path": folder.join(format!("{name}.redb"))}},
        "keys": {"master_file": ring},
        "upstreams": [{"name": "app", "url": "http://127.0.0.1:9", "credential": {"none": {}}}],
        "routes": [{"name": "all", "paths": ["/*"], "upstream": "app",
            "policy": {"issuers": ["local"], "audiences": ["api"]}}],
    });
    // JSON is YAML.
    let loaded = config::load_str(&settings.to_string(), "bench.yaml", folder, &Environment::default());
    Ok(loaded.map_err(|problems| problems.to_string())?.config)
}
