//! What stands in the files, in memory: what is to be replayed, and what `/status` says.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::record::Key;
use crate::{model::UnixTime, telemetry::metrics::Metrics};

/// Shared by the thread that writes and by those who ask.
pub(super) struct Shared {
    live: Mutex<Live>,
    /// The disk has not answered somebody, and nobody since.
    pub stuck: AtomicBool,
    pub metrics: Arc<Metrics>,
}

#[derive(Default)]
pub(super) struct Live {
    entries: HashMap<Key, Entry>,
    /// In the order in which the store has said what became of them.
    settled: VecDeque<(Instant, Key)>,
    settled_bytes: usize,
    /// Records and files that are kept and that nobody here can read.
    pub unreadable: usize,
    pub failing: Option<Failing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    pub since: UnixTime,
    /// For people; no secret.
    pub error: String,
}

pub(super) struct Entry {
    pub sealed: Arc<[u8]>,
    /// The number of the file that it stands in.
    pub home: u32,
    /// When the store said what became of it.
    settled: Option<Instant>,
    /// When somebody last told the store; `None`: nobody of this process did.
    told: Option<Instant>,
    /// The store may have forgotten it.
    doubted: bool,
}

/// An entry whose turn it is.
pub(super) struct Due {
    pub key: Key,
    pub sealed: Arc<[u8]>,
    /// The store knew of it once.
    pub settled: bool,
}

impl Shared {
    pub(super) fn new(metrics: Arc<Metrics>) -> Shared {
        Shared { live: Mutex::default(), stuck: AtomicBool::new(false), metrics }
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        // Whatever is done under it is whole by itself.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that entries cannot be made durable now; told once.
    pub(super) fn fails(&self, error: String, now: UnixTime) {
        let mut live = self.live();
        if live.failing.is_none() {
            tracing::error!(error, "the journal cannot be written; renewals go on without it");
        }
        let since = live.failing.as_ref().map_or(now, |failing| failing.since);
        live.failing = Some(Failing { since, error });
    }

    pub(super) fn works(&self) {
        self.stuck.store(false, Ordering::Relaxed);
        if self.live().failing.take().is_some() {
            tracing::info!("the journal can be written again");
        }
    }
}

impl Live {
    /// One that was settled gives way.
    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        if let Some(at) = entry.settled {
            self.settled.push_back((at, key));
            self.settled_bytes += entry.sealed.len();
        }
        if let Some(before) = self.entries.insert(key, entry).filter(|before| before.settled.is_some()) {
            self.settled_bytes -= before.sealed.len();
        }
    }

    /// The same for what another process has left, of which there may be a copy.
    pub(super) fn adopt(&mut self, key: Key, entry: Entry) {
        if entry.settled.is_some() || !self.entries.contains_key(&key) {
            self.insert(key, entry);
        }
    }

    /// Whether `key` stands there, and nobody knows what became of it; from now on somebody is at it.
    pub(super) fn waits(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.settled.is_none()) else { return false };
        entry.told = Some(Instant::now());
        true
    }

    /// The store has said what became of `key`: the file that has to note it, if that is new.
    pub(super) fn settle(&mut self, key: Key) -> Option<u32> {
        let entry = self.entries.get_mut(&key)?;
        entry.doubted = false;
        if entry.settled.is_some() {
            return None;
        }
        let now = Instant::now();
        entry.settled = Some(now);
        self.settled_bytes += entry.sealed.len();
        self.settled.push_back((now, key));
        Some(entry.home)
    }

    /// Forgets what has been settled for so long that no store forgets it any more, and what there is no room for.
    pub(super) fn expire(&mut self, kept_for: Duration, most_bytes: usize) {
        while let Some((at, key)) = self.settled.front().copied() {
            if at.elapsed() < kept_for && self.settled_bytes <= most_bytes {
                return;
            }
            self.settled.pop_front();
            if self.entries.get(&key).is_some_and(|entry| entry.settled == Some(at))
                && let Some(entry) = self.entries.remove(&key)
            {
                self.settled_bytes -= entry.sealed.len();
            }
        }
    }

    /// The store may have gone back to how it was a while ago.
    pub(super) fn doubt(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.doubted = true);
    }

    /// What the store is to be told, or asked for, now. Whoever renews tries by themselves for as long as `theirs`.
    pub(super) fn due(&self, theirs: Duration) -> Vec<Due> {
        let is_due = |entry: &Entry| match entry.settled {
            Some(_) => entry.doubted,
            None => entry.told.is_none_or(|told| told.elapsed() >= theirs),
        };
        let due = self.entries.iter().filter(|(_, entry)| is_due(entry));
        due.map(|(key, entry)| Due { key: *key, sealed: entry.sealed.clone(), settled: entry.settled.is_some() })
            .collect()
    }

    /// The store does not take `key` now.
    pub(super) fn told(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.told = Some(Instant::now());
        }
    }

    /// What stands in the file `home`, each with whether it is settled.
    pub(super) fn of(&self, home: u32) -> impl Iterator<Item = (&Key, &Entry, bool)> {
        let of = self.entries.iter().filter(move |(_, entry)| entry.home == home);
        of.map(|(key, entry)| (key, entry, entry.settled.is_some()))
    }

    /// Entries of which nobody knows what became.
    pub(super) fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| entry.settled.is_none()).count()
    }
}

impl Entry {
    /// What this process was given, and is about to tell the store.
    pub(super) fn new(sealed: Arc<[u8]>, home: u32) -> Entry {
        Entry { sealed, home, settled: None, told: Some(Instant::now()), doubted: false }
    }

    /// What another process has left; `settled`: the store knew of it.
    pub(super) fn left(sealed: Arc<[u8]>, home: u32, settled: bool) -> Entry {
        Entry { sealed, home, settled: settled.then(Instant::now), told: None, doubted: true }
    }
}
