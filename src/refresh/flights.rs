//! One renewal at a time for each session, shared by all who want it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch};

use super::{FORCED_EVERY, LONGEST_REST, NotRenewed, Outcome};
use crate::{
    backoff::{chance, pause},
    model::UnixTime,
    session::SessionId,
    spans::Renewing,
};

pub(super) type Landed = watch::Receiver<Option<Outcome>>;

/// Renewals under way, and failures that are too fresh to try again. Outlives a reload: the next generation joins what
/// the last one began.
pub(super) struct Flights {
    known: Mutex<Known>,
    under_way: watch::Sender<usize>,
}

#[derive(Default)]
struct Known {
    entries: HashMap<SessionId, Entry>,
    /// When a flight was last sent off only since somebody refuses what there is.
    forced: HashMap<SessionId, UnixTime>,
    clear_forced_at: usize,
    /// Entries to grow to until those that are over are cleared away.
    clear_at: usize,
}

struct Entry {
    landed: Landed,
    span: Renewing,
    /// `None`: under way.
    rests_until: Option<UnixTime>,
    /// In a row.
    failures: u32,
}

impl Entry {
    /// What is left of its rest at `now`.
    fn rest(&self, now: UnixTime) -> Option<Duration> {
        let left = now.until(self.rests_until?);
        // Further away than any rest is long: the clock was set back.
        (!left.is_zero() && left.as_secs() <= FRESH).then_some(left)
    }
}

/// What comes after a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Whoever comes next begins anew.
    Forget,
    /// The outcome stands for so long.
    Rest(Duration),
    /// It has failed, and stands for longer each time, but for no less than this.
    BackOff { at_least: Duration },
}

impl Default for Flights {
    fn default() -> Flights {
        Flights { known: Mutex::default(), under_way: watch::Sender::new(0) }
    }
}

impl Flights {
    /// What the last flight of `id` came to, if it is not to be tried again at `now`.
    pub(super) fn rests(&self, id: SessionId, now: UnixTime) -> Option<Landed> {
        let known = self.lock();
        let entry = known.entries.get(&id)?;
        entry.rest(now).map(|_| entry.landed.clone())
    }

    /// For how long that is so; `None`: whoever comes is another try.
    pub(super) fn rest(&self, id: SessionId, now: UnixTime) -> Option<Duration> {
        self.lock().entries.get(&id)?.rest(now)
    }

    /// Joins the flight of `id`, or sends `flight` off at `now`; it says also what comes after it, and when it was over.
    /// Detached: the authority may have spent the old refresh token by the time that whoever asked has hung up. `None`:
    /// `forced`, and the last one of that kind was sent off a moment ago.
    pub(super) fn board(
        self: &Arc<Self>,
        id: SessionId,
        now: UnixTime,
        forced: bool,
        background: &Handle,
        flight: impl Future<Output = (Outcome, Then, UnixTime)> + Send + 'static,
    ) -> Option<Landed> {
        let (landing, landed) = watch::channel(None);
        let span = Renewing::default();
        {
            let mut known = self.lock();
            let failures = match known.entries.get(&id) {
                Some(Entry { rests_until: None, landed, span, .. }) => {
                    span.join();
                    return Some(landed.clone());
                }
                Some(Entry { rests_until: Some(until), failures, .. }) if near(*until, now) => *failures,
                _ => 0,
            };
            if forced && !known.force(id, now) {
                return None;
            }
            span.join();
            let entry = Entry { landed: landed.clone(), span: span.clone(), rests_until: None, failures };
            known.entries.insert(id, entry);
        }
        self.under_way.send_modify(|count| *count += 1);
        // Without the lock: a runtime that shuts down drops the flight here, which then takes the lock itself.
        let place = Place { flights: self.clone(), id };
        background.spawn(async move {
            // In here, and before the sender: whoever waits learns of a flight that is dropped once its place is free.
            let (place, landing) = (place, landing);
            let (outcome, then, now) = span.around(flight).await;
            let (result, failed) = word(&outcome);
            span.end("renew authority_token", result, failed);
            // First: who comes after the answer must look at the store, not join what is over.
            place.leave(then, now);
            landing.send_replace(Some(outcome));
        });
        Some(landed)
    }

    /// What has failed may be tried again at once.
    pub(super) fn forget_rests(&self) {
        self.lock().entries.retain(|_, entry| {
            entry.failures = 0;
            entry.rests_until.is_none()
        });
    }

