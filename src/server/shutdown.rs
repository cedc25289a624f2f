//! The phases of an orderly end, and the count of what it waits for.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

use tokio::sync::watch;

use crate::config::Drain;

/// How far the end has come. It only ever moves downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    Running,
    /// Not ready any more, but still accepting: load balancers need time to notice.
    Draining(Drain),
    /// The listeners are closed; what is in flight may finish.
    Closing,
    /// Patience is over: what is left is counted and closed.
    Aborted,
    /// Everything is closed.
    Ended,
}

impl Phase {
    fn rank(self) -> u8 {
        match self {
            Phase::Running => 0,
            Phase::Draining(_) => 1,
            Phase::Closing => 2,
            Phase::Aborted => 3,
            Phase::Ended => 4,
        }
    }
}

/// The handle by which the process is ended in order. Clones share one state.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
    /// Whether `phase` has ever changed: what every connection looks at whenever it wakes.
    begun: Arc<AtomicBool>,
    open: Count,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown { phase: Arc::new(watch::Sender::new(Phase::Running)), begun: Arc::default(), open: Count::default() }
    }
}

impl Shutdown {
    /// Begins the drain; its settings are those of the configuration in force now. A second call changes nothing.
    pub fn begin(&self, drain: Drain) {
        self.advance(Phase::Draining(drain));
    }

    /// Ends everything at once.
    pub fn abort(&self) {
        self.advance(Phase::Aborted);
    }

    /// Where the end stands; readiness is `phase() == Phase::Running`.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns once a drain has begun: what lives long by itself (a tunnel, a stream of events) may say goodbye.
    pub async fn draining(&self) {
        self.begun().await;
    }

    /// Counts something that a drain waits for. Accepted connections, also upgraded ones, are counted already; this is
    /// for work that outlives its connection.
    pub fn track(&self) -> Token {
        self.open.token()
    }

    /// How many tokens are alive.
    pub fn open(&self) -> usize {
        *self.open.0.borrow()
    }

    pub(super) fn close(&self) {
        self.advance(Phase::Closing);
    }

    /// Lets the workers go, with whatever they still hold.
    pub(super) fn end(&self) {
        self.advance(Phase::Ended);
    }

    /// Waits for the beginning of the end; `None` if it was skipped by [`Shutdown::abort`].
    pub(super) async fn begun(&self) -> Option<Drain> {
        match self.reached(1).await {
            Phase::Draining(drain) => Some(drain),
            Phase::Running | Phase::Closing | Phase::Aborted | Phase::Ended => None,
        }
    }

    /// Whether there is anything to wait for yet; without a lock.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Acquire)
    }

    /// Waits until listeners are to be closed.
    pub(super) async fn closing(&self) {
        self.reached(2).await;
    }

    pub(super) async fn aborted(&self) {
        self.reached(3).await;
    }

    pub(super) async fn ended(&self) {
        self.reached(4).await;
    }

    /// Waits until no token is alive.
    pub(super) async fn quiet(&self) {
        self.open.zero().await;
    }

    async fn reached(&self, rank: u8) -> Phase {
        match self.phase.subscribe().wait_for(|phase| phase.rank() >= rank).await {
            Ok(phase) => *phase,
            // The sender lives in `self`.
            Err(_) => Phase::Ended,
        }
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let onward = to.rank() > phase.rank();
            if onward {
                *phase = to;
                // Before anybody is woken.
                self.begun.store(true, Release);
            }
            onward
        });
    }
}

/// How many tokens of one kind are alive.
#[derive(Debug, Clone)]
pub(super) struct Count(Arc<watch::Sender<usize>>);

impl Default for Count {
    fn default() -> Self {
        Count(Arc::new(watch::Sender::new(0)))
    }
}

impl Count {
    pub(super) fn token(&self) -> Token {
        self.0.send_modify(|alive| *alive += 1);
        Token(self.clone())
    }

    pub(super) async fn zero(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|alive| *alive == 0).await;
    }
}

/// One thing that is waited for, until it is dropped.
#[derive(Debug)]
pub struct Token(Count);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.0.send_modify(|alive| *alive -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DRAIN: Drain = Drain { delay: Duration::ZERO, timeout: Duration::from_secs(1) };

    #[tokio::test]
    async fn a_phase_never_goes_back() {
        let shutdown = Shutdown::default();
        shutdown.abort();
        shutdown.begin(DRAIN);
        assert_eq!(shutdown.phase(), Phase::Aborted);
        assert_eq!(shutdown.begun().await, None);
    }

    #[tokio::test]
    async fn quiet_waits_for_the_last_token() {
        let shutdown = Shutdown::default();
        let (first, second) = (shutdown.track(), shutdown.track());
        drop(first);
        let waiting = shutdown.clone();
        let quiet = tokio::spawn(async move { waiting.quiet().await });
        tokio::task::yield_now().await;
        assert!(!quiet.is_finished());
        drop(second);
        quiet.await.unwrap();
    }
}
