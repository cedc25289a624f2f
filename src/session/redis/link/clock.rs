//! How far the servers' clock is ahead of ours.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::model::{Time, UnixMillis};

/// An answer tells a time that has passed a little when it comes, by however long it took: late, but never early. So the
/// largest difference of the last seconds is the closest to the truth. Of several servers it is that of the clock that is
/// ahead of the others.
pub(super) struct Clock {
    time: Time,
    started: Instant,
    heard: Mutex<Option<Heard>>,
    /// In milliseconds.
    ahead: AtomicI64,
}

struct Heard {
    /// What our clock had when a steady one had zero: it changes when ours is set.
    base: i64,
    largest: i64,
    since: Instant,
    /// Of the window before.
    before: i64,
}

impl Clock {
    pub fn new(time: Time) -> Clock {
        Clock { time, started: Instant::now(), heard: Mutex::default(), ahead: AtomicI64::new(0) }
    }

    pub fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// Takes note of the servers' time in an answer that came just now.
    pub fn heard(&self, servers: UnixMillis) {
        self.compare(servers, self.time.now_millis(), Instant::now());
    }

    /// Takes note of what a server's own clock shows: time that was moved, moved for it as well.
    pub fn shown(&self, servers: UnixMillis) {
        self.heard(UnixMillis(servers.0.saturating_add_signed(self.time.moved().saturating_mul(1000))));
    }

    fn compare(&self, servers: UnixMillis, ours: UnixMillis, now: Instant) {
        let (servers, ours) = (millis(servers), millis(ours));
        let base = ours.saturating_sub(i64::try_from((now - self.started).as_millis()).unwrap_or(i64::MAX));
        let found = servers.saturating_sub(ours);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = match &mut *heard {
            Some(heard) if base.abs_diff(heard.base) <= SET => {
                heard.base = base;
                if now.saturating_duration_since(heard.since) >= WINDOW {
                    (heard.before, heard.largest, heard.since) = (heard.largest, found, now);
                } else {
                    heard.largest = heard.largest.max(found);
                }
                heard.largest.max(heard.before)
            }
            // What was found before our clock was set says nothing now.
            _ => {
                *heard = Some(Heard { base, largest: found, since: now, before: i64::MIN });
                found
            }
        };
        self.ahead.store(ahead, Ordering::Relaxed);
    }
}

fn millis(moment: UnixMillis) -> i64 {
    i64::try_from(moment.0).unwrap_or(i64::MAX)
}

const WINDOW: Duration = Duration::from_secs(5);
/// Milliseconds that our clock may gain on a steady one from one answer to the next without having been set.
const SET: u64 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_took_long_do_not_move_the_estimate_and_a_clock_that_was_set_does() {
        let clock = Clock::new(Time::default());
        let start = clock.started;
        let compare = |after: u64, ours: u64, servers: u64| {
            clock.compare(UnixMillis(servers), UnixMillis(ours), start + Duration::from_millis(after));
            clock.ahead()
        };
        // Two seconds ahead; answers take from 1 to 400 ms.
        assert_eq!(compare(0, 1_000_000, 1_001_900), 1900);
        assert_eq!(compare(100, 1_000_100, 1_002_099), 1999);
        assert_eq!(compare(200, 1_000_200, 1_001_800), 1999);
        // In the next window the best of the last still counts, and then no more.
        assert_eq!(compare(5_200, 1_005_200, 1_007_150), 1999);
        assert_eq!(compare(10_300, 1_010_300, 1_012_250), 1950);
        // Ours is set forward by a minute, and back again.
        assert_eq!(compare(10_400, 1_070_400, 1_012_350), -58_050);
        assert_eq!(compare(10_500, 1_010_500, 1_012_499), 1999);
    }

    #[test]
    fn time_that_tests_move_is_moved_for_the_servers_too() {
        let time = Time::default();
        let clock = Clock::new(time.clone());
        time.advance(1000);
        let theirs = UnixMillis(Time::default().now_millis().0 + 3000);
        clock.shown(theirs);
        assert!((2900..=3000).contains(&clock.ahead()), "{}", clock.ahead());
    }
}
