//! What flows through a route.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counters that many responses share; one for each route, say.
#[derive(Debug, Default)]
pub struct Traffic {
    in_flight: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Counts one exchange until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight { traffic: Arc::clone(self), sent: 0 }
    }

    /// Exchanges under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Bytes of response bodies that were handed to clients, of exchanges that are over.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

/// One exchange under way.
#[derive(Debug)]
pub struct InFlight {
    traffic: Arc<Traffic>,
    sent: u64,
}

impl InFlight {
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.traffic.in_flight.fetch_sub(1, Relaxed);
        self.traffic.sent.fetch_add(self.sent, Relaxed);
    }
}
