//! A redis-server of the test's own, gone with the test.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use super::{issuer::scratch, wire::PATIENCE};

pub struct Redis {
    pub address: SocketAddr,
    folder: PathBuf,
    options: Vec<String>,
    process: Mutex<Child>,
}

impl Redis {
    /// One that has everything on its disk before it says so.
    pub async fn start() -> Redis {
        Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    /// With these options besides.
    pub async fn with(options: &[&str]) -> Redis {
        let folder = scratch("redis");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        for _ in 0..50 {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, next_port()));
            // One that could not begin has taken it away.
            std::fs::create_dir_all(&folder).unwrap();
            let process = Mutex::new(spawn(address, &folder, &options));
            let redis = Redis { address, folder: folder.clone(), options: options.clone(), process };
            if redis.answers().await {
                return redis;
            }
        }
        panic!("no port for redis-server: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    /// As `store.redis.url` has it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// It takes connections and requests, and does nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// It does what it was asked meanwhile, and goes on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// As by a loss of power, but for what the operating system would still write.
    pub fn kill(&self) {
        let mut process = self.process.lock().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Once more where it was, with what it has on its disk.
    pub async fn restart(&self) {
        *self.process.lock().unwrap() = spawn(self.address, &self.folder, &self.options);
        assert!(self.answers().await, "redis-server does not come back");
    }

    async fn process_id(&self) -> redis::RedisResult<Option<u32>> {
        let mut connection = redis::Client::open(self.url())?.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        Ok(info.lines().find_map(|line| line.strip_prefix("process_id:")?.parse().ok()))
    }

    /// Waits until it does; false if it has ended, or somebody else answers there.
    async fn answers(&self) -> bool {
        let id = self.process.lock().unwrap().id();
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            // Beside the ports that other tests are given nobody is met; should somebody be, it is not ours.
            if self.process_id().await.is_ok_and(|answers| answers == Some(id)) {
                return true;
            }
            if self.process.lock().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
        false
    }

    fn signal(&self, name: &str) {
        let id = self.process.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn spawn(address: SocketAddr, folder: &PathBuf, options: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", &address.ip().to_string()]).arg("--dir").arg(folder);
    command.args(["--save", "", "--logfile", "log"]).args(options);
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    spawned.expect("redis-server cannot be started: install it, as `tests/run` does")
}

/// One that the system gives to nobody who asks for any, so that whoever restarts finds it free.
fn next_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Each test is a process of its own: they begin in different places.
    let begin = std::process::id().wrapping_mul(97) % u32::from(PORTS);
    let step = NEXT.fetch_add(1, Ordering::Relaxed);
    FIRST_PORT + (u16::try_from(begin).unwrap() + step) % PORTS
}

const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 20_000;
const PAUSE: Duration = Duration::from_millis(10);
