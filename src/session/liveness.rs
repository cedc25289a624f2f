//! The flags that cached verdicts look at on every hit: one for each session that a verdict rests on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::record::SessionId;
use crate::jose::Liveness;

/// Shared by all generations of the configuration.
#[derive(Default)]
pub(super) struct Livenesses {
    known: Mutex<HashMap<SessionId, Weak<Liveness>>>,
}

impl Livenesses {
    /// The flag of `id`. To be taken **before** the store is read: whatever ends the session from then on ends the flag,
    /// so a verdict that is written late cannot revive it.
    pub(super) fn watch(&self, id: SessionId) -> Arc<Liveness> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = known.get(&id).and_then(Weak::upgrade) {
            return live;
        }
        if known.len() >= known.capacity() / 2 && known.len() > 1024 {
            known.retain(|_, live| live.strong_count() > 0);
        }
        let live = Arc::new(Liveness::default());
        known.insert(id, Arc::downgrade(&live));
        live
    }

    /// Ends every verdict that rests on `id`.
    pub(super) fn end(&self, id: SessionId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = known.remove(&id).and_then(|live| live.upgrade()) {
            live.end();
        }
    }
}
