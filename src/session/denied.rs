//! Sessions that are known here to have ended a moment ago. A store that goes on with a server which had not yet heard of
//! that would let them live again.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::record::{RevocationReason, SessionId};

/// Bounded in number and in time: what a store forgets when a server of it is lost, is what it was told last.
#[derive(Default)]
pub(super) struct Denied(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Why; `None`: whoever ended it has not said.
    known: HashMap<SessionId, Option<RevocationReason>>,
    /// Oldest first.
    order: VecDeque<(Instant, SessionId)>,
}

impl Denied {
    pub(super) fn note(&self, id: SessionId, why: Option<RevocationReason>) {
        let mut kept = self.lock();
        kept.clear();
        match kept.known.entry(id) {
            Entry::Occupied(mut known) => {
                let why = known.get().or(why);
                known.insert(why);
                return;
            }
            Entry::Vacant(new) => new.insert(why),
        };
        kept.order.push_back((Instant::now(), id));
        if kept.order.len() > MOST {
            kept.forget_oldest();
        }
    }

    /// Why `id` has ended; `None`: nothing is known of that.
    pub(super) fn why(&self, id: SessionId) -> Option<RevocationReason> {
        let mut kept = self.lock();
        kept.clear();
        kept.known.get(&id).map(|why| why.unwrap_or(RevocationReason::Forgotten))
    }

    pub(super) fn ids(&self) -> Vec<SessionId> {
        let mut kept = self.lock();
        kept.clear();
        kept.known.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn clear(&mut self) {
        while self.order.front().is_some_and(|(since, _)| since.elapsed() >= KEPT) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.known.remove(&id);
        }
    }
}

const KEPT: Duration = Duration::from_secs(600);
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> SessionId {
        SessionId((number as u128).to_be_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_is_remembered_with_its_reason_for_a_while_and_within_bounds() {
        let denied = Denied::default();
        assert_eq!(denied.why(id(0)), None);
        denied.note(id(0), None);
        assert_eq!(denied.why(id(0)), Some(RevocationReason::Forgotten));
        denied.note(id(0), Some(RevocationReason::Reuse));
        denied.note(id(0), None);
        assert_eq!(denied.why(id(0)), Some(RevocationReason::Reuse));
        tokio::time::advance(KEPT / 2).await;
        for number in 1..=MOST {
            denied.note(id(number), Some(RevocationReason::Operator));
        }
        assert_eq!(denied.why(id(0)), None, "the oldest gives way");
        assert_eq!(denied.ids().len(), MOST);
        tokio::time::advance(KEPT / 2).await;
        assert_eq!(denied.why(id(1)), Some(RevocationReason::Operator));
        tokio::time::advance(KEPT / 2).await;
        assert!(denied.ids().is_empty() && denied.lock().order.is_empty());
    }
}
