//! A deadline that moves often and fires rarely.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Duration, Instant, Sleep};

/// Made on first use and armed lazily: a deadline that moves away costs nothing until the old one comes.
///
/// It stays with a pooled connection, so that a request registers no timer of its own.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once `deadline` has passed.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// The moment `duration` after `start`; zero means no limit.
pub(super) fn after(start: Instant, duration: Duration) -> Option<Instant> {
    if duration.is_zero() { None } else { start.checked_add(duration) }
}
