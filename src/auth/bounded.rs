//! What is kept under digests of tokens: bounded in bytes, and what is used stays. Nothing here decides whether a value may
//! still be used: whoever asks does.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use moka::sync::Cache;
use prometheus::IntCounter;

use super::cache::TokenDigest;
use crate::{model::UnixTime, telemetry::metrics::CacheSnapshot};

/// Values by digest.
pub struct Bounded<V> {
    entries: Cache<TokenDigest, V, DigestHasher>,
    /// From when on a value is only waiting to be swept out.
    until: fn(&V) -> UnixTime,
    evictions: Evictions,
}

/// What had to go for want of room is what was put in, was not taken out and is not there: a listener of moka's takes a lock
/// for each entry that comes and goes.
struct Evictions {
    /// Entries that took no other's place.
    kept: AtomicU64,
    taken_out: AtomicU64,
    told: AtomicU64,
    counter: IntCounter,
}

impl<V: Clone + Send + Sync + 'static> Bounded<V> {
    /// `weight`: the bytes that a value takes, beside what the cache itself needs for it.
    pub fn new(
        max_bytes: u64,
        weight: impl Fn(&V) -> usize + Send + Sync + 'static,
        until: fn(&V) -> UnixTime,
        evictions: IntCounter,
    ) -> Bounded<V> {
        // Without a timer, which takes memory for each entry: whoever finds a value looks at its times anyway.
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(move |_, value| u32::try_from(weight(value).saturating_add(OVERHEAD)).unwrap_or(u32::MAX))
            .build_with_hasher(DigestHasher::default());
        let evictions = Evictions {
            kept: AtomicU64::new(0),
            taken_out: AtomicU64::new(0),
            told: AtomicU64::new(0),
            counter: evictions,
        };
        Bounded { entries, until, evictions }
    }

    pub fn find(&self, digest: TokenDigest) -> Option<V> {
        // Where nothing was ever refused, a new token need not be looked for among what was.
        if self.evictions.kept.load(Relaxed) == 0 {
            return None;
        }
        self.entries.get(&digest)
    }

    pub fn keep(&self, digest: TokenDigest, value: V) {
        if !self.entries.contains_key(&digest) {
            self.evictions.kept.fetch_add(1, Relaxed);
        }
        self.entries.insert(digest, value);
    }

    pub fn forget(&self, digest: TokenDigest) {
        if self.entries.remove(&digest).is_some() {
            self.evictions.taken_out.fetch_add(1, Relaxed);
        }
    }

    /// Lets go of what is over.
    pub fn sweep(&self, now: UnixTime) {
        for (digest, value) in &self.entries {
            if now >= (self.until)(&value) {
                // One that has just taken its place is found anew.
                self.forget(*digest);
            }
        }
    }

    /// After the work that moka puts off; evictions are counted here.
    pub fn snapshot(&self, name: &'static str) -> CacheSnapshot<'static> {
        // First, so that none counts as gone that has only just come.
        let kept = self.evictions.kept.load(Relaxed);
        self.entries.run_pending_tasks();
        let there = self.entries.entry_count() + self.evictions.taken_out.load(Relaxed);
        let gone = kept.saturating_sub(there);
        self.evictions.counter.inc_by(gone.saturating_sub(self.evictions.told.fetch_max(gone, Relaxed)));
        CacheSnapshot {
            name,
            entries: self.entries.entry_count(),
            bytes: self.entries.weighted_size(),
            max_bytes: self.entries.policy().max_capacity().unwrap_or_default(),
        }
    }
}

/// The key is uniformly distributed and unknown to the outside: eight bytes of it are the hash.
#[derive(Default)]
pub struct FirstEightBytes(u64);

type DigestHasher = BuildHasherDefault<FirstEightBytes>;

impl Hasher for FirstEightBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    /// The length of the array, which `Hash` writes first, says nothing.
    fn write_usize(&mut self, _: usize) {}
}

/// Cost of an entry beside its value: key, links and counters (benches/cache_memory).
const OVERHEAD: usize = 280;

#[cfg(test)]
mod tests {
    use super::*;

    type Value = (u64, usize, UnixTime);

    fn digest(number: u64) -> TokenDigest {
        // As uniform as a real one.
        TokenDigest::of((u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }

    fn bounded(max_bytes: u64) -> (Bounded<Value>, IntCounter) {
        let evictions = IntCounter::new("evictions", "evictions").unwrap();
        (Bounded::new(max_bytes, |value: &Value| value.1, |value| value.2, evictions.clone()), evictions)
    }

    #[test]
    fn the_bound_is_kept_and_what_had_to_go_is_counted() {
        let (cache, evictions) = bounded(200_000);
        for number in 0..5000 {
            cache.keep(digest(number), (number, 88, UnixTime(1)));
        }
        let snapshot = cache.snapshot("x");
        assert!(snapshot.bytes <= 200_000 && snapshot.bytes > 180_000, "{}", snapshot.bytes);
        assert_eq!(snapshot.entries + evictions.get(), 5000);
    }

    #[test]
    fn what_replaces_another_is_no_eviction_and_has_its_own_weight() {
        let (cache, evictions) = bounded(200_000);
        cache.keep(digest(1), (1, 1000, UnixTime(1)));
        cache.keep(digest(1), (2, 100, UnixTime(1)));
        assert_eq!(cache.find(digest(1)).map(|value| value.0), Some(2));
        let snapshot = cache.snapshot("x");
        assert_eq!((snapshot.entries, snapshot.bytes, evictions.get()), (1, (100 + OVERHEAD) as u64, 0));
        cache.forget(digest(1));
        assert_eq!((cache.find(digest(1)), cache.snapshot("x").bytes), (None, 0));
    }

    #[test]
    fn what_is_over_is_swept_out_and_nothing_else() {
        let (cache, evictions) = bounded(200_000);
        for number in 0..300 {
            cache.keep(digest(number), (number, 50, UnixTime(number)));
        }
        cache.sweep(UnixTime(100));
        assert_eq!((cache.snapshot("x").entries, evictions.get()), (199, 0));
        assert!(cache.find(digest(100)).is_none() && cache.find(digest(101)).is_some());
    }
}
