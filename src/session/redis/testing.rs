//! Servers of a test's own.

mod proxy;

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use redis::{Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo, RedisConnectionInfo};
use rustix::process::{Pid, Signal, kill_process};

pub use self::proxy::Proxy;
use crate::{
    config::{RedisAddress, RedisServers, RedisStore},
    model::Secret,
    session::testing::Scratch,
    telemetry::metrics::{LinkMetrics, Metrics},
};

/// A `redis-server`, or a sentinel, at a port of 127.0.0.1 and at a socket. It ends with the test.
pub struct Server {
    process: Child,
    port: u16,
    folder: Scratch,
    arguments: Vec<String>,
}

impl Server {
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// Whose user may do what [`ENOUGH`] says, and nothing else.
    pub fn strict() -> Server {
        Server::with(&[&["--user", "sidegate", "on", ">right"], ENOUGH].concat())
    }

    /// With these arguments of `redis-server`.
    pub fn with(arguments: &[&str]) -> Server {
        Server::start_with(|_, _| arguments.iter().map(|argument| (*argument).to_owned()).collect())
    }

    /// With what `arguments` makes of the port and the folder.
    pub fn start_with(arguments: impl Fn(u16, &Scratch) -> Vec<String>) -> Server {
        for _ in 0..5 {
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let folder = Scratch::new();
            let arguments = arguments(port, &folder);
            let process = run(port, &folder, &arguments);
            let mut server = Server { process, port, folder, arguments };
            // Somebody else may have taken the port meanwhile.
            if server.wait() {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn at(&self) -> RedisAddress {
        at(self.port)
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path("s")
    }

    /// Settings for this server alone, which nobody who waits for a loaded machine gives up on.
    pub fn settings(&self) -> RedisStore {
        settings(RedisServers::One(self.at()))
    }

    /// The same, as the user of [`Server::strict`].
    pub fn strict_settings(&self) -> RedisStore {
        let password = Some(Secret::new("right".to_owned()));
        RedisStore { username: Some("sidegate".to_owned()), password, ..self.settings() }
    }

    /// What it answers to a question by somebody else.
    pub fn ask<T: FromRedisValue>(&self, question: &[&str]) -> T {
        self.ask_with(RedisConnectionInfo::default(), question)
    }

    /// The same, with a password.
    pub fn ask_as<T: FromRedisValue>(&self, password: &str, question: &[&str]) -> T {
        self.ask_with(RedisConnectionInfo::default().set_password(password), question)
    }

    fn ask_with<T: FromRedisValue>(&self, user: RedisConnectionInfo, question: &[&str]) -> T {
        let address = ConnectionAddr::Unix(self.socket()).into_connection_info().unwrap();
        let client = Client::open(address.set_redis_settings(user)).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5)).unwrap();
        redis::cmd(question[0]).arg(&question[1..]).query(&mut connection).unwrap()
    }

    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Once more, at the same port and with the same folder.
    pub fn start_again(&mut self) {
        self.process = run(self.port, &self.folder, &self.arguments);
        assert!(self.wait(), "redis-server does not start again");
    }

    /// It accepts connections from then on, and says nothing.
    pub fn stall(&self) {
        self.signal(Signal::Stop);
    }

    pub fn go_on(&self) {
        self.signal(Signal::Cont);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Until it answers; false if it has ended.
    fn wait(&mut self) -> bool {
        let client = Client::open(ConnectionAddr::Unix(self.socket())).unwrap();
        let start = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            let pong = client.get_connection().and_then(|mut connection| redis::cmd("PING").exec(&mut connection));
            match pong {
                Ok(()) => return true,
                Err(error) if matches!(error.code(), Some("NOAUTH" | "NOPERM" | "MASTERDOWN")) => return true,
                Err(_) => assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not answer"),
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What an ACL must allow. The manual says the same.
pub const ENOUGH: &[&str] = &[
    "~sidegate:*",
    "&sidegate:*",
    "-@all",
    "+eval",
    "+evalsha",
    "+get",
    "+set",
    "+del",
    "+exists",
    "+expire",
    "+pexpire",
    "+hget",
    "+hset",
    "+hdel",
    "+hmget",
    "+hgetall",
    "+zadd",
    "+zrem",
    "+zcard",
    "+zcount",
    "+zrange",
    "+zrangebylex",
    "+zrangebyscore",
    "+zscore",
    "+publish",
    "+subscribe",
    "+pubsub|numsub",
    "+ping",
    "+time",
    "+role",
    "+info",
];

pub fn at(port: u16) -> RedisAddress {
    RedisAddress::Tcp { host: "127.0.0.1".to_owned(), port }
}

/// Three masters that share the slots, and do not wait long for one another.
pub fn cluster(arguments: &[&str]) -> Vec<Server> {
    let servers: Vec<Server> = (0..3).map(|_| member(arguments)).collect();
    for (server, slots) in servers.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
        server.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
        server.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &servers[0].port().to_string()]);
    }
    let start = Instant::now();
    let known = |server: &Server| {
        let slots: Vec<redis::Value> = server.ask(&["CLUSTER", "SLOTS"]);
        slots.len() == 3 && server.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    };
    while !servers.iter().all(known) {
        assert!(start.elapsed() < Duration::from_secs(20), "the servers make no Cluster");
        thread::sleep(Duration::from_millis(20));
    }
    servers
}

/// A server that can be one of a Cluster.
pub fn member(arguments: &[&str]) -> Server {
    let own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "500", "--cluster-require-full-coverage", "no"];
    Server::with(&[&own[..], arguments].concat())
}

/// Handles that nobody looks at.
pub fn metrics() -> LinkMetrics {
    Metrics::new().link.store("redis")
}

pub fn settings(servers: RedisServers) -> RedisStore {
    RedisStore {
        servers,
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

fn run(port: u16, folder: &Scratch, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    // A sentinel wants a file that it can write, and it must be the first argument.
    if let Some(sentinel) = arguments.first().filter(|first| first.ends_with("sentinel.conf")) {
        command.arg(sentinel);
    }
    command.args(["--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path(""));
    command.arg("--unixsocket").arg(folder.path("s"));
    // With TLS the port is not the plain one.
    let tls = arguments.iter().any(|argument| argument == "--tls-port");
    command.arg("--port").arg(if tls { "0".to_owned() } else { port.to_string() });
    command.args(arguments.iter().filter(|argument| !argument.ends_with("sentinel.conf")));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server is needed: apt-get install redis-server")
}
