//! The way to the servers: which one to ask, how long to wait, and what to do when it is gone.
//!
//! A step may be taken again when its outcome is not known, so it is: once, if the connection broke or the server was not
//! the right one. Not if the time is up, and never for longer than that.

mod about;
mod clock;
mod cluster;
mod server;
#[cfg(test)]
mod tests;
mod trouble;
mod wire;

use std::{
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use redis::{Arg, Cmd, Value, aio::PubSubStream, cluster_routing::Slot, cmd};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use self::{
    cluster::Cluster,
    server::{How, Server, Whereabouts},
    trouble::Trouble,
    wire::Way,
};
use super::script::Script;
use crate::{
    config::{RedisServers, RedisStore},
    model::{BoxError, Time, UnixMillis},
    session::StoreError,
    telemetry::metrics::LinkMetrics,
};

/// Connections that are made when they are needed, and made anew when they break.
pub(super) struct Link {
    way: Arc<Way>,
    servers: Servers,
}

enum Servers {
    /// Or whichever is the master now.
    One(Arc<Server>),
    Cluster(Arc<Cluster>),
}

impl Link {
    /// Connects to nothing yet. Connections live on `background`, whoever asks.
    ///
    /// # Errors
    /// If the certificates or the key are none.
    pub(super) fn new(
        settings: &RedisStore,
        time: Time,
        background: &Handle,
        metrics: LinkMetrics,
    ) -> Result<Link, BoxError> {
        let way = Arc::new(Way::new(settings, time, background, metrics)?);
        let one = |whereabouts| Servers::One(Server::new(way.clone(), whereabouts, settings.connections));
        let servers = match &settings.servers {
            RedisServers::One(address) => one(Whereabouts::At(address.clone())),
            RedisServers::Sentinel { sentinels, master, .. } => {
                one(Whereabouts::Master { sentinels: sentinels.clone(), name: master.clone() })
            }
            RedisServers::Cluster(seeds) => {
                Servers::Cluster(Cluster::new(way.clone(), seeds.clone(), settings.connections))
            }
        };
        Ok(Link { way, servers })
    }

    /// Runs a script where its first key is.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[impl AsRef<[u8]>],
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Value, StoreError> {
        let call = |how: &str, what: &str| {
            let mut call = cmd(how);
            call.arg(what).arg(keys.len());
            for key in keys {
                call.arg(key.as_ref());
            }
            for argument in arguments {
                call.arg(argument.as_ref());
            }
            call
        };
        match self.attempt(&call("EVALSHA", script.hash())).await {
            // They keep it from then on.
            Err(Trouble::NoScript) => self.ask(&call("EVAL", script.code())).await,
            done => Ok(done?),
        }
    }

    /// One command, where its key is.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, StoreError> {
        Ok(self.attempt(command).await?)
    }

    /// Many commands at once, each where its key is; the answers in the same order.
    pub(super) async fn ask_all(&self, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
        let questions: Vec<_> = commands.iter().map(|command| self.ask(command)).collect();
        stream::iter(questions).buffered(AT_ONCE).try_collect().await
    }

    /// Milliseconds that the servers' clock is ahead of ours, as far as that is known.
    pub(super) fn ahead(&self) -> i64 {
        self.way.clock.ahead()
    }

    /// Takes note of the servers' time in an answer that came just now.
    pub(super) fn heard(&self, servers: UnixMillis) {
        self.way.clock.heard(servers);
    }

    /// Takes note of what a server's own clock shows.
    pub(super) fn shown(&self, servers: UnixMillis) {
        self.way.clock.shown(servers);
    }

    /// What is published on `channels` from now on, until the connection breaks.
    pub(super) async fn listen(&self, channels: &[String]) -> Result<PubSubStream, String> {
        match &self.servers {
            Servers::One(server) => server.listen(channels).await,
            Servers::Cluster(cluster) => cluster.listen(channels).await,
        }
    }

    /// Has it found out anew who the master is, if that is anybody's question.
    pub(super) fn doubt(&self, why: &str) {
        match &self.servers {
            Servers::One(server) => server.doubt(why),
            Servers::Cluster(cluster) => cluster.look(),
        }
    }

    #[cfg(test)]
    pub(super) fn metrics(&self) -> &LinkMetrics {
        &self.way.metrics
    }

    async fn attempt(&self, command: &Cmd) -> Result<Value, Trouble> {
        let deadline = Instant::now() + self.way.timeout;
        let (mut hops, mut pause) = (0, FIRST_PAUSE);
        let mut how = How::default();
        let mut target = None;
        loop {
            let asked = match (&self.servers, target.take()) {
                (Servers::One(server), _) => server.ask(command, how, deadline).await,
                (Servers::Cluster(_), Some(server)) => {
                    Server::ask(&server, command, How { beforehand: true, ..how }, deadline).await
                }
                (Servers::Cluster(cluster), None) => match cluster.server(slot(command), deadline).await {
                    Ok(server) => server.ask(command, how, deadline).await,
                    Err(trouble) => Err(trouble),
                },
            };
            let trouble = match asked {
                Ok(value) => return Ok(value),
                Err(trouble) => trouble,
            };
            if let (
                Servers::Cluster(cluster),
                Trouble::Away(_) | Trouble::Broken(_) | Trouble::Late(_) | Trouble::Refused(_),
            ) = (&self.servers, &trouble)
            {
                cluster.look();
            }
            match (trouble, &self.servers) {
                (Trouble::Moved(slot, to), Servers::Cluster(cluster)) if hops < MOST_HOPS => {
                    hops += 1;
                    cluster.moved(slot, to);
                }
                (Trouble::Ask(to), Servers::Cluster(cluster)) if hops < MOST_HOPS => {
                    hops += 1;
                    target = Some(cluster.at(to));
                }
                // Some keys of a slot that moves are here and some are there: soon all are there.
                (Trouble::Later(_), _) if Instant::now() + pause < deadline => {
                    sleep(pause).await;
                    pause *= 2;
                }
                (Trouble::Broken(_) | Trouble::Refused(_), _) if how.after.is_none() => how.after = Some(Clock::now()),
                (trouble, _) => return Err(trouble),
            }
        }
    }
}

/// The slot of the first key; `None`: there is no key.
fn slot(command: &Cmd) -> Option<Slot> {
    let mut parts = command.args_iter();
    let mut next = || match parts.next() {
        Some(Arg::Simple(part)) => Some(part),
        Some(_) | None => None,
    };
    let key = match next()? {
        b"EVALSHA" | b"EVAL" => {
            let (_, keys) = (next()?, next()?);
            if keys == b"0" { None } else { next() }
        }
        b"PUBLISH" | b"TIME" | b"PING" | b"INFO" => None,
        _ => next(),
    };
    key.map(Slot::for_key)
}

/// Commands of one question that are under way at the same time.
const AT_ONCE: usize = 64;
/// Redirections of one command: more of them are a Cluster that contradicts itself.
const MOST_HOPS: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
