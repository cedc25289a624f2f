//! One renewal at a time for each session, shared by all who want it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::watch};

use super::Outcome;
use crate::{model::UnixTime, session::SessionId};

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
    /// Entries to grow to until those that are over are cleared away.
    clear_at: usize,
}

struct Entry {
    landed: Landed,
    /// `None`: under way.
    rests_until: Option<UnixTime>,
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
        // Further away than any rest is long: the clock was set back.
        let rests = |until: UnixTime| now < until && now.until(until).as_secs() <= FRESH;
        entry.rests_until.is_some_and(rests).then(|| entry.landed.clone())
    }

    /// Joins the flight of `id`, or sends `flight` off; it says also until when its outcome stands. Detached: the
    /// authority may have spent the old refresh token by the time that whoever asked has hung up.
    pub(super) fn board(
        self: &Arc<Self>,
        id: SessionId,
        background: &Handle,
        flight: impl Future<Output = (Outcome, Option<UnixTime>)> + Send + 'static,
    ) -> Landed {
        let (landing, landed) = watch::channel(None);
        {
            let mut known = self.lock();
            if let Some(under_way) = known.entries.get(&id).filter(|entry| entry.rests_until.is_none()) {
                return under_way.landed.clone();
            }
            known.entries.insert(id, Entry { landed: landed.clone(), rests_until: None });
        }
        self.under_way.send_modify(|count| *count += 1);
        // Without the lock: a runtime that shuts down drops the flight here, which then takes the lock itself.
        let place = Place { flights: self.clone(), id };
        background.spawn(async move {
            // In here, and before the sender: whoever waits learns of a flight that is dropped once its place is free.
            let (place, landing) = (place, landing);
            let (outcome, rests_until) = flight.await;
            // First: who comes after the answer must look at the store, not join what is over.
            place.leave(rests_until);
            landing.send_replace(Some(outcome));
        });
        landed
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
    /// Keeps the outcome of `id` until then, and clears away what is over.
    fn rest(&mut self, id: SessionId, until: UnixTime) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.rests_until = Some(until);
        }
        if self.entries.len() >= self.clear_at {
            // Who rests does so for a minute at most, so what is far from this one is over.
            let near = |other: UnixTime| other.plus(FRESH) > until && until.plus(FRESH) > other;
            self.entries.retain(|_, entry| entry.rests_until.is_none_or(near));
            // Twice what is left: each look at all of them is paid for by as many new ones.
            self.clear_at = (self.entries.len() * 2).max(64);
        }
    }
}

/// However a flight ends, its place is free again.
struct Place {
    flights: Arc<Flights>,
    id: SessionId,
}

impl Place {
    fn leave(self, rests_until: Option<UnixTime>) {
        if let Some(until) = rests_until {
            self.flights.lock().rest(self.id, until);
        }
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

/// Seconds: longer than any rest.
const FRESH: u64 = 120;

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::{super::NotRenewed, *};

    fn id() -> SessionId {
        SessionId::random().unwrap()
    }

    fn unavailable() -> Outcome {
        Err(NotRenewed::Unavailable { retry_after: None, cause: "test".to_owned() })
    }

    #[tokio::test]
    async fn a_flight_that_panics_leaves_nobody_waiting_and_its_place_free() {
        let (flights, id) = (Arc::new(Flights::default()), id());
        let mut landed = flights.board(id, &Handle::current(), async { panic!("on purpose") });
        assert!(landed.wait_for(Option::is_some).await.is_err());
        flights.quiet().await;
        let mut next = flights.board(id, &Handle::current(), async { (Err(NotRenewed::Ended), None) });
        assert_eq!(*next.wait_for(Option::is_some).await.unwrap(), Some(Err(NotRenewed::Ended)));
    }

    #[test]
    fn a_runtime_that_shuts_down_leaves_nobody_waiting() {
        let (flights, id) = (Arc::new(Flights::default()), id());
        let background = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let handle = background.handle().clone();
        let mut under_way = flights.board(id, &handle, pending());
        background.shutdown_timeout(Duration::from_secs(5));
        let mut late = flights.board(id, &handle, pending());
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
        let now = UnixTime(1000);
        for number in 0..1000 {
            let until = now.plus(number);
            let mut landed = flights.board(id(), &Handle::current(), async move { (unavailable(), Some(until)) });
            landed.wait_for(Option::is_some).await.unwrap();
        }
        assert!(flights.lock().entries.len() < 500, "what is over goes");
        let id = id();
        let mut landed = flights.board(id, &Handle::current(), async move { (unavailable(), Some(now.plus(5))) });
        landed.wait_for(Option::is_some).await.unwrap();
        assert!(flights.rests(id, now.plus(4)).is_some());
        assert!(flights.rests(id, now.plus(5)).is_none());
        assert!(flights.rests(id, UnixTime(1)).is_none(), "a clock that was set back stops nobody");
    }
}
