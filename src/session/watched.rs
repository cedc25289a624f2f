//! What cached verdicts look at on every hit: one for each session that a verdict rests on. It says whether the session
//! lives, and what its authority outside gave last.

use std::{
    array,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use super::{
    denied::Denied,
    record::{RevocationReason, Session, SessionId},
};
use crate::{
    jose::Liveness,
    model::{Secret, UnixTime},
};

/// A session as the hot path sees it.
#[derive(Debug)]
pub struct Watched {
    id: SessionId,
    live: Liveness,
    /// The number of the doubt whether it lives; 0: there is none.
    doubt: AtomicU64,
    showing: ArcSwapOption<Showing>,
}

/// The authority's access token as an upstream is shown it.
#[derive(Debug)]
pub struct Showing {
    /// Of the renewals: a later one is newer.
    pub generation: u64,
    /// `Bearer …`, marked sensitive.
    pub authorization: HeaderValue,
    pub issued: UnixTime,
    pub expires: UnixTime,
}

impl Showing {
    /// A store that has lost the last renewals counts anew from where it is: what was asked for later is newer all the same.
    fn is_before(&self, generation: u64, issued: UnixTime) -> bool {
        self.generation < generation || self.issued < issued
    }
}

impl Watched {
    fn new(id: SessionId) -> Watched {
        Watched { id, live: Liveness::default(), doubt: AtomicU64::new(0), showing: ArcSwapOption::empty() }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    pub fn is_alive(&self) -> bool {
        self.live.is_alive()
    }

    /// Whether that can be trusted: otherwise another process may have ended it, and the store must be asked.
    pub fn is_certain(&self) -> bool {
        self.doubt.load(Ordering::Acquire) == 0
    }

    /// Returns once the session was ended.
    pub async fn ended(&self) {
        self.live.ended().await;
    }

    /// The authority's newest access token that is known here; `None`: it gave none.
    pub fn showing(&self) -> Option<Arc<Showing>> {
        self.showing.load_full()
    }

    /// Shows what `session` holds, if that is newer: stores are read in any order.
    fn show(&self, session: &Session) {
        let Some((held, vouched)) = session.held.as_ref().zip(session.state.vouched) else { return };
        if self.showing.load().as_ref().is_some_and(|showing| !showing.is_before(vouched.generation, held.issued)) {
            return;
        }
        let value = Secret::new(format!("Bearer {}", held.access_token.expose()));
        let Ok(mut authorization) = HeaderValue::from_str(value.expose()) else { return };
        authorization.set_sensitive(true);
        let new = Arc::new(Showing {
            generation: vouched.generation,
            authorization,
            issued: held.issued,
            expires: held.expires,
        });
        self.showing.rcu(|shown| match shown {
            Some(shown) if !shown.is_before(new.generation, new.issued) => Some(shown.clone()),
            _ => Some(new.clone()),
        });
    }
}

/// Shared by all generations of the configuration. Asked only when a verdict is not in the cache.
pub(super) struct Watchlist {
    /// By the first byte of the id, which is random.
    shards: [Mutex<Shard>; SHARDS],
    /// Where a store has servers that it may lose.
    denied: Option<Denied>,
    /// Counts the times that sessions were doubted.
    doubts: AtomicU64,
}

#[derive(Default)]
struct Shard {
    known: HashMap<SessionId, Weak<Watched>>,
    /// Flags to grow to until those that nobody holds any more are cleared away.
    clear_at: usize,
}

impl Watchlist {
    /// `shared`: by processes that each remember for the store what has ended.
    pub(super) fn new(shared: bool) -> Watchlist {
        let denied = shared.then(Denied::default);
        Watchlist { shards: array::from_fn(|_| Mutex::default()), denied, doubts: AtomicU64::new(0) }
    }

    /// The flag of `id`. To be taken **before** the store is read: whatever ends the session from then on ends the flag,
    /// so a verdict that is written late cannot revive it.
    pub(super) fn watch(&self, id: SessionId) -> Arc<Watched> {
        let mut shard = self.shard(id);
        if let Some(live) = shard.known.get(&id).and_then(Weak::upgrade) {
            return live;
        }
        if shard.known.len() >= shard.clear_at {
            shard.known.retain(|_, live| live.strong_count() > 0);
            // Twice what is left: each look at all of them is paid for by as many new ones.
            shard.clear_at = (shard.known.len() * 2).max(64);
        }
        let live = Arc::new(Watched::new(id));
        shard.known.insert(id, Arc::downgrade(&live));
        live
    }

    /// Shows `session`, which lives, to the verdicts that rest on it, if there are any. It was read when there had been so
    /// many `doubts`, and settles those.
    pub(super) fn show(&self, session: &Session, doubts: u64) {
        if session.held.is_none() && doubts == 0 {
            return;
        }
        let Some(watched) = self.known(session.id) else { return };
        watched.show(session);
        let doubt = watched.doubt.load(Ordering::Acquire);
        if (1..=doubts).contains(&doubt) {
            // Unless there is a new one.
            let _ = watched.doubt.compare_exchange(doubt, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// The sessions that verdicts rest on.
    pub(super) fn watched(&self) -> Vec<SessionId> {
        let mut watched = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let held = shard.known.iter().filter(|(_, watched)| watched.strong_count() > 0);
            watched.extend(held.map(|(id, _)| *id));
        }
        watched
    }

    /// Whether there are none, as far as is known without a look at each.
    pub(super) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).known.is_empty())
    }

    pub(super) fn is_watched(&self, id: SessionId) -> bool {
        self.known(id).is_some()
    }

    /// Whether verdicts rest on `id` that show a token of the authority outside.
    pub(super) fn shows(&self, id: SessionId) -> bool {
        self.known(id).is_some_and(|watched| watched.showing.load().is_some())
    }

    /// How many doubts there were.
    pub(super) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Acquire)
    }

    /// Has the store asked before a verdict that rests on one of `ids` is used again; and says how many are watched. Streams
    /// go on: only what is known ends them.
    pub(super) fn doubt(&self, ids: &[SessionId]) -> u64 {
        let number = self.doubts.fetch_add(1, Ordering::AcqRel) + 1;
        let watched = ids.iter().filter_map(|id| self.known(*id));
        watched.map(|watched| watched.doubt.store(number, Ordering::Release)).count() as u64
    }

    /// Why `id` has ended, as far as it is remembered.
    pub(super) fn why_ended(&self, id: SessionId) -> Option<RevocationReason> {
        self.denied.as_ref()?.why(id)
    }

    /// What is remembered to have ended.
    pub(super) fn ended(&self) -> Vec<SessionId> {
        self.denied.as_ref().map(Denied::ids).unwrap_or_default()
    }

    /// As [`Watchlist::end`] for what is known to have ended, and is remembered; `why`, if that is known.
    pub(super) fn end_for_good(&self, id: SessionId, why: Option<RevocationReason>) {
        // First: whoever looks at the store from now on finds it here.
        if let Some(denied) = &self.denied {
            denied.note(id, why);
        }
        self.end(id);
    }

    /// Ends every verdict that rests on `id`. To be called **after** the store knows of the end: who watches later reads
    /// it there.
    pub(super) fn end(&self, id: SessionId) {
        if let Some(live) = self.shard(id).known.remove(&id).and_then(|live| live.upgrade()) {
            live.live.end();
        }
    }

    fn known(&self, id: SessionId) -> Option<Arc<Watched>> {
        self.shard(id).known.get(&id).and_then(Weak::upgrade)
    }

    fn shard(&self, id: SessionId) -> MutexGuard<'_, Shard> {
        self.shards[usize::from(id.0[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{
        record::{Held, Vouched},
        testing::session,
    };

    fn id(number: u64) -> SessionId {
        let mut id = [0; 16];
        id[0] = number as u8;
        id[8..].copy_from_slice(&number.to_be_bytes());
        SessionId(id)
    }

    #[test]
    fn all_verdicts_of_a_session_share_one_flag_and_end_with_it() {
        let live = Watchlist::new(false);
        let (one, same, other) = (live.watch(id(1)), live.watch(id(1)), live.watch(id(2)));
        live.end(id(1));
        assert!(!one.is_alive() && !same.is_alive() && other.is_alive());
        assert!(live.watch(id(1)).is_alive(), "a later look asks the store, which knows");
    }

    #[test]
    fn flags_that_nobody_holds_are_cleared_away_and_held_ones_never() {
        let live = Watchlist::new(false);
        let held: Vec<_> = (0..1000).map(|number| live.watch(id(number))).collect();
        for number in 1000..100_000 {
            live.watch(id(number));
        }
        let known: usize = (0..SHARDS as u64).map(|shard| live.shard(id(shard)).known.len()).sum();
        assert!(known < 2 * (held.len() + 64 * SHARDS), "{known} flags are kept");
        for number in 0..1000 {
            live.end(id(number));
        }
        assert!(held.iter().all(|live| !live.is_alive()));
    }

    #[test]
    fn what_was_renewed_after_a_store_had_lost_renewals_is_shown_although_its_number_is_lower() {
        let live = Watchlist::new(true);
        let mut session = session("ada", UnixTime(1000));
        let watched = live.watch(session.id);
        let mut show = |generation, issued: u64| {
            session.state.vouched = Some(Vouched { generation, ..Vouched::first(UnixTime(5000)) });
            session.held = Some(Held {
                access_token: Secret::new(format!("{generation} of {issued}")),
                issued: UnixTime(issued),
                expires: UnixTime(5000),
                authority: "https://authority.example".to_owned(),
                refresh_token: None,
            });
            live.show(&session, 0);
            let shown = watched.showing().unwrap();
            (shown.generation, shown.issued.0)
        };
        assert_eq!(show(3, 1300), (3, 1300));
        assert_eq!(show(4, 1300), (4, 1300), "twice in a second");
        assert_eq!(show(2, 1200), (4, 1300), "what was read before");
        assert_eq!(show(3, 1600), (3, 1600));
    }
}
