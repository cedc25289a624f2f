//! How long the head of a response is waited for.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::{Duration, Instant};

use super::{
    error::UpstreamError,
    exchange::{Exchange, Phase},
    timer::{Timer, after},
};
use crate::config;

/// The limits of one exchange until its response begins.
pub(super) struct Patience {
    started: Instant,
    first_byte: Duration,
    idle: Duration,
    exchange: Option<Arc<Exchange>>,
}

impl Patience {
    pub(super) fn new(started: Instant, timeouts: &config::Timeouts, exchange: Option<Arc<Exchange>>) -> Self {
        Patience { started, first_byte: timeouts.first_byte, idle: timeouts.idle, exchange }
    }

    /// Ready when it is over. An upload that makes progress moves the deadline.
    pub(super) fn poll_lost(&self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<UpstreamError> {
        loop {
            let (deadline, verdict) = self.deadline();
            let Some(look) = earlier(deadline, self.next_look()) else {
                return Poll::Pending;
            };
            ready!(timer.poll_until(cx, look));
            if deadline.is_none_or(|deadline| deadline > look) {
                continue;
            }
            match verdict {
                Verdict::Lost(error) => return Poll::Ready(error()),
                // RFC 9110, section 10.1.1: a client need not wait for 100 for ever, nor must its proxy.
                Verdict::Release => self.release(),
            }
        }
    }

    /// The end of an upload brings a deadline of its own and wakes nobody: look in time for it.
    fn next_look(&self) -> Option<Instant> {
        let uploading = self.exchange.as_ref().is_some_and(|exchange| exchange.phase() != Phase::Done);
        if uploading { after(Instant::now(), self.first_byte) } else { None }
    }

    fn release(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.release();
        }
    }

    fn deadline(&self) -> (Option<Instant>, Verdict) {
        let Some(exchange) = &self.exchange else {
            return (after(self.started, self.first_byte), Verdict::Lost(|| UpstreamError::FirstByteTimeout));
        };
        let last = exchange.last().max(self.started);
        match exchange.phase() {
            Phase::Held => (after(self.started, CONTINUE), Verdict::Release),
            Phase::AwaitingClient => (after(last, self.idle), Verdict::Lost(|| UpstreamError::RequestBodyTimeout)),
            Phase::Sending => (after(last, self.idle), Verdict::Lost(|| UpstreamError::IdleTimeout)),
            Phase::Done => (after(last, self.first_byte), Verdict::Lost(|| UpstreamError::FirstByteTimeout)),
        }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

enum Verdict {
    Lost(fn() -> UpstreamError),
    Release,
}

/// How long an upstream may take to say 100 before the body is sent all the same.
const CONTINUE: Duration = Duration::from_secs(1);
