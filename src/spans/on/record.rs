//! A span that is over, and where it waits for the collector.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::super::Attribute;
use crate::model::distinct;

/// Which span, in which trace. Neither is ever zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub trace: u128,
    pub id: u64,
}

impl Place {
    /// A new span of `trace`, or of a trace of its own.
    pub(super) fn within(trace: Option<u128>) -> Place {
        let random = distinct();
        Place { trace: trace.unwrap_or_else(distinct).max(1), id: (random as u64).max(1) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Internal,
    Server,
    Client,
}

#[derive(Debug)]
pub struct Span {
    pub place: Place,
    pub parent: Option<u64>,
    /// The parent is a span of somebody else.
    pub remote: bool,
    pub kind: Kind,
    pub name: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    pub attributes: Vec<Attribute>,
    pub links: Vec<Place>,
    pub failed: bool,
}

/// What the exporter takes from the queue.
#[derive(Debug)]
pub enum Item {
    Span(Box<Span>),
    /// Everything before this one is to be sent now; then there is an answer.
    Flush(oneshot::Sender<()>),
}

/// Where spans go: a queue with a bound. Whoever serves a request never waits for it.
pub struct Outlet {
    queue: mpsc::Sender<Item>,
    lost: Box<dyn Fn() + Send + Sync>,
    /// The share of requests to record that no client decides on.
    pub(super) sample: f64,
    /// Clients decide whether their requests are recorded, also those who are no trusted proxies.
    pub(super) anyone: bool,
}

impl Outlet {
    /// For up to `room` spans; `lost` is called for each one more.
    pub fn new(
        room: usize,
        sample: f64,
        anyone: bool,
        lost: impl Fn() + Send + Sync + 'static,
    ) -> (Arc<Outlet>, mpsc::Receiver<Item>) {
        let (queue, waiting) = mpsc::channel(room);
        (Arc::new(Outlet { queue, lost: Box::new(lost), sample, anyone }), waiting)
    }

    pub(super) fn take(&self, span: Span) {
        if self.queue.try_send(Item::Span(Box::new(span))).is_err() {
            (self.lost)();
        }
    }

    /// Whether a request is recorded that nobody else decides on.
    pub(super) fn samples(&self) -> bool {
        // 53 bits are what such a number holds.
        ((distinct() as u64 >> 11) as f64) < self.sample * (1_u64 << 53) as f64
    }

    /// Returns once everything that waits was sent, or cannot be.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}
