//! One connection: made, greeted, and asked about the server at its other end.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::select_ok;
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisResult, Value,
    aio::{MultiplexedConnection, PubSub, PubSubStream},
    cmd,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    about,
    clock::Clock,
    trouble::{explain, shown},
};
use crate::{
    config::{RedisAddress, RedisServers, RedisStore, RedisTls},
    model::{BoxError, Secret, Time, UnixMillis},
    telemetry::metrics::LinkMetrics,
};

/// What all connections share.
pub(super) struct Way {
    tls: Option<TlsConnector>,
    servers: RedisConnectionInfo,
    sentinels: RedisConnectionInfo,
    cluster: bool,
    /// For one step, and for what takes one round trip in making a connection.
    pub timeout: Duration,
    pub clock: Clock,
    pub metrics: LinkMetrics,
    /// Carries every connection, whoever uses it.
    pub background: Handle,
    started: Instant,
    made: AtomicU64,
}

/// A connection that many use at once. It is closed when the last of them lets go.
#[derive(Clone)]
pub(super) struct Open {
    connection: MultiplexedConnection,
    pub number: u64,
    pub since: Instant,
    driver: Arc<Driver>,
}

struct Driver {
    task: JoinHandle<()>,
    metrics: LinkMetrics,
    /// Milliseconds after the start of the way when the last answer came.
    answered: AtomicU64,
    /// Its other end goes with the connection.
    closed: watch::Receiver<()>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // On its own it would wait for answers that nobody wants any more.
        self.task.abort();
        self.metrics.connections.dec();
    }
}

/// What has to be known of a server before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting {
    /// Replicas are not.
    pub master: bool,
    /// For the log.
    pub about: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Way {
    pub fn new(settings: &RedisStore, time: Time, background: &Handle, metrics: LinkMetrics) -> Result<Way, BoxError> {
        let tls = settings.tls.as_ref().map(tls).transpose()?;
        let sentinels = match &settings.servers {
            RedisServers::Sentinel { username, password, .. } => user(username.as_deref(), password.as_ref()),
            RedisServers::One(_) | RedisServers::Cluster(_) => RedisConnectionInfo::default(),
        };
        Ok(Way {
            tls,
            servers: user(settings.username.as_deref(), settings.password.as_ref()).set_db(settings.database.into()),
            sentinels,
            cluster: matches!(settings.servers, RedisServers::Cluster(_)),
            timeout: settings.timeout,
            clock: Clock::new(time),
            metrics,
            background: background.clone(),
            started: Instant::now(),
            made: AtomicU64::new(0),
        })
    }

    /// A connection to a server that is ready to be asked.
    pub async fn open(&self, address: &RedisAddress, greeting: Greeting) -> Result<Open, String> {
        let opened = async {
            let mut open = self.reach(address, &self.servers).await?;
            self.greet(address, &mut open, greeting).await?;
            Ok(open)
        };
        opened.await.map_err(|error: String| format!("{}: {error}", shown(address)))
    }

    /// Where the master of this name is, as one sentinel sees it, and how new what it knows is: the one that was elected
    /// last has the highest number.
    pub async fn ask_sentinel(&self, sentinel: &RedisAddress, master: &str) -> Result<(u64, RedisAddress), String> {
        let asked = async {
            let mut open = self.reach(sentinel, &self.sentinels).await?;
            let mut question = cmd("SENTINEL");
            question.arg("MASTER").arg(master);
            let answer = self.in_time(open.ask(&question)).await?.map_err(|error| match error.code() {
                Some("ERR") => format!("knows no master {master:?}: compare `master` with its configuration"),
                _ => explain(&error),
            })?;
            let mut fields = redis::from_redis_value::<HashMap<String, String>>(answer).unwrap_or_default();
            let host = fields.remove("ip").filter(|host| !host.is_empty());
            let port = fields.get("port").and_then(|port| port.parse().ok());
            let epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
            let (host, port) = host.zip(port).ok_or("gives no address")?;
            Ok((epoch, RedisAddress::Tcp { host, port }))
        };
        asked.await.map_err(|error: String| format!("sentinel {}: {error}", shown(sentinel)))
    }

    /// A connection that hears what is published.
    pub async fn listen(&self, address: &RedisAddress, channels: &[String]) -> Result<PubSubStream, String> {
        let opened = async {
            let stream = self.stream(address).await?;
            let ear = self.in_time(PubSub::new(&self.servers, stream)).await?;
            let mut ear = ear.map_err(|error| explain(&error))?;
            self.in_time(ear.subscribe(channels)).await?.map_err(|error| explain(&error))?;
            Ok(ear.into_on_message())
        };
        opened.await.map_err(|error: String| format!("{}: {error}", shown(address)))
    }

    /// RESP2: what scripts answer looks the same in both, and HELLO, which the other begins with, is not let through by
    /// every proxy.
    async fn reach(&self, address: &RedisAddress, user: &RedisConnectionInfo) -> Result<Open, String> {
        let stream = self.stream(address).await?;
        // Whoever asks waits by a clock of his own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let made = self.in_time(MultiplexedConnection::new_with_config(user, stream, config)).await?;
        let (connection, driver) = made.map_err(|error| explain(&error))?;
        self.metrics.connections.inc();
        let (end, closed) = watch::channel(());
        let driver = Arc::new(Driver {
            task: self.background.spawn(async move {
                driver.await;
                drop(end);
            }),
            closed,
            metrics: self.metrics.clone(),
            answered: AtomicU64::new(self.elapsed()),
        });
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Open { connection, number, since: Instant::now(), driver })
    }

    async fn stream(&self, address: &RedisAddress) -> Result<Box<dyn Stream>, String> {
        let socket = match address {
            RedisAddress::Unix(path) => {
                let socket = self.in_time(UnixStream::connect(path)).await?;
                return Ok(Box::new(socket.map_err(|error| error.to_string())?));
            }
            RedisAddress::Tcp { host, port } => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                (host, self.in_time(socket(host, *port)).await?.map_err(|error| error.to_string())?)
            }
        };
        match (&self.tls, socket) {
            (None, (_, socket)) => Ok(Box::new(socket)),
            (Some(tls), (host, socket)) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
                let stream = self.in_time(tls.connect(name, socket)).await?;
                Ok(Box::new(stream.map_err(|error| error.to_string())?))
            }
        }
    }

    async fn greet(&self, address: &RedisAddress, open: &mut Open, greeting: Greeting) -> Result<(), String> {
        let mut questions = Pipeline::new();
        questions.cmd("PING").cmd("TIME").cmd("ROLE");
        if greeting.about {
            questions.cmd("INFO").arg("server").cmd("INFO").arg("memory");
        }
        let count = questions.len();
        let answers = self.in_time(open.connection.send_packed_commands(&questions, 0, count)).await?;
        let mut answers = answers.map_err(|error| explain(&error))?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil).extract_error();
        let forbidden = |error: &redis::RedisError| error.code() == Some("NOPERM");
        match next() {
            Err(error) if !forbidden(&error) => return Err(explain(&error)),
            // A user that may not ask this may still take steps.
            Ok(_) | Err(_) => {}
        }
        if let Ok((seconds, micros)) = next().and_then(|time| Ok(redis::from_redis_value::<(u64, u64)>(time)?)) {
            self.clock.shown(UnixMillis(seconds.saturating_mul(1000).saturating_add(micros / 1000)));
        }
        match next() {
            Ok(Value::Array(role)) if greeting.master => {
                if !matches!(role.first(), Some(Value::BulkString(role)) if role == b"master") {
                    return Err("is not the master yet, or no more".to_owned());
                }
            }
            // Else a replica would refuse every change.
            Ok(_) | Err(_) => {}
        }
        if greeting.about {
            let mut info = || next().and_then(|info| Ok(redis::from_redis_value::<String>(info)?)).unwrap_or_default();
            about::judge(&shown(address), &(info() + &info()), self.cluster);
        }
        Ok(())
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One round trip of many: a server that is slow, but not too slow for a step, is reached as well.
    pub async fn in_time<T>(&self, trip: impl Future<Output = T>) -> Result<T, String> {
        let late = |_| format!("no answer within {}", humantime::format_duration(self.timeout));
        timeout(self.timeout, trip).await.map_err(late)
    }
}

