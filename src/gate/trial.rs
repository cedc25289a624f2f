//! What routes with `mode: observe` let pass: counted on the way of a request, and put together for whoever wants to know
//! whether they can enforce.

mod advice;
mod report;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

pub use self::report::{Judgement, RouteReport};
use crate::{
    model::{RequestId, UnixTime},
    telemetry::reason::Reason,
};

/// The trials of all routes, by their names. They outlive a reload, and end with the process.
#[derive(Default)]
pub struct Trials(Mutex<BTreeMap<Arc<str>, Arc<Trial>>>);

/// What one route has seen while it observed.
pub struct Trial {
    since: AtomicU64,
    requests: AtomicU64,
    last_request: AtomicU64,
    /// By [`Reason`].
    tallies: [Tally; Reason::ALL.len()],
    /// Refusals of valid tokens, by whom the configuration knows.
    known: RwLock<HashMap<(Reason, Known), AtomicU64>>,
    at_reload: Mutex<Option<Mark>>,
}

/// The refusals for one reason. Moments are seconds since 1970; 0: none.
#[derive(Default)]
struct Tally {
    refused: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    next_example: AtomicU64,
    examples: Mutex<VecDeque<Example>>,
}

/// What had been counted when the configuration changed.
struct Mark {
    at: UnixTime,
    requests: u64,
    refused: [u64; Reason::ALL.len()],
}

/// By what names the configuration knows whose a token is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Known {
    pub issuer: Option<Arc<str>>,
    pub client: Option<Arc<str>>,
}

/// One request that would have been refused: enough to find its line in the log, and nothing that its client sent.
#[derive(Clone)]
struct Example {
    at: UnixTime,
    id: RequestId,
    code: &'static str,
    known: Known,
}

impl Trials {
    /// The counts of `route`: those that are there, or new ones.
    pub fn of(&self, route: &Arc<str>, now: UnixTime) -> Arc<Trial> {
        self.routes().entry(route.clone()).or_insert_with(|| Arc::new(Trial::new(now))).clone()
    }

    /// Notes that another configuration holds from `now` on, with these routes.
    pub fn reloaded<'a>(&self, routes: impl Iterator<Item = &'a str>, now: UnixTime) {
        let names: Vec<&str> = routes.collect();
        let mut trials = self.routes();
        trials.retain(|name, _| names.contains(&&**name));
        trials.values().for_each(|trial| trial.mark(now));
    }

    fn routes(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Trial>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial {
    fn new(now: UnixTime) -> Trial {
        Trial {
            since: now.0.into(),
            requests: AtomicU64::default(),
            last_request: AtomicU64::default(),
            tallies: std::array::from_fn(|_| Tally::default()),
            known: RwLock::default(),
            at_reload: Mutex::default(),
        }
    }

    /// Counts a request, whatever was found of it.
    pub fn seen(&self, now: UnixTime) {
        self.requests.fetch_add(1, Relaxed);
        note_last(&self.last_request, now);
    }

    /// Counts a request that would have been refused. `example`: what is kept of it, if this one is to be kept.
    pub fn refused(&self, reason: Reason, code: &'static str, known: Option<Known>, id: &RequestId, now: UnixTime) {
        let tally = &self.tallies[reason as usize];
        tally.refused.fetch_add(1, Relaxed);
        let _ = tally.first.compare_exchange(0, now.0, Relaxed, Relaxed);
        note_last(&tally.last, now);
        // Few are kept, and of those who come at once one.
        let next = tally.next_example.load(Relaxed);
        let keeps =
            now.0 >= next && tally.next_example.compare_exchange(next, now.0 + EXAMPLE_EVERY, Relaxed, Relaxed).is_ok();
        if keeps {
            let mut examples = tally.examples.lock().unwrap_or_else(PoisonError::into_inner);
            examples.truncate(EXAMPLES - 1);
            let known = known.clone().unwrap_or_default();
            examples.push_front(Example { at: now, id: id.clone(), code, known });
        }
        if let Some(known) = known {
            self.count((reason, known));
        }
    }

    fn count(&self, key: (Reason, Known)) {
        if let Some(count) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            count.fetch_add(1, Relaxed);
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let key = if known.len() < MOST_KNOWN { key } else { (key.0, Known::default()) };
        known.entry(key).or_default().fetch_add(1, Relaxed);
    }

    /// Forgets everything; what is counted meanwhile may go with it.
    pub fn reset(&self, now: UnixTime) {
        for tally in &self.tallies {
            for number in [&tally.refused, &tally.first, &tally.last, &tally.next_example] {
                number.store(0, Relaxed);
            }
            tally.examples.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        self.known.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.requests.store(0, Relaxed);
        self.last_request.store(0, Relaxed);
        self.since.store(now.0, Relaxed);
        *self.mark_at() = None;
    }

    fn mark(&self, now: UnixTime) {
        *self.mark_at() = Some(Mark { at: now, requests: self.requests.load(Relaxed), refused: self.counts() });
    }

    fn mark_at(&self) -> MutexGuard<'_, Option<Mark>> {
        self.at_reload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> [u64; Reason::ALL.len()] {
        std::array::from_fn(|reason| self.tallies[reason].refused.load(Relaxed))
    }
}

/// Written once a second at the most, so that workers do not take the line from each other for it.
fn note_last(moment: &AtomicU64, now: UnixTime) {
    if moment.load(Relaxed) != now.0 {
        moment.store(now.0, Relaxed);
    }
}

/// Examples that are kept for each reason: the newest ones.
const EXAMPLES: usize = 3;
/// Seconds between two of them.
const EXAMPLE_EVERY: u64 = 10;
/// Issuers, clients and reasons that are counted apart; what comes later is counted as of nobody.
const MOST_KNOWN: usize = 200;
