//! How often an issuer is asked: jitter, backoff, and the budget for tokens that name unknown keys.

use std::time::Duration;

use crate::{backoff::chance, model::UnixTime};

/// A budget of [`BURST`] fetches, and one more every [`PERIOD`] seconds.
#[derive(Debug, Default)]
pub struct Budget {
    /// When the budget would be full again.
    full_at: u64,
}

impl Budget {
    /// Takes one fetch out of the budget, if there is one.
    pub fn take(&mut self, now: UnixTime) -> bool {
        // A clock that was set back must not close the budget for longer than a full burst.
        let full_at = self.full_at.clamp(now.0, now.0.saturating_add(PERIOD * BURST));
        let allowed = full_at - now.0 <= PERIOD * (BURST - 1);
        self.full_at = if allowed { full_at + PERIOD } else { full_at };
        allowed
    }
}

/// `interval`, ten percent more or less.
pub fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * chance())
}

/// The pause after the `failures`th failure in a row: doubled from 250 ms to 30 s, and between half and all of that.
pub fn backoff(failures: u32) -> Duration {
    let whole = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LAST);
    whole.mul_f64(0.5 + 0.5 * chance())
}

const PERIOD: u64 = 10;
const BURST: u64 = 3;
const FIRST: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_fetches_at_once_then_one_every_ten_seconds() {
        let mut budget = Budget::default();
        let mut taken = |second: u64| budget.take(UnixTime(1000 + second));
        assert_eq!([0, 0, 1, 1, 9].map(&mut taken), [true, true, true, false, false]);
        assert_eq!([10, 11, 19, 20, 20].map(&mut taken), [true, false, false, true, false]);
        assert_eq!([500, 500, 500, 500].map(&mut taken), [true, true, true, false]);
    }

    #[test]
    fn a_clock_that_was_set_back_closes_the_budget_for_ten_seconds_at_most() {
        let mut budget = Budget::default();
        while budget.take(UnixTime(1_000_000)) {}
        assert!(!budget.take(UnixTime(1000)));
        assert!(budget.take(UnixTime(1010)));
    }

    #[test]
    fn pauses_stay_within_their_bounds() {
        for failures in 1..100 {
            let pause = backoff(failures);
            assert!(pause >= Duration::from_millis(125) && pause <= LAST, "{failures} {pause:?}");
        }
        for _ in 0..100 {
            let interval = jittered(Duration::from_secs(300));
            assert!(interval >= Duration::from_secs(270) && interval <= Duration::from_secs(330));
        }
    }
}
