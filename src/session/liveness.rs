//! The flags that cached verdicts look at on every hit: one for each session that a verdict rests on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::record::SessionId;
use crate::jose::Liveness;

/// Shared by all generations of the configuration.
#[derive(Default)]
pub(super) struct Livenesses {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    known: HashMap<SessionId, Weak<Liveness>>,
    /// So many were still held after the last sweep.
    kept: usize,
}

impl Livenesses {
    /// The flag of `id`. To be taken **before** the store is read: whatever ends the session from then on ends the flag,
    /// so a verdict that is written late cannot revive it.
    pub(super) fn watch(&self, id: SessionId) -> Arc<Liveness> {
        let mut table = self.table();
        if let Some(live) = table.known.get(&id).and_then(Weak::upgrade) {
            return live;
        }
        // Twice as many as were held: so each entry is looked at a few times at most, however many there are.
        if table.known.len() >= (2 * table.kept).max(FEW) {
            table.known.retain(|_, live| live.strong_count() > 0);
            table.kept = table.known.len();
        }
        let live = Arc::new(Liveness::default());
        table.known.insert(id, Arc::downgrade(&live));
        live
    }

    /// Ends every verdict that rests on `id`.
    pub(super) fn end(&self, id: SessionId) {
        if let Some(live) = self.table().known.remove(&id).and_then(|live| live.upgrade()) {
            live.end();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not worth a sweep.
const FEW: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> SessionId {
        SessionId(number.to_be_bytes())
    }

    #[test]
    fn all_who_watch_a_session_hear_of_its_end_and_who_comes_later_looks_for_himself() {
        let all = Livenesses::default();
        let (first, second, other) = (all.watch(id(1)), all.watch(id(1)), all.watch(id(2)));
        all.end(id(1));
        assert!(!first.is_alive() && !second.is_alive());
        assert!(other.is_alive() && all.watch(id(1)).is_alive());
    }

    #[test]
    fn flags_that_nobody_holds_are_swept_and_held_ones_stay() {
        let all = Livenesses::default();
        let held: Vec<_> = (0..10_u128).map(|number| all.watch(id(number))).collect();
        for number in 10..100_000_u128 {
            all.watch(id(number));
        }
        assert!(all.table().known.len() <= FEW + 1);
        for number in 0..10 {
            all.end(id(number));
        }
        assert!(held.iter().all(|live| !live.is_alive()));
    }
}
