//! Sessions that move from one store to another by the real program: whoever holds good tokens notices nothing.

mod command;
mod interrupted;
mod tokens;

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use serde_json::Value;
use sidegate::config::MasterRing;

use crate::{
    oauth::house::{PASSWORD, SECRET, hash},
    support::issuer::scratch,
};

/// A folder with a ring, and the settings of as many stores as a test wants.
struct Setup {
    folder: PathBuf,
    upstream: String,
}

impl Setup {
    fn new(upstream: &str) -> Setup {
        let setup = Setup { folder: scratch("moved"), upstream: upstream.to_owned() };
        setup.write_ring("master.keys", &MasterRing::generate().unwrap());
        setup
    }

    fn write_ring(&self, name: &str, ring: &MasterRing) {
        let path = self.path(name);
        fs::write(&path, ring.text().expose()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn redb(&self, name: &str) -> String {
        self.yaml(&format!("redb: {{ path: {} }}", self.path(name).display()))
    }

    fn yaml(&self, store: &str) -> String {
        let client = |id: &str, more: &str| {
            let grants = "grants: [password, refresh_token], scopes: [orders]";
            format!("    - {{ id: {id}, secret_hashes: [\"{}\"], {grants}{more} }}\n", hash(SECRET))
        };
        format!(
            "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  clients:\n{}{}  \
             users: [{{ username: ana, password_hash: \"{}\" }}]\n\
             store: {{ {store} }}\nkeys: {{ master_file: {} }}\n\
             upstreams: [{{ name: app, url: \"{}\", credential: {{ none: {{}} }} }}]\n\
             routes: [{{ name: all, paths: [\"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}]\n\
             listeners: [{{ name: main, address: \"127.0.0.1:0\" }}]\nhealth: {{ address: \"127.0.0.1:0\" }}\n\
             admin: {{ address: \"127.0.0.1:0\" }}\nworkers: 1\n",
            client("app", ""),
            client("app-jwt", ", access_token: { format: jwt }"),
            hash(PASSWORD),
            self.path("master.keys").display(),
            self.upstream,
        )
    }

    fn export(&self, yaml: &str, more: &[&str]) -> Command {
        let mut command = self.command("export", yaml);
        command.arg("--to").arg(self.path("sessions.moved")).args(more);
        command
    }

    fn import(&self, yaml: &str, more: &[&str]) -> Command {
        let mut command = self.command("import", yaml);
        command.arg("--from").arg(self.path("sessions.moved")).args(more);
        command
    }

    fn command(&self, what: &str, yaml: &str) -> Command {
        let config = self.path(&format!("{what}.yaml"));
        fs::write(&config, yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
        command.args(["sessions", what, "-c"]).arg(config).env_clear().stdin(Stdio::null());
        command
    }
}

/// What it prints with `--json`, having done its work.
#[track_caller]
fn done(mut command: Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Its exit code, and what it says of what is wrong.
fn failed(mut command: Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), text(&stderr).to_owned())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A redis-server on a socket in the folder of the test, gone with it.
struct Redis(Child, PathBuf);

impl Redis {
    fn start(setup: &Setup) -> Redis {
        let socket = setup.path("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
        let process = command.current_dir(&setup.folder).stdout(Stdio::null()).spawn().unwrap();
        let redis = Redis(process, socket);
        for _ in 0..1000 {
            if UnixStream::connect(&redis.1).is_ok() {
                return redis;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen");
    }

    fn store(&self, prefix: &str) -> String {
        format!("redis: {{ url: \"unix:{}\", prefix: {prefix} }}", self.1.display())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
