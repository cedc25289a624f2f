//! How often one principal or one address may ask.
//!
//! The generic cell rate algorithm: one number for each key, the moment at which it would be idle if requests
//! came evenly. The keys live in a bounded cache (governor's own map grows until somebody sweeps it).

pub mod shared;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::sync::Cache;

use crate::config::Rate;

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u128);

impl Key {
    /// A digest of what names the principal.
    pub fn digest(digest: u128) -> Self {
        Key(digest)
    }

    /// An address; of IPv6 the first 64 bits, since a client has all the addresses below them.
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Key(address.to_bits().into()),
            IpAddr::V6(address) => Key(address.to_bits() >> 64 << 64),
        }
    }
}

/// The request came too early; it may come again after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; the next one is welcome in {} s", self.seconds())]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// The value of `Retry-After`: whole seconds, at least 1.
    pub fn seconds(self) -> u64 {
        let started = u64::from(self.0.subsec_nanos() > 0);
        self.0.as_secs().saturating_add(started).max(1)
    }
}

/// Counts the requests of one route by one kind of key.
#[derive(Debug)]
pub struct Limiter {
    start: Instant,
    interval: u64,
    /// How far ahead of the clock the idle moment may lie: `burst - 1` intervals.
    tolerance: u64,
    /// Nanoseconds since `start` at which each key is idle.
    idle_at: Cache<Key, Arc<AtomicU64>>,
}

impl Limiter {
    /// `start` is any moment before the first [`Limiter::check`].
    pub fn new(rate: Rate, start: Instant) -> Self {
        Limiter::with_keys(rate, start, MOST_KEYS)
    }

    fn with_keys(rate: Rate, start: Instant, most: u64) -> Self {
        // A key that has been idle for a whole burst is as good as new.
        let forget = rate.interval.saturating_mul(rate.burst).clamp(SOONEST_FORGOTTEN, LATEST_FORGOTTEN);
        let interval = nanos(rate.interval);
        Limiter {
            start,
            interval,
            tolerance: interval.saturating_mul(u64::from(rate.burst.saturating_sub(1))),
            idle_at: Cache::builder().max_capacity(most).time_to_idle(forget).build(),
        }
    }

