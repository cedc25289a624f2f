//! What is counted per upstream, for metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::error::UpstreamError;

/// Counters of one upstream; never reset.
#[derive(Debug, Default)]
pub(super) struct Stats {
    open: AtomicU64,
    opened: AtomicU64,
    reused: AtomicU64,
    retried: AtomicU64,
    broken: AtomicU64,
    errors: [AtomicU64; UpstreamError::CODES.len()],
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections that are open now, upgraded ones included.
    pub open: u64,
    /// Connections that wait in a pool, of those open.
    pub idle: u64,
    /// Connections opened so far.
    pub opened: u64,
    /// Requests that found a connection in the pool.
    pub reused: u64,
    /// Requests that were sent again, because the connection had died.
    pub retried: u64,
    /// Responses that ended before their end.
    pub broken: u64,
    /// Requests without a response, by [`UpstreamError::code`].
    pub errors: [(&'static str, u64); UpstreamError::CODES.len()],
}

impl Stats {
    pub(super) fn reused(&self) {
        self.reused.fetch_add(1, Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    pub(super) fn broken(&self) {
        self.broken.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, error: &UpstreamError) {
        self.errors[error.index()].fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self, idle: u64) -> Snapshot {
        Snapshot {
            open: self.open.load(Relaxed),
            idle,
            opened: self.opened.load(Relaxed),
            reused: self.reused.load(Relaxed),
            retried: self.retried.load(Relaxed),
            broken: self.broken.load(Relaxed),
            errors: std::array::from_fn(|index| (UpstreamError::CODES[index], self.errors[index].load(Relaxed))),
        }
    }
}

/// Counts one connection as open for as long as it lives.
pub(super) struct Open(Arc<Stats>);

impl Open {
    pub(super) fn new(stats: &Arc<Stats>) -> Self {
        stats.opened.fetch_add(1, Relaxed);
        Open::still(stats)
    }

    /// For a connection that goes on as something other than HTTP.
    pub(super) fn still(stats: &Arc<Stats>) -> Self {
        stats.open.fetch_add(1, Relaxed);
        Open(Arc::clone(stats))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
