//! What other processes do with the sessions that are watched here: heard of from the store, and looked up where something
//! may not have been heard.

use std::{
    collections::{HashSet, VecDeque},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    future::pending,
    stream::{self, FuturesUnordered},
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{
    record::{Session, SessionId},
    store::{News, SessionStore, StoreError},
    watched::Watchlist,
};
use crate::model::UnixTime;

/// Hears for one process, as long as its task runs.
pub(super) struct Follower {
    pub store: Arc<dyn SessionStore>,
    pub live: Arc<Watchlist>,
    pub hearing: Arc<Hearing>,
}

/// How well other processes are heard, and what was done about what was not.
#[derive(Default)]
pub(super) struct Hearing {
    ear: Mutex<(Ear, UnixTime)>,
    kept: AtomicU64,
    ended: AtomicU64,
    doubted: AtomicU64,
    repeated: AtomicU64,
}

/// The same as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub ear: Ear,
    /// By the store's clock; 0: from the start.
    pub since: UnixTime,
    /// Watched sessions that were looked at anew and live.
    pub kept: u64,
    /// Those that had ended, and nobody here had heard it.
    pub ended: u64,
    /// Those that could not be looked at in time: whoever comes with one of their tokens is judged anew.
    pub doubted: u64,
    /// Revocations that the store had lost, and that were made once more.
    pub repeated: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ear {
    #[default]
    Hears,
    /// What others do may not be heard: revocations may come late.
    Deaf,
    /// It hears again, and looks up what it may have missed.
    Checks,
}

impl Hearing {
    /// False if it was so before.
    fn becomes(&self, ear: Ear, since: UnixTime) -> bool {
        let mut now = self.lock();
        let changes = now.0 != ear;
        if changes {
            *now = (ear, since);
        }
        changes
    }

    pub(super) fn heard(&self) -> Heard {
        let (ear, since) = *self.lock();
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Heard {
            ear,
            since,
            kept: count(&self.kept),
            ended: count(&self.ended),
            doubted: count(&self.doubted),
            repeated: count(&self.repeated),
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Ear, UnixTime)> {
        self.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session `id` as the store has it, shown to those who watch it. One that is known here to have ended has ended: if the
/// store has lost that, it is told once more.
///
/// # Errors
/// If the store is not available.
pub(super) async fn look(
    store: &dyn SessionStore,
    live: &Watchlist,
    hearing: &Hearing,
    id: SessionId,
) -> Result<Option<Session>, StoreError> {
    // Before the store is read: a doubt that comes later is not settled by this look.
    let doubts = live.doubts();
    let Some(mut session) = store.find(id).await? else { return Ok(None) };
    if session.state.revoked.is_none()
        && let Some(reason) = live.why_ended(id)
    {
        match store.revoke(id, reason).await {
            Ok(true) => {
                hearing.repeated.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(session = %id, "the store had lost a revocation; it was made once more");
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(session = %id, %error, "the store has lost a revocation"),
        }
        // Whatever came of that.
        session.state.revoke(reason, store.now());
    }
    match session.state.revoked {
        // Whoever ended it may not have known: the store answers late at times, and a process may not be alone.
        Some(revocation) => live.end_for_good(id, Some(revocation.reason)),
        None => live.show(&session, doubts),
    }
    Ok(Some(session))
}

impl Follower {
    /// Ends with the store.
    pub(super) async fn follow(self, mut news: Receiver<News>) {
        let mut newer = Newer::default();
        let mut looks = FuturesUnordered::new();
        let mut check: Pin<Box<dyn Future<Output = ()> + Send + '_>> = Box::pin(pending());
        let mut trust = Trust::new();
        let (mut ahead, mut seconds) = (None, interval(A_SECOND));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while looks.len() < AT_ONCE
                && let Some(id) = newer.next()
            {
                looks.push(self.see(id));
            }
            let missed = tokio::select! {
                heard = news.recv() => match heard {
                    Ok(News::Ended(id)) => {
                        self.live.end_for_good(id, None);
                        false
                    }
                    // If there are too many of them, all are looked at.
                    Ok(News::Renewed(id)) => self.live.shows(id) && !newer.push(id),
                    Ok(News::Document) => false,
                    Ok(News::Deaf) => {
                        if self.hearing.becomes(Ear::Deaf, self.store.now()) {
                            trust.pause();
                            check = Box::pin(self.look_around());
                        }
                        false
                    }
                    Ok(News::Missed) | Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return,
                },
                Some(()) = looks.next(), if !looks.is_empty() => false,
                () = &mut check => {
                    self.hearing.becomes(Ear::Hears, self.store.now());
                    trust.restore();
                    check = Box::pin(pending());
                    false
                }
                _ = seconds.tick() => {
                    ahead = self.compare(ahead);
                    false
                }
            };
            if missed {
                self.hearing.becomes(Ear::Checks, self.store.now());
                newer = Newer::default();
                trust.pause();
                // From the beginning: what was looked at before may have changed unheard.
                check = Box::pin(self.check(trust.begin()));
            }
        }
    }

    /// How far ahead the store's clock is for what is cached; `None`: nothing is. Has all of it judged anew once this process's
    /// clock was set since, or the store's: ends were told by another clock.
    fn compare(&self, before: Option<i64>) -> Option<i64> {
        let now = self.store.ahead();
        match before {
            // At the beginning nothing is known of the store's clock. Before anything is cached, it is.
            None => (!self.live.is_empty()).then_some(now),
            Some(before) if now.abs_diff(before) <= SET => Some(before),
            Some(before) => {
                let doubted = self.live.doubt(&self.live.watched());
                self.hearing.doubted.fetch_add(doubted, Ordering::Relaxed);
                tracing::warn!(
                    before,
                    now,
                    "the store's clock is not as far ahead as it was: what is cached is judged anew"
                );
                Some(now)
            }
        }
    }

    /// Looks at everything that is watched, and at what has ended here, until all of it is known. What is not known after
    /// `trust` is trusted no more.
    async fn check(&self, trust: Duration) {
        let bound = Instant::now() + trust;
        let left = Mutex::new(self.live.watched().into_iter().chain(self.live.ended()).collect::<HashSet<_>>());
        let left = || left.lock().unwrap_or_else(PoisonError::into_inner);
        let looking = async {
            loop {
                let round: Vec<SessionId> = left().iter().copied().collect();
                if round.is_empty() {
                    return;
                }
                let look = async |id| {
                    if self.judge(id).await.is_ok() {
                        left().remove(&id);
                    } else {
                        // A store that is in trouble is not asked the faster for it.
                        sleep(A_PAUSE).await;
                    }
                };
                stream::iter(round).for_each_concurrent(AT_ONCE, look).await;
            }
        };
        let mut looking = pin!(looking);
        tokio::select! {
            () = &mut looking => return,
            () = sleep_until(bound) => {}
        }
        let unknown: Vec<SessionId> = left().iter().copied().collect();
        let doubted = self.live.doubt(&unknown);
        self.hearing.doubted.fetch_add(doubted, Ordering::Relaxed);
        tracing::warn!(sessions = doubted, "sessions could not be looked at in time: their tokens are judged anew");
        looking.await;
    }

    /// While nothing is heard: now and then at everything that is watched, as far as the store answers. Nothing is
    /// doubted for a store that is away.
    async fn look_around(&self) {
        loop {
            sleep(TRUSTED).await;
            let look = async |id| {
                if self.judge(id).await.is_err() {
                    sleep(A_PAUSE).await;
                }
            };
            stream::iter(self.live.watched()).for_each_concurrent(AT_ONCE, look).await;
        }
    }

    /// Ends what rests on `id` unless it lives.
    async fn judge(&self, id: SessionId) -> Result<(), StoreError> {
        let was_watched = self.live.is_watched(id);
        let found = match look(&*self.store, &self.live, &self.hearing, id).await {
            Err(StoreError::Unreadable(_)) => {
                // Nor would it be at the next look.
                self.hearing.doubted.fetch_add(self.live.doubt(&[id]), Ordering::Relaxed);
                return Ok(());
            }
            found => found?,
        };
        if found.is_some_and(|session| session.is_alive(self.store.now())) {
            self.hearing.kept.fetch_add(1, Ordering::Relaxed);
        } else if was_watched {
            self.live.end(id);
            self.hearing.ended.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Shows what the authority outside gave another process.
    async fn see(&self, id: SessionId) {
        if let Err(error) = look(&*self.store, &self.live, &self.hearing, id).await {
            // Whoever finds the old token too old asks for another.
            tracing::debug!(session = %id, %error, "what another replica has renewed could not be read");
        }
    }
}

/// Sessions for which there is something newer, each once.
#[derive(Default)]
struct Newer {
    order: VecDeque<SessionId>,
    known: HashSet<SessionId>,
}

impl Newer {
    /// False if there are too many.
    fn push(&mut self, id: SessionId) -> bool {
        if self.order.len() >= MOST_NEWER {
            return false;
        }
        if self.known.insert(id) {
            self.order.push_back(id);
        }
        true
    }

    /// To be looked at from now on: what comes after that is newer still.
    fn next(&mut self) -> Option<SessionId> {
        let id = self.order.pop_front()?;
        self.known.remove(&id);
        Some(id)
    }
}

/// How long what was not looked at is still trusted. A connection that breaks again and again does not begin it anew; while
/// there is none, it does not run: then nobody can be asked.
struct Trust {
    left: Duration,
    runs_since: Option<Instant>,
}

impl Trust {
    fn new() -> Trust {
        Trust { left: TRUSTED, runs_since: None }
    }

    fn begin(&mut self) -> Duration {
        self.runs_since = Some(Instant::now());
        self.left
    }

    fn pause(&mut self) {
        if let Some(since) = self.runs_since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
    }

    /// Everything is known.
    fn restore(&mut self) {
        *self = Trust::new();
    }
}

/// Looks at the store under way.
const AT_ONCE: usize = 64;
const A_PAUSE: Duration = Duration::from_millis(100);
/// In which everything is looked at once the store can be heard again.
const TRUSTED: Duration = Duration::from_secs(30);
const MOST_NEWER: usize = 10_000;
const A_SECOND: Duration = Duration::from_secs(1);
/// Seconds by which clocks drift apart, and answers are late, without anything being wrong.
const SET: u64 = 5;

#[cfg(test)]
mod tests;
