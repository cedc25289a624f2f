//! The connections of one worker that wait for a request.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::{Duration, Instant};

use super::{Shared, h1, h2};
use crate::config;

/// Never locked over an await, and in practice only by its worker.
#[derive(Default)]
pub(super) struct Pool {
    /// The longest idle first.
    idle: VecDeque<Idle>,
    /// The oldest first.
    multiplexed: Vec<h2::Connection>,
    sweeping: bool,
}

struct Idle {
    connection: h1::Connection,
    since: Instant,
}

impl Pool {
    /// The connection used last: the others may then grow old and go.
    pub(super) fn take(&mut self, now: Instant, limits: &config::Connections) -> Option<h1::Connection> {
        let oldest = now.checked_sub(limits.idle_timeout);
        while let Some(Idle { connection, since }) = self.idle.pop_back() {
            if oldest.is_some_and(|oldest| since <= oldest) {
                // All others are idle for even longer.
                self.idle.clear();
                return None;
            }
            if connection.is_usable(now, limits.max_age) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps `connection` for the next request. Returns whether a sweeper has to be started.
    pub(super) fn put(&mut self, connection: h1::Connection, now: Instant, limits: &config::Connections) -> bool {
        if !connection.is_usable(now, limits.max_age) || limits.max_idle == 0 || limits.idle_timeout.is_zero() {
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
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(period).await;
            let Some(shared) = shared.upgrade() else {
                return;
            };
            if !shared.pool(worker).sweep(Instant::now(), &limits) {
                return;
            }
        }
    });
}

const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
