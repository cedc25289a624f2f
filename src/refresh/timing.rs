//! How much life a token has left, in the words that decide what is done.

use std::time::Duration;

use crate::{config::Refresh, model::UnixTime};

/// What is to be done with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Use it.
    Fresh,
    /// Use it, and renew it beside the request.
    Soon,
    /// The request waits for the renewal.
    Due,
}

/// How a token that was issued at `issued` and ends at `expires` stands at `now` for somebody who needs `need` of it.
pub fn timing(issued: UnixTime, expires: UnixTime, now: UnixTime, need: Duration, settings: &Refresh) -> Timing {
    let left = now.until(expires);
    let life = issued.until(expires);
    // What it did not have when it was new, no renewal brings: asking again and again would be all that came of it.
    if left.is_zero() || (left < need && need <= life) {
        return Timing::Due;
    }
    if left <= ahead(life, settings) { Timing::Soon } else { Timing::Fresh }
}

/// From when on a token is renewed beside those who use it.
pub fn renews_from(issued: UnixTime, expires: UnixTime, settings: &Refresh) -> UnixTime {
    expires.minus(ahead(issued.until(expires), settings).as_secs())
}

fn ahead(life: Duration, settings: &Refresh) -> Duration {
    let tenth = life / 10;
    let ahead = settings.ahead.unwrap_or(tenth.clamp(SHORTEST_AHEAD, LONGEST_AHEAD));
    // Of a token that lives shorter than that, half its life is early enough.
    ahead.min(life / 2)
}

/// From when on the use of a sliding token moves its end: the middle of its life. Whoever uses it seldom must still meet
/// the time in which it can be renewed, so that is no short one.
pub fn slides_from(issued: UnixTime, expires: UnixTime) -> UnixTime {
    issued.plus((issued.until(expires) / 2).as_secs())
}

const SHORTEST_AHEAD: Duration = Duration::from_secs(5);
const LONGEST_AHEAD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(ahead: Option<u64>) -> Refresh {
        Refresh {
            ahead: ahead.map(Duration::from_secs),
            wait: Duration::from_secs(5),
            accept_expired_for: Duration::ZERO,
            extends_idle: false,
        }
    }

    fn at(now: u64, lifetime: u64, ahead: Option<u64>) -> Timing {
        timing(UnixTime(1000), UnixTime(1000 + lifetime), UnixTime(now), Duration::ZERO, &settings(ahead))
    }

    #[test]
    fn what_has_less_than_is_needed_is_due_unless_it_never_had_that_much() {
        let at = |now, need| {
            timing(UnixTime(1000), UnixTime(1300), UnixTime(now), Duration::from_secs(need), &settings(None))
        };
        assert_eq!((at(1240, 60), at(1241, 60)), (Timing::Fresh, Timing::Due));
        assert_eq!((at(1000, 300), at(1001, 300)), (Timing::Fresh, Timing::Due));
        assert_eq!((at(1001, 301), at(1299, 301), at(1300, 301)), (Timing::Fresh, Timing::Soon, Timing::Due));
    }

    #[test]
    fn a_token_is_renewed_in_the_last_tenth_of_its_life_and_waited_for_once_it_is_over() {
        for (now, timing) in [
            (1000, Timing::Fresh),
            (1269, Timing::Fresh),
            (1270, Timing::Soon),
            (1299, Timing::Soon),
            (1300, Timing::Due),
            (9999, Timing::Due),
        ] {
            assert_eq!(at(now, 300, None), timing, "{now}");
        }
    }

    #[test]
    fn the_tenth_has_bounds_and_a_short_life_is_not_all_last_moments() {
        assert_eq!((at(4539, 3600, None), at(4540, 3600, None)), (Timing::Fresh, Timing::Soon));
        assert_eq!((at(1014, 20, None), at(1015, 20, None)), (Timing::Fresh, Timing::Soon));
        assert_eq!((at(1001, 4, None), at(1002, 4, None)), (Timing::Fresh, Timing::Soon));
        assert_eq!((at(1199, 300, Some(100)), at(1200, 300, Some(100))), (Timing::Fresh, Timing::Soon));
    }
}