    /// Waits until none is under way.
    pub(super) async fn quiet(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.under_way.subscribe().wait_for(|count| *count == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Insertion and removal are whole by themselves.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether a flight of `id` may be sent off by force at `now`; from here on none may for a while.
    fn force(&mut self, id: SessionId, now: UnixTime) -> bool {
        let fresh = |then: UnixTime| then.0.abs_diff(now.0) < FORCED_EVERY;
        if self.forced.get(&id).is_some_and(|then| fresh(*then)) {
            return false;
        }
        if self.forced.len() >= self.clear_forced_at {
            self.forced.retain(|_, then| fresh(*then));
            self.clear_forced_at = (self.forced.len() * 2).max(64);
        }
        self.forced.insert(id, now);
        true
    }

    /// Keeps the outcome of `id`, which came at `now`, for as long as `then` says, and clears away what is over.
    fn rest(&mut self, id: SessionId, then: Then, now: UnixTime) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let rest = match then {
            Then::Forget => return,
            Then::Rest(rest) => rest,
            Then::BackOff { at_least } => {
                entry.failures = entry.failures.saturating_add(1);
                pause(entry.failures, LONGEST_REST, chance()).max(at_least)
            }
        };
        entry.rests_until = Some(now.plus(rest.as_secs()));
        if self.entries.len() >= self.clear_at {
            self.entries.retain(|_, entry| entry.rests_until.is_none_or(|until| near(until, now)));
            // Twice what is left: each look at all of them is paid for by as many new ones.
            self.clear_at = (self.entries.len() * 2).max(64);
        }
        if self.entries.len() > MOST_KEPT {
            // Then it may be tried again sooner; what protects the authority from all of them is its breaker.
            self.entries.remove(&id);
        }
    }
}

/// However a flight ends, its place is free again.
struct Place {
    flights: Arc<Flights>,
    id: SessionId,
}

impl Place {
    fn leave(self, then: Then, now: UnixTime) {
        self.flights.lock().rest(self.id, then, now);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.flights.lock();
        if known.entries.get(&self.id).is_some_and(|entry| entry.rests_until.is_none()) {
            known.entries.remove(&self.id);
        }
        drop(known);
        self.flights.under_way.send_modify(|count| *count -= 1);
    }
}

/// What came of a renewal, and whether it failed.
fn word(outcome: &Outcome) -> (&'static str, bool) {
    match outcome {
        Ok(_) => ("renewed", false),
        Err(NotRenewed::Ended) => ("ended", false),
        Err(NotRenewed::NotRenewable) => ("not_renewable", false),
        Err(NotRenewed::NotAsked { .. }) => ("not_asked", true),
        Err(NotRenewed::Unavailable { .. }) => ("unavailable", true),
    }
}

/// Whether a rest that ends at `until` says anything at `now`: it does not if it was over long ago, or the clock was set
/// back.
fn near(until: UnixTime, now: UnixTime) -> bool {
    until.plus(FRESH) > now && now.plus(FRESH) > until
}

/// Seconds: longer than any rest.
const FRESH: u64 = 2 * LONGEST_REST.as_secs();
/// Sessions whose failures are remembered.
const MOST_KEPT: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const NOW: UnixTime = UnixTime(100_000);
    const FAILED: Then = Then::BackOff { at_least: Duration::ZERO };

    fn id() -> SessionId {
        SessionId::random().unwrap()
    }

    fn unavailable() -> Outcome {
        Err(NotRenewed::unavailable("test".to_owned()))
    }

    /// One flight of `id` at `now`, and how many seconds nobody asks again after it.
    async fn rest_after(flights: &Arc<Flights>, id: SessionId, now: UnixTime, then: Then) -> u64 {
        let flight = async move { (unavailable(), then, now) };
        let mut landed = flights.board(id, now, false, &Handle::current(), flight).unwrap();
        landed.wait_for(Option::is_some).await.unwrap();
        (0..).find(|second| flights.rests(id, now.plus(*second)).is_none()).unwrap()
    }

    #[tokio::test]
    async fn a_flight_that_panics_leaves_nobody_waiting_and_its_place_free() {
        let (flights, id) = (Arc::new(Flights::default()), id());
        let mut landed = flights.board(id, NOW, false, &Handle::current(), async { panic!("on purpose") }).unwrap();
        assert!(landed.wait_for(Option::is_some).await.is_err());
        flights.quiet().await;
        let over = async { (Err(NotRenewed::Ended), Then::Forget, NOW) };
        let mut next = flights.board(id, NOW, false, &Handle::current(), over).unwrap();
        assert_eq!(*next.wait_for(Option::is_some).await.unwrap(), Some(Err(NotRenewed::Ended)));
    }