    /// Counts one request of `key` at `now`, or says when it may come again.
    ///
    /// Of more than [`MOST_KEYS`] keys the rarest are forgotten: a flood of others may give a key its burst anew.
    pub fn check(&self, key: Key, now: Instant) -> Result<(), RetryAfter> {
        let now = nanos(now.saturating_duration_since(self.start));
        let known = self.idle_at.get(&key);
        let idle_at = known.unwrap_or_else(|| self.idle_at.get_with(key, Arc::default));
        let counted = idle_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |idle| {
            let idle = self.counted(idle, now);
            (idle - now <= self.tolerance).then(|| idle.saturating_add(self.interval))
        });
        match counted {
            Ok(_) => Ok(()),
            Err(idle) => Err(self.wait(self.counted(idle, now), now)),
        }
    }

    /// What [`Limiter::check`] would say, without counting.
    pub fn look(&self, key: Key, now: Instant) -> Result<(), RetryAfter> {
        let now = nanos(now.saturating_duration_since(self.start));
        let idle = self.idle_at.get(&key).map_or(0, |idle_at| idle_at.load(Ordering::Relaxed));
        let idle = self.counted(idle, now);
        if idle - now <= self.tolerance { Ok(()) } else { Err(self.wait(idle, now)) }
    }

    /// Takes back one request of `key` that was counted and should not have been.
    pub fn give_back(&self, key: Key) {
        if let Some(idle_at) = self.idle_at.get(&key) {
            let _ = idle_at
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |idle| Some(idle.saturating_sub(self.interval)));
        }
    }

    /// Never more than what may have been counted by `now`: a clock that was set back keeps nobody out for longer.
    fn counted(&self, idle: u64, now: u64) -> u64 {
        idle.clamp(now, now.saturating_add(self.tolerance).saturating_add(self.interval))
    }

    fn wait(&self, idle: u64, now: u64) -> RetryAfter {
        RetryAfter(Duration::from_nanos(idle.saturating_sub(now).saturating_sub(self.tolerance)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Keys that one limiter remembers.
const MOST_KEYS: u64 = 65_536;

const SOONEST_FORGOTTEN: Duration = Duration::from_secs(60);
const LATEST_FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limiter(millis: u64, burst: u32) -> (Limiter, Instant) {
        let start = Instant::now();
        (Limiter::new(Rate { interval: Duration::from_millis(millis), burst }, start), start)
    }

    #[test]
    fn a_look_does_not_count_and_what_is_given_back_was_never_counted() {
        let (limiter, start) = limiter(100, 2);
        for _ in 0..5 {
            assert_eq!(limiter.look(Key::digest(1), start), Ok(()));
        }
        assert_eq!(limiter.check(Key::digest(1), start), Ok(()));
        assert_eq!(limiter.check(Key::digest(1), start), Ok(()));
        assert_eq!(limiter.look(Key::digest(1), start), limiter.check(Key::digest(1), start));
        assert!(limiter.look(Key::digest(1), start).is_err());
        limiter.give_back(Key::digest(1));
        assert_eq!(limiter.check(Key::digest(1), start), Ok(()));
        assert!(limiter.check(Key::digest(1), start).is_err());
        limiter.give_back(Key::digest(2));
        assert_eq!(limiter.look(Key::digest(2), start), Ok(()));
    }

    #[test]
    fn a_burst_passes_and_then_one_each_interval() {
        let (limiter, start) = limiter(100, 3);
        let at = |millis| limiter.check(Key::digest(1), start + Duration::from_millis(millis));
        for _ in 0..3 {
            assert_eq!(at(0), Ok(()));
        }
        assert_eq!(at(0), Err(RetryAfter(Duration::from_millis(100))));
        assert_eq!(at(60), Err(RetryAfter(Duration::from_millis(40))));
        assert_eq!(at(100), Ok(()));
        assert_eq!(at(100), Err(RetryAfter(Duration::from_millis(100))));
        assert_eq!(at(10_000), Ok(()));
        assert_eq!(limiter.check(Key::digest(2), start), Ok(()));
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(RetryAfter(Duration::from_millis(millis)).seconds(), seconds);
        }
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_together() {
        let key = |text: &str| Key::address(text.parse().unwrap());
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.2"), key("192.0.2.1"));
    }

    #[test]
    fn a_flood_of_keys_stays_within_bounds() {
        let start = Instant::now();
        let limiter = Limiter::with_keys(Rate { interval: Duration::from_secs(1), burst: 1 }, start, 100);
        for key in 0..5_000 {
            assert_eq!(limiter.check(Key::digest(key), start), Ok(()));
        }
        limiter.idle_at.run_pending_tasks();
        assert!(limiter.idle_at.entry_count() <= 100);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out_for_longer() {
        let (limiter, start) = limiter(1000, 2);
        let late = start + Duration::from_secs(86_400);
        for _ in 0..2 {
            assert_eq!(limiter.check(Key::digest(1), late), Ok(()));
        }
        for limited in [limiter.look(Key::digest(1), start), limiter.check(Key::digest(1), start)] {
            assert_eq!(limited, Err(RetryAfter(Duration::from_secs(1))));
        }
    }

    #[test]
    fn extreme_rates_do_not_overflow() {
        let start = Instant::now();
        let limiter = Limiter::new(Rate { interval: Duration::MAX, burst: u32::MAX }, start);
        assert_eq!(limiter.check(Key::digest(1), start), Ok(()));
        let limiter = Limiter::new(Rate { interval: Duration::ZERO, burst: 1 }, start);
        assert_eq!(limiter.check(Key::digest(1), start), Ok(()));
    }

    proptest! {
        #[test]
        fn no_window_lets_more_pass_than_its_burst_and_its_time(
            interval in 1..50_u64, burst in 1..6_u32, steps in prop::collection::vec(0..60_u64, 1..60),
        ) {
            let (limiter, start) = limiter(interval, burst);
            let mut now = 0;
            let mut passed = Vec::new();
            for step in steps {
                now += step;
                match limiter.check(Key::digest(7), start + Duration::from_millis(now)) {
                    Ok(()) => passed.push(now),
                    Err(RetryAfter(wait)) => {
                        prop_assert!(wait > Duration::ZERO && wait <= Duration::from_millis(interval));
                        let early = start + Duration::from_millis(now) + wait - Duration::from_nanos(1);
                        prop_assert!(limiter.check(Key::digest(7), early).is_err());
                    }
                }
            }
            for (at, first) in passed.iter().enumerate() {
                for (count, last) in passed[at..].iter().enumerate() {
                    let most = u64::from(burst) + (last - first) / interval;
                    prop_assert!((count as u64) < most, "{} from {first} to {last}", count + 1);
                }
            }
        }
    }
}
