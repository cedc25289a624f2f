//! A redis-server for a bench, gone with it, and a sidegate whose sessions are there.

use std::{
    error::Error,
    fs::{self, OpenOptions},
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use sidegate::config::{self, Config, Environment, MasterRing};

type Failure = Box<dyn Error + Send + Sync>;

pub struct Redis {
    pub address: SocketAddr,
    process: Child,
    folder: PathBuf,
}

impl Redis {
    /// `sync`: always, everysec or no; anything else keeps nothing on disk.
    pub fn start(name: &str, sync: &str) -> Result<Redis, Failure> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--logfile", "log"]);
        if ["always", "everysec", "no"].contains(&sync) {
            command.args(["--appendonly", "yes", "--appendfsync", sync]);
        }
        let process = command.arg("--dir").arg(&folder).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let redis = Redis { address, process, folder };
        for _ in 0..500 {
            if std::net::TcpStream::connect(address).is_ok() {
                return Ok(redis);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err("redis-server does not listen".into())
    }

    /// How many commands it has carried out for whom, by name, but for those that look at it.
    pub async fn calls(&self) -> Result<Vec<(String, u64)>, Failure> {
        let client = redis::Client::open(format!("redis://{}", self.address))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let told: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await?;
        let calls = told.lines().filter_map(|line| {
            let (name, of) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), of.split(',').next()?.parse().ok()?))
        });
        Ok(calls.filter(|(name, _)| !["info", "client|setinfo"].contains(&name.as_str())).collect())
    }

    /// A local authority with sessions kept there, or behind `place`, and one upstream.
    pub fn configuration(&self, place: SocketAddr, upstream: SocketAddr) -> Result<Config, Failure> {
        let ring = self.folder.join("master");
        if !ring.exists() {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&ring)?;
            file.write_all(MasterRing::generate()?.text().expose().as_bytes())?;
        }
        // SHA-256 of "p".
        let password = "sha256:148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";
        let settings: Value = json!({
            "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
            "log": {"access": "refused", "level": "error"},
            "authority": {
                "issuer": "http://127.0.0.1:8080",
                "audiences": ["api"],
                "sessions_per_user": 100_000,
                "users": [{"username": "ana", "password_hash": password}],
                "clients": [{"id": "app", "public": true, "grants": ["password", "refresh_token"],
                    "access_token": {"lifetime": "1d"}, "refresh_token": {"idle": "1d", "absolute": "1d"}}],
            },
            "store": {"redis": {"url": format!("redis://{place}"), "timeout": "10s"}},
            "keys": {"master_file": ring},
            "upstreams": [{"name": "app", "url": format!("http://{upstream}"), "credential": {"none": {}}}],
            "routes": [{"name": "all", "paths": ["/*"], "upstream": "app",
                "policy": {"issuers": ["local"], "audiences": ["api"]}}],
        });
        // JSON is YAML.
        let loaded = config::load_str(&settings.to_string(), "bench.yaml", &self.folder, &Environment::default());
        Ok(loaded.map_err(|problems| problems.to_string())?.config)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn percentile(mut latencies: Vec<u64>, share: f64) -> u64 {
    latencies.sort_unstable();
    let place = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
    latencies.get(place).copied().unwrap_or_default()
}
