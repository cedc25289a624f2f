//! Spans as they come to be: those of requests, of what is asked for them, of renewals that several wait for.

mod asking;
mod parent;
mod record;
mod renewing;
mod serving;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures_util::future::Either;
use tokio::task::futures::TaskLocalFuture;

pub use self::{
    asking::{Asking, asking, sending},
    record::{Item, Kind, Outlet, Place, Span},
    renewing::Renewing,
    serving::{Serving, Spans},
};

tokio::task_local! {
    /// The span that the work of this task belongs to.
    static CURRENT: Arc<Current>;
}

pub struct Current {
    place: Place,
    flags: u8,
    /// No client said where it stands, or nothing that can be read.
    first: bool,
    /// `None`: others are told that nothing is recorded here.
    recording: Option<Recording>,
}

struct Recording {
    outlet: Arc<Outlet>,
    clock: Clock,
    links: Mutex<Vec<Place>>,
}

/// Every span of one request on the same clock, so that they lie within each other.
#[derive(Clone, Copy)]
struct Clock {
    /// Since 1970.
    nanoseconds: u64,
    at: Instant,
}

impl Clock {
    fn of(&self, instant: Instant) -> u64 {
        let nanoseconds = |from: Instant, to: Instant| u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX);
        if instant >= self.at {
            self.nanoseconds.saturating_add(nanoseconds(self.at, instant))
        } else {
            self.nanoseconds.saturating_sub(nanoseconds(instant, self.at))
        }
    }
}

impl Recording {
    fn link(&self, to: Place) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() < MOST_LINKS && !links.contains(&to) {
            links.push(to);
        }
    }

    fn take_links(&self) -> Vec<Place> {
        std::mem::take(&mut self.links.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn current() -> Option<Arc<Current>> {
    CURRENT.try_with(Arc::clone).ok()
}

type Around<F> = Either<F, std::pin::Pin<Box<TaskLocalFuture<Arc<Current>, F>>>>;

/// `work`, with `current` as the span that it belongs to.
fn around<F: Future>(current: Option<&Arc<Current>>, work: F) -> Around<F> {
    match current {
        // Boxed: work without a span must not carry the room for one.
        Some(current) => Either::Right(Box::pin(CURRENT.scope(current.clone(), work))),
        None => Either::Left(work),
    }
}

/// `work`, to be done by another task for the span of this one.
pub fn carried<F: Future>(work: F) -> Around<F> {
    around(current().as_ref(), work)
}

/// As the specification of OpenTelemetry has it.
const MOST_LINKS: usize = 128;

/// The flag of `traceparent` that says that somebody records.
const SAMPLED: u8 = 1;
