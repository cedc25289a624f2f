//! A few at once, a few that wait, and nobody else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Places for expensive work.
pub(super) struct Line {
    places: Arc<Semaphore>,
    at_once: usize,
    waiting: AtomicUsize,
    most_waiting: usize,
    longest_wait: Duration,
}

/// Too many wait already, or it took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Line {
    pub fn new(at_once: usize) -> Line {
        Line::with(at_once, WAITING_FOR_EACH, LONGEST_WAIT)
    }

    /// For work that nobody's request hangs on: rather late than not at all.
    pub fn patient(at_once: usize) -> Line {
        Line::with(at_once, PATIENT_FOR_EACH, PATIENT_WAIT)
    }

    fn with(at_once: usize, waiting_for_each: usize, longest_wait: Duration) -> Line {
        Line {
            places: Arc::new(Semaphore::new(at_once)),
            at_once,
            waiting: AtomicUsize::new(0),
            most_waiting: at_once.saturating_mul(waiting_for_each),
            longest_wait,
        }
    }

    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// How many have a place, and how many wait for one.
    pub fn lengths(&self) -> (usize, usize) {
        (self.at_once - self.places.available_permits(), self.waiting.load(Ordering::Relaxed))
    }

    /// A place, at once or after a bounded wait; it is held until the permit is dropped.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        // Those who wait come first: the semaphore hands a free place to them and never leaves it open for this.
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::join(self)?;
        match timeout(self.longest_wait, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Full),
        }
    }
}

/// One who waits. Counted by its life, since a client that hangs up ends the wait anywhere.
struct Waiting<'l>(&'l Line);

impl<'l> Waiting<'l> {
    fn join(line: &'l Line) -> Result<Waiting<'l>, Full> {
        let joined = line.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < line.most_waiting).then_some(waiting + 1)
        });
        joined.map(|_| Waiting(line)).map_err(|_| Full)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many may wait for each place.
const WAITING_FOR_EACH: usize = 4;
const PATIENT_FOR_EACH: usize = 128;

/// A client would rather be told to come again than wait longer.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(2);
const PATIENT_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn beyond_those_at_once_and_those_who_wait_nobody_is_taken() {
        let line = Line::new(1);
        let place = line.enter().await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING_FOR_EACH).map(|_| Box::pin(line.enter())).collect();
        for one in &mut waiting {
            assert!(poll!(one).is_pending());
        }
        assert_eq!(line.enter().now_or_never().unwrap().unwrap_err(), Full);

        // One hangs up, and another may wait in its stead.
        waiting.pop();
        let mut late = Box::pin(line.enter());
        assert!(poll!(&mut late).is_pending());

        drop(place);
        let first = waiting.remove(0).await.unwrap();
        assert!(poll!(&mut late).is_pending());
        drop((first, waiting));
        assert!(late.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_is_said() {
        let line = Line::new(1);
        let _place = line.enter().await.unwrap();
        assert_eq!(line.enter().await.unwrap_err(), Full);
    }
}
