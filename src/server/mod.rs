//! The server: accept, permit, one task per connection, drain.
//!
//! Every worker thread runs one current-thread runtime and registers the *shared* listening sockets with it. The way of
//! a connection: [`worker`] takes a permit and accepts, [`balance`] finds the worker on which it stays, [`connection`]
//! reads the PROXY header, shakes hands by TLS and finds the version, [`http`] serves it, [`pace`] keeps its time limits and
//! has its answers wait for those of others ([`gather`]; those of HTTP/2 streams go in one write: [`cork`]), and [`shutdown`]
//! ends it.

pub mod admin;
mod balance;
mod connection;
mod cork;
mod gather;
pub mod health;
mod http;
mod limits;
mod listener;
mod pace;
mod permits;
mod plain;
mod prefixed;
mod proxy_protocol;
mod shutdown;
mod signals;
mod socket;
mod stats;
pub mod tls;
mod worker;

use std::{
    future::{Future, ready},
    io,
    sync::Arc,
};

use ::http::{Request, Response};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use self::{balance::Team, worker::Worker};
pub use self::{
    listener::{BindError, Listeners, Rebinding},
    plain::PlainServer,
    shutdown::{Phase, Shutdown, Token},
    signals::{Signal, Signals},
    stats::ListenerStats,
};
use crate::{
    gate::{Gate, ReplyBody},
    model::{BoxError, Connection},
};

/// Who answers requests. [`Gate`] does in the product; tests and the small listeners bring their own.
pub trait Handler: Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Answers one request; every error has become a response. A panic becomes a bare 500.
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Returns once nothing goes on any more that has outlived its request: a drain waits for that, too.
    fn quiet(&self) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

impl Handler for Gate {
    type Body = ReplyBody;

    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Response<ReplyBody>> + Send {
        Gate::handle(self, request, connection)
    }

    async fn quiet(&self) {
        Gate::quiet(self).await;
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Connections and tunnels that ended by themselves after the listeners closed.
    pub finished: usize,
    /// Those that were closed at `drain.timeout`, or by [`Shutdown::abort`].
    pub cut: usize,
}

/// Serves until `shutdown` has run its course.
///
/// Every request goes to the handler that `handler` holds at that moment, so a reload is one swap.
///
/// # Errors
/// A runtime or a thread could not be made; nothing is served then.
pub async fn run<H: Handler>(
    listeners: Listeners,
    handler: Arc<ArcSwap<H>>,
    workers: usize,
    shutdown: Shutdown,
) -> io::Result<Summary> {
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let mut threads = Vec::with_capacity(workers);
    let (team, inboxes) = Team::new(workers.max(1));
    for (index, inbox) in inboxes.into_iter().enumerate() {
        let worker = Worker { index, team: team.clone(), handler: handler.clone(), shutdown: shutdown.clone() };
        match worker::start(worker, inbox, listeners.watch(), alive.clone()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                shutdown.end();
                return Err(error);
            }
        }
    }
    drop(alive);

    let summary = drain(&listeners, &handler, &shutdown).await;
    // Every worker holds a sender until its runtime, and every task on it, is gone.
    let _ = ended.recv().await;
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a worker thread panicked");
        }
    }
    Ok(summary)
}

/// The order of a drain: not ready, then closed listeners, then patience, then the end.
async fn drain<H: Handler>(listeners: &Listeners, handler: &ArcSwap<H>, shutdown: &Shutdown) -> Summary {
    let settings = shutdown.begun().await;
    let deadline = settings.map(|settings| Instant::now() + settings.delay + settings.timeout);
    if let Some(settings) = settings {
        let _ = timeout(settings.delay, shutdown.aborted()).await;
    }
    let mut open = shutdown.open();
    listeners.close();
    shutdown.close();
    if let Some(deadline) = deadline {
        let quiet = async {
            // What waited in a backlog counts as well.
            listeners.closed().await;
            open = open.max(shutdown.open());
            shutdown.quiet().await;
            handler.load_full().quiet().await;
        };
        tokio::select! {
            _ = timeout_at(deadline, quiet) => {}
            () = shutdown.aborted() => {}
        }
    }
    let cut = shutdown.open();
    shutdown.end();
    Summary { finished: open.saturating_sub(cut), cut }
}
