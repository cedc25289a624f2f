//! The connections of one worker that wait for a request.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

use tokio::time::{Duration, Instant};

use super::{Shared, h1, h2};
use crate::config;

/// Never locked over an await, and in practice only by its worker.
pub(super) struct Pool {
    /// The longest idle first.
    idle: VecDeque<Idle>,
    /// The oldest first.
    multiplexed: Vec<h2::Connection>,
    sweeping: bool,
    bell: Arc<Bell>,
    /// That of `bell`.
    ring: Waker,
}

struct Idle {
    connection: Box<h1::Connection>,
    since: Instant,
}

/// Idle connections ring it when something happens on them: nearly always, their upstream closes them.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    sweeper: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, SeqCst);
        self.sweeper.wake();
    }
}

impl Default for Pool {
    fn default() -> Pool {
        let bell = Arc::new(Bell::default());
        let ring = Waker::from(bell.clone());
        Pool { idle: VecDeque::new(), multiplexed: Vec::new(), sweeping: false, bell, ring }
    }
}

impl Pool {
    /// The connection used last: the others may then grow old and go.
    pub(super) fn take(&mut self, now: Instant, limits: &config::Connections) -> Option<Box<h1::Connection>> {
        let oldest = now.checked_sub(limits.idle_timeout);
        while let Some(Idle { mut connection, since }) = self.idle.pop_back() {
            if oldest.is_some_and(|oldest| since <= oldest) {
                // All others are idle for even longer.
                self.idle.clear();
                return None;
            }
            if connection.is_open() && connection.is_usable(now, limits.max_age) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps `connection` for the next request. Returns whether a sweeper has to be started.
    pub(super) fn put(
        &mut self,
        mut connection: Box<h1::Connection>,
        now: Instant,
        limits: &config::Connections,
    ) -> bool {
        let wanted = limits.max_idle > 0 && !limits.idle_timeout.is_zero();
        if !wanted || !connection.rest(&self.ring) || !connection.is_usable(now, limits.max_age) {
            return false;
        }
        if self.idle.len() >= limits.max_idle {
            self.idle.pop_front();
        }
        self.idle.push_back(Idle { connection, since: now });
        !std::mem::replace(&mut self.sweeping, true)
    }

    /// A stream on a connection that has room for it.
    pub(super) fn stream(&mut self, now: Instant, limits: &config::Connections) -> Option<h2::Stream> {
        self.multiplexed.retain(|connection| connection.is_usable(now, limits.max_age));
        self.multiplexed.iter_mut().find_map(|connection| connection.stream(now))
    }

    /// Keeps a new connection. Returns whether a sweeper has to be started.
    pub(super) fn put_multiplexed(&mut self, connection: h2::Connection) -> bool {
        self.multiplexed.push(connection);
        !std::mem::replace(&mut self.sweeping, true)
    }

    /// Lets go of connections that were closed while they were idle.
    fn tend(&mut self) {
        let ring = &self.ring;
        self.idle.retain_mut(|idle| idle.connection.rest(ring));
    }

    /// Closes what is idle or old. Returns whether anything is left to watch.
    fn sweep(&mut self, now: Instant, limits: &config::Connections) -> bool {
        self.idle.retain(|idle| {
            now.saturating_duration_since(idle.since) < limits.idle_timeout
                && idle.connection.is_usable(now, limits.max_age)
        });
        self.multiplexed.retain_mut(|connection| {
            connection.is_usable(now, limits.max_age) && !connection.is_idle(now, limits.idle_timeout)
        });
        self.sweeping = !(self.idle.is_empty() && self.multiplexed.is_empty());
        self.sweeping
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.len() + self.multiplexed.iter().filter(|connection| !connection.has_streams()).count()
    }
}

/// Looks after the pool of `worker` for as long as it holds anything: one task, not one timer for each connection.
pub(super) fn start_sweeper(shared: &Arc<Shared>, worker: usize) {
    let limits = shared.settings.connections;
    let period = limits.idle_timeout.max(SHORTEST_PERIOD);
    let bell = shared.pool(worker).bell.clone();
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        let mut timer = pin!(tokio::time::sleep(period));
        loop {
            let is_time = poll_fn(|cx| {
                bell.sweeper.register(cx.waker());
                if bell.rung.swap(false, SeqCst) { Poll::Ready(false) } else { timer.as_mut().poll(cx).map(|()| true) }
            });
            let is_time = is_time.await;
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let mut pool = shared.pool(worker);
            if !is_time {
                pool.tend();
            } else if pool.sweep(Instant::now(), &limits) {
                timer.as_mut().reset(Instant::now() + period);
            } else {
                return;
            }
        }
    });
}

const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
