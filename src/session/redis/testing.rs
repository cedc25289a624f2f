//! A real server for a test of its own.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::{
    config::{RedisAddress, RedisServers, RedisStore},
    session::testing::Scratch,
};

/// Listens on a socket in a folder of its own, and ends with the test.
pub struct Server {
    process: Child,
    folder: Scratch,
}

impl Server {
    pub fn start() -> Server {
        let folder = Scratch::new();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "socket", "--dir"]);
        let process = command.arg(folder.path("")).current_dir(folder.path("")).stdout(Stdio::null()).spawn();
        let process = process.expect("redis-server is installed (tests/run does that)");
        let server = Server { process, folder };
        server.wait();
        server
    }

    fn wait(&self) {
        for _ in 0..1000 {
            if std::os::unix::net::UnixStream::connect(self.socket()).is_ok() {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen");
    }

    fn socket(&self) -> impl AsRef<Path> {
        self.folder.path("socket")
    }

    pub fn settings(&self) -> RedisStore {
        RedisStore {
            servers: RedisServers::One(RedisAddress::Unix(self.socket().as_ref().to_owned())),
            database: 0,
            username: None,
            password: None,
            tls: None,
            prefix: "sidegate".to_owned(),
            connections: 2,
            timeout: Duration::from_secs(5),
            journal: None,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