    #[test]
    fn a_runtime_that_shuts_down_leaves_nobody_waiting() {
        let (flights, id) = (Arc::new(Flights::default()), id());
        let background = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let handle = background.handle().clone();
        let mut under_way = flights.board(id, NOW, false, &handle, pending()).unwrap();
        background.shutdown_timeout(Duration::from_secs(5));
        let mut late = flights.board(id, NOW, false, &handle, pending()).unwrap();
        let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
        waiting.block_on(async {
            assert!(under_way.wait_for(Option::is_some).await.is_err());
            assert!(late.wait_for(Option::is_some).await.is_err());
            flights.quiet().await;
        });
    }

    #[tokio::test]
    async fn a_failure_stands_until_its_time_and_is_then_forgotten() {
        let flights = Arc::new(Flights::default());
        for number in 0..1000 {
            rest_after(&flights, id(), NOW.plus(number), FAILED).await;
        }
        assert!(flights.lock().entries.len() < 500, "what is over goes");
        let id = id();
        assert_eq!(rest_after(&flights, id, NOW, Then::Rest(Duration::from_secs(5))).await, 5);
        assert_eq!(flights.rest(id, NOW.plus(2)), Some(Duration::from_secs(3)));
        assert!(flights.rests(id, UnixTime(1)).is_none(), "a clock that was set back stops nobody");
    }

    #[tokio::test]
    async fn each_failure_in_a_row_stands_for_longer_up_to_a_minute_until_one_succeeds() {
        let (flights, id, mut now) = (Arc::new(Flights::default()), id(), NOW);
        for longest in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let rest = rest_after(&flights, id, now, FAILED).await;
            assert!((longest / 2..=longest).contains(&rest), "{rest} of {longest}");
            now = now.plus(rest);
            // Nobody was asked in between, which says nothing.
            now = now.plus(rest_after(&flights, id, now, Then::Rest(Duration::from_secs(2))).await);
        }
        rest_after(&flights, id, now, Then::Forget).await;
        assert_eq!(rest_after(&flights, id, now, FAILED).await, 1);
        assert!(rest_after(&flights, id, now.plus(1), FAILED).await <= 2);
        assert_eq!(rest_after(&flights, id, now.plus(3600), FAILED).await, 1, "of long ago nothing is known");
    }

    #[tokio::test]
    async fn what_the_authority_says_of_trying_again_is_the_least() {
        let (flights, id) = (Arc::new(Flights::default()), id());
        let asked = Then::BackOff { at_least: Duration::from_secs(30) };
        assert_eq!(rest_after(&flights, id, NOW, asked).await, 30);
        assert!(rest_after(&flights, id, NOW.plus(30), FAILED).await <= 2);
    }

    #[tokio::test]
    async fn a_flood_of_failures_is_remembered_within_bounds() {
        let flights = Arc::new(Flights::default());
        let (_sender, landed) = watch::channel(Some(unavailable()));
        for _ in 0..MOST_KEPT {
            let entry =
                Entry { landed: landed.clone(), span: Renewing::default(), rests_until: Some(NOW), failures: 1 };
            flights.lock().entries.insert(id(), entry);
        }
        assert_eq!(rest_after(&flights, id(), NOW, FAILED).await, 0);
        assert_eq!(flights.lock().entries.len(), MOST_KEPT);
    }

    #[tokio::test]
    async fn by_force_a_session_is_renewed_once_in_30_seconds_and_who_comes_meanwhile_joins() {
        let (flights, id) = (Arc::new(Flights::default()), id());
        let force = |id, now| {
            flights.board(id, now, true, &Handle::current(), async move { (unavailable(), Then::Forget, now) })
        };
        let first = force(id, NOW).unwrap();
        assert!(force(id, NOW).unwrap().same_channel(&first), "under way");
        flights.quiet().await;
        assert!(force(id, NOW.plus(29)).is_none() && force(super::tests::id(), NOW).is_some());
        assert!(flights.board(id, NOW, false, &Handle::current(), pending()).is_some(), "by time at any time");
        flights.lock().entries.clear();
        assert!(force(id, NOW.plus(30)).is_some());
        for number in 0..1000 {
            force(super::tests::id(), NOW.plus(100 + number));
        }
        assert!(flights.lock().forced.len() < 200, "what is over goes");
    }
}