impl Open {
    pub async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.connection.send_packed_command(command).await?.extract_error()
    }

    /// Also if the slot of the key is still another server's.
    pub async fn ask_beforehand(&mut self, command: &Cmd) -> RedisResult<Value> {
        let mut both = Pipeline::new();
        both.cmd("ASKING").add_command(command.clone());
        let mut answers = self.connection.send_packed_commands(&both, 0, 2).await?;
        answers.pop().unwrap_or(Value::Nil).extract_error()
    }

    /// When the connection breaks or is closed, used or not. It does not keep it open.
    pub fn closed(&self) -> impl Future<Output = ()> + use<> {
        let mut closed = self.driver.closed.clone();
        async move {
            // Nothing but the end comes.
            let _ = closed.changed().await;
        }
    }

    pub fn answered(&self, way: &Way) {
        self.driver.answered.store(way.elapsed(), Ordering::Relaxed);
    }

    /// Whether no answer has come in the last `time`, to nobody.
    pub fn silent_for(&self, time: Duration, way: &Way) -> bool {
        let silent = way.elapsed().saturating_sub(self.driver.answered.load(Ordering::Relaxed));
        u128::from(silent) >= time.as_millis()
    }
}

/// The first of the addresses of `host` that answers.
async fn socket(host: &str, port: u16) -> io::Result<TcpStream> {
    let attempts: Vec<_> = lookup_host((host, port)).await?.map(|to| Box::pin(TcpStream::connect(to))).collect();
    if attempts.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    let (socket, _) = select_ok(attempts).await?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    options.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 3).with_retries(3))?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(SILENCE * 2))?;
    Ok(socket)
}

fn user(name: Option<&str>, password: Option<&Secret<String>>) -> RedisConnectionInfo {
    let mut user = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(name) = name {
        user = user.set_username(name);
    }
    if let Some(password) = password {
        user = user.set_password(password.expose());
    }
    user
}

fn tls(settings: &RedisTls) -> Result<TlsConnector, BoxError> {
    let mut roots = RootCertStore::empty();
    match &settings.ca {
        Some(pem) => {
            for certificate in certificates(pem)? {
                roots.add(certificate)?;
            }
        }
        None => {
            // A single bad certificate among the system's is no reason to trust none.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("store.redis.tls: no certificate authority to trust: set `ca_file`".into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match &settings.client {
        Some(client) => builder
            .with_client_auth_cert(certificates(&client.chain)?, PrivateKeyDer::from_pem_slice(client.key.expose())?)?,
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    Ok(CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?)
}

/// Commands that wait to be written to one connection, before whoever asks waits himself.
const QUEUE: usize = 1024;
/// A connection on which nothing comes for so long is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(9);
