//! What the two directions of one exchange know of each other; exists only for requests with a body.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Waker},
};

use tokio::time::{Duration, Instant};

/// The state of a request's body, written by the body and read by whoever waits for the response.
///
/// Both sides run on one worker thread; the atomics only make that safe to say.
pub(super) struct Exchange {
    base: Instant,
    /// Microseconds from `base` to the last byte taken.
    last: AtomicU64,
    phase: AtomicU8,
    failure: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// How far the request's body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The upstream is on its way with bytes that it has.
    Sending,
    /// Nothing goes on before the upstream says 100 (RFC 9110, section 10.1.1).
    Held,
    /// The client has the next byte.
    AwaitingClient,
    /// All of it was taken.
    Done,
}

/// Why the request's body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Failure {
    None,
    TooLarge,
    Client,
    Cancelled,
}

impl Exchange {
    pub(super) fn new() -> Self {
        Exchange {
            base: Instant::now(),
            last: AtomicU64::new(0),
            phase: AtomicU8::new(Phase::Sending as u8),
            failure: AtomicU8::new(Failure::None as u8),
            waker: Mutex::new(None),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Sending,
            1 => Phase::Held,
            2 => Phase::AwaitingClient,
            _ => Phase::Done,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Notes that a byte was taken, or the end.
    pub(super) fn progress(&self, phase: Phase) {
        let micros = u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(micros, Relaxed);
        self.set_phase(phase);
    }

    /// When the last byte was taken; at first, when the request was made.
    pub(super) fn last(&self) -> Instant {
        self.base + Duration::from_micros(self.last.load(Relaxed))
    }

    pub(super) fn failure(&self) -> Failure {
        match self.failure.load(Relaxed) {
            0 => Failure::None,
            1 => Failure::TooLarge,
            2 => Failure::Client,
            _ => Failure::Cancelled,
        }
    }

    pub(super) fn fail(&self, failure: Failure) {
        self.failure.store(failure as u8, Relaxed);
    }

    /// Lets a held body go.
    pub(super) fn release(&self) {
        if self.phase() == Phase::Held {
            self.progress(Phase::Sending);
            self.wake();
        }
    }

    /// Nobody wants the rest: the body ends with an error, which closes the connection or resets the stream.
    pub(super) fn cancel(&self) {
        if self.phase() != Phase::Done && self.failure() == Failure::None {
            self.fail(Failure::Cancelled);
            self.wake();
        }
    }

    /// Has the task that polls the body woken by [`Exchange::release`] and [`Exchange::cancel`].
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
