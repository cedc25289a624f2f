//! A worker: one thread, one runtime, its own registration of every listening socket.

use std::{
    io,
    panic::AssertUnwindSafe,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
    task::yield_now,
    time::sleep,
};

use super::{
    Handler, Shutdown,
    balance::{Arrival, Inbox, Team},
    connection::{self, Accepted, Guard},
    listener::Bound,
    permits::Permit,
    socket::{Acceptor, BACKLOG, Detached, Stream, accept_waiting},
    stats::Opened,
};
use crate::model::Peer;

/// How long accepting rests when the process has no file descriptors or memory left.
const EXHAUSTED: Duration = Duration::from_millis(100);

type Bounds = watch::Receiver<Vec<Arc<Bound>>>;

/// Starts `worker`. It drops `alive` when its runtime, and every task on it, is gone.
pub(super) fn start<H: Handler>(
    worker: Worker<H>,
    inbox: Inbox,
    bounds: Bounds,
    alive: mpsc::Sender<()>,
) -> io::Result<JoinHandle<()>> {
    // Taken here: a drain may begin before the thread runs, and what waits in the backlogs is to be served even then.
    let opened = bounds.borrow().clone();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("worker-{}", worker.index)).spawn(move || {
        runtime.block_on(worker.work(inbox, opened, bounds));
        // Without waiting for blocking work, such as the resolution of a name.
        runtime.shutdown_background();
        drop(alive);
    })
}

/// What accepts for one thread.
pub(super) struct Worker<H> {
    pub(super) index: usize,
    pub(super) team: Arc<Team>,
    pub(super) handler: Arc<ArcSwap<H>>,
    pub(super) shutdown: Shutdown,
}

impl<H> Clone for Worker<H> {
    fn clone(&self) -> Self {
        Worker {
            index: self.index,
            team: self.team.clone(),
            handler: self.handler.clone(),
            shutdown: self.shutdown.clone(),
        }
    }
}

impl<H: Handler> Worker<H> {
    /// Accepts on every listener that there is, also on those that a reload adds, until everything ends; and serves
    /// what other workers hand over.
    pub(super) async fn work(self, mut inbox: Inbox, mut current: Vec<Arc<Bound>>, mut bounds: Bounds) {
        self.team.begins(self.index);
        let mut known: Vec<Arc<Bound>> = Vec::new();
        loop {
            for bound in &current {
                if !known.iter().any(|known| Arc::ptr_eq(known, bound)) {
                    tokio::spawn(self.clone().accept(bound.clone(), bounds.clone()));
                }
            }
            known = current;
            tokio::select! {
                () = self.shutdown.ended() => return,
                // `self` holds a sender, so there is always another arrival to wait for.
                Some(arrival) = inbox.recv() => self.attach(arrival),
                changed = bounds.changed() => if changed.is_err() {
                    return self.shutdown.ended().await;
                },
            }
            current = bounds.borrow_and_update().clone();
        }
    }

    /// Accepts on one listener until a reload removes it or the drain closes it, and then what its backlog holds.
    async fn accept(self, bound: Arc<Bound>, mut bounds: Bounds) {
        let acceptor = match Acceptor::register(&bound.socket) {
            Ok(acceptor) => acceptor,
            Err(error) => {
                tracing::error!(%error, worker = self.index, "a listening socket could not be registered");
                return;
            }
        };
        let mut removed = std::pin::pin!(async {
            let gone = |bounds: &Vec<Arc<Bound>>| !bounds.iter().any(|other| Arc::ptr_eq(other, &bound));
            // An error means that the listeners were dropped.
            let _ = bounds.wait_for(gone).await;
        });
        loop {
            // The permit first: while there is none, connections wait in the kernel's backlog.
            let accepted = tokio::select! {
                () = removed.as_mut() => break,
                accepted = async { (bound.permits.take().await, acceptor.accept().await) } => accepted,
            };
            match accepted {
                (permit, Ok((stream, peer))) => self.admit(&bound, permit, stream, peer),
                (permit, Err(error)) => {
                    drop(permit);
                    self.rest_after(&error).await;
                }
            }
            // Other connections first, and other workers: one must not take a whole burst.
            yield_now().await;
        }
        // What is left in the backlog is reset when the last clone of the socket closes. Bounded, because clients that do not stop could go on for ever.
        for _ in 0..BACKLOG {
            let Some(permit) = bound.permits.try_take() else { break };
            let Ok((stream, peer)) = accept_waiting(&bound.socket) else { break };
            self.admit(&bound, permit, stream, peer);
        }
    }

    /// Counts a connection and brings it to the worker that serves it: this one, as a rule.
    fn admit(&self, bound: &Bound, permit: Permit, stream: Stream, peer: Peer) {
        let settings = bound.settings.load_full();
        let seat = self.team.seat(self.index);
        let worker = seat.worker;
        let guard = Guard {
            _permit: permit,
            _opened: Opened::count(&settings.stats),
            // From here on a drain waits for it, also while it is on its way.
            _token: self.shutdown.track(),
            _seat: seat,
        };
        if worker == self.index {
            return self.spawn(Arrival { stream, peer, guard, settings });
        }
        match stream.detach() {
            Ok(stream) => {
                let handed = self.team.hand_over(worker, Arrival { stream, peer, guard, settings });
                handed.unwrap_or_else(|back| self.attach(back));
            }
            Err(error) => tracing::warn!(%error, worker = self.index, "a connection could not be handed over"),
        }
    }

    /// Takes a connection that another worker accepted.
    fn attach(&self, arrival: Arrival<Detached>) {
        let Arrival { stream, peer, guard, settings } = arrival;
        match stream.attach() {
            Ok(stream) => self.spawn(Arrival { stream, peer, guard, settings }),
            Err(error) => tracing::warn!(%error, worker = self.index, "a connection could not be registered"),
        }
    }

    fn spawn(&self, arrival: Arrival) {
        let Arrival { stream, peer, guard, settings } = arrival;
        let accepted =
            Accepted { settings, worker: self.index, handler: self.handler.clone(), shutdown: self.shutdown.clone() };
        tokio::spawn(async move {
            match AssertUnwindSafe(connection::serve(stream, peer, guard, accepted)).catch_unwind().await {
                Ok(Ok(())) => {}
                // Clients go away as they like. hyper's texts hold no bytes of theirs.
                Ok(Err(error)) => tracing::debug!(%error, "a connection ended"),
                // The payload may hold what the client sent.
                Err(_payload) => tracing::error!("a connection's task panicked"),
            }
        });
    }

    async fn rest_after(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            tracing::warn!(%error, worker = self.index, "accepting rests");
            sleep(EXHAUSTED).await;
        }
    }
}
