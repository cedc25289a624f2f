//! The way to the servers: which one to ask, how long to wait, and what to do when it is gone.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use redis::{
    Client, Cmd, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError, Value, aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::script::Script;
use crate::{
    config::{RedisAddress, RedisServers, RedisStore},
    model::{BoxError, Time, UnixMillis},
    session::{StoreError, sealed},
};

/// Connections that are made when they are needed, and made anew when they break.
pub(super) struct Link {
    client: Client,
    open: Mutex<Option<MultiplexedConnection>>,
    timeout: Duration,
    time: Time,
    /// Milliseconds that the servers' clock is ahead of ours.
    ahead: AtomicI64,
}

impl Link {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// If the settings fit no client.
    pub(super) fn new(settings: &RedisStore, time: Time) -> Result<Link, BoxError> {
        let RedisServers::One(address) = &settings.servers else { return Err("not yet".into()) };
        let address = match address {
            RedisAddress::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
            RedisAddress::Unix(path) => ConnectionAddr::Unix(path.clone()),
        };
        let info = RedisConnectionInfo::default().set_db(settings.database.into());
        let client = Client::open(address.into_connection_info()?.set_redis_settings(info))?;
        Ok(Link { client, open: Mutex::default(), timeout: settings.timeout, time, ahead: AtomicI64::new(0) })
    }

    /// Runs a script where its first key is.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[impl AsRef<[u8]>],
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Value, StoreError> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(script.hash()).arg(keys.len());
        for key in keys {
            call.arg(key.as_ref());
        }
        for argument in arguments {
            call.arg(argument.as_ref());
        }
        match self.attempt(&call).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {}
            done => return done.map_err(failed),
        }
        let mut call = redis::cmd("EVAL");
        call.arg(script.code()).arg(keys.len());
        for key in keys {
            call.arg(key.as_ref());
        }
        for argument in arguments {
            call.arg(argument.as_ref());
        }
        self.ask(&call).await
    }

    /// One command, where its key is.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.attempt(command).await.map_err(failed)
    }

    /// Many commands at once, each where its key is; the answers in the same order.
    pub(super) async fn ask_all(&self, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
        futures_util::future::try_join_all(commands.iter().map(|command| self.ask(command))).await
    }

    async fn attempt(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut connection = {
            let mut open = self.open.lock().await;
            match &*open {
                Some(connection) => connection.clone(),
                None => open.insert(self.client.get_multiplexed_async_connection().await?).clone(),
            }
        };
        connection.set_response_timeout(self.timeout);
        connection.send_packed_command(command).await?.extract_error()
    }

    /// Milliseconds that the servers' clock is ahead of ours, as far as that is known.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// Takes note of the servers' time in an answer that came just now.
    pub(super) fn heard(&self, servers: UnixMillis) {
        let ours = self.time.now_millis();
        let ahead = i64::try_from(servers.0).unwrap_or(0).saturating_sub(i64::try_from(ours.0).unwrap_or(0));
        self.ahead.store(ahead, Ordering::Relaxed);
    }
}

fn failed(error: RedisError) -> StoreError {
    match error.code() {
        // Said by our scripts.
        Some("FORMAT") => sealed::later("record", error.detail().unwrap_or_default()).into(),
        _ => StoreError::Unavailable(error.to_string()),
    }
}
