//! How much life a token has left, in the words that decide what is done.

use std::time::Duration;

use crate::{backoff, config::Refresh, model::UnixTime, session::SessionId};

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

/// How much earlier than others somebody renews: what began together must not all be renewed in the same second. Always
/// the same for one session, so that all who look at it agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread(u8);

impl Spread {
    /// As late as can be.
    pub const NONE: Spread = Spread(0);

    /// For what has no id: replicas that started together differ in it.
    pub fn any() -> Spread {
        Spread((backoff::chance() * 256.0) as u8)
    }

    /// Up to a quarter of `ahead`.
    fn of(self, ahead: Duration) -> Duration {
        ahead / 4 * u32::from(self.0) / u32::from(u8::MAX)
    }
}

impl From<SessionId> for Spread {
    fn from(id: SessionId) -> Spread {
        // Of the half that is random in every id.
        Spread(id.0[7])
    }
}

/// How a token that was issued at `issued` and ends at `expires` stands at `now` for somebody who needs `need` of it.
pub fn timing(
    issued: UnixTime,
    expires: UnixTime,
    now: UnixTime,
    need: Duration,
    spread: Spread,
    settings: &Refresh,
) -> Timing {
    let left = left(issued, expires, now);
    let life = issued.until(expires);
    // What it did not have when it was new, no renewal brings: asking again and again would be all that came of it.
    if left.is_zero() || (left < need && need <= life) {
        return Timing::Due;
    }
    if left <= ahead(life, spread, settings) { Timing::Soon } else { Timing::Fresh }
}

/// How long a token may still be used. One that was asked for in the future was so before the clock was set back: how much
/// of its life is over, nobody knows then.
pub fn left(issued: UnixTime, expires: UnixTime, now: UnixTime) -> Duration {
    if now.plus(STEP) < issued { Duration::ZERO } else { now.until(expires) }
}

/// From when on a token is renewed beside those who use it.
pub fn renews_from(issued: UnixTime, expires: UnixTime, spread: Spread, settings: &Refresh) -> UnixTime {
    expires.minus(ahead(issued.until(expires), spread, settings).as_secs())
}

fn ahead(life: Duration, spread: Spread, settings: &Refresh) -> Duration {
    let tenth = life / 10;
    let ahead = settings.ahead.unwrap_or(tenth.clamp(SHORTEST_AHEAD, LONGEST_AHEAD));
    // Of a token that lives shorter than that, half its life is early enough.
    (ahead + spread.of(ahead)).min(life / 2)
}

/// From when on the use of a sliding token moves its end: the middle of its life. Whoever uses it seldom must still meet
/// the time in which it can be renewed, so that is no short one.
pub fn slides_from(issued: UnixTime, expires: UnixTime) -> UnixTime {
    issued.plus((issued.until(expires) / 2).as_secs())
}

/// Seconds that a clock is set back by to be right, and nothing else is wrong.
const STEP: u64 = 10;
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

    fn spread(spread: Spread, now: u64, lifetime: u64, ahead: Option<u64>) -> Timing {
        let (issued, expires) = (UnixTime(1000), UnixTime(1000 + lifetime));
        timing(issued, expires, UnixTime(now), Duration::ZERO, spread, &settings(ahead))
    }

    fn at(now: u64, lifetime: u64, ahead: Option<u64>) -> Timing {
        spread(Spread::NONE, now, lifetime, ahead)
    }

    #[test]
    fn what_has_less_than_is_needed_is_due_unless_it_never_had_that_much() {
        let at = |now, need| {
            let need = Duration::from_secs(need);
            timing(UnixTime(1000), UnixTime(1300), UnixTime(now), need, Spread::NONE, &settings(None))
        };
        assert_eq!((at(1240, 60), at(1241, 60)), (Timing::Fresh, Timing::Due));
        assert_eq!((at(1000, 300), at(1001, 300)), (Timing::Fresh, Timing::Due));
        assert_eq!((at(1001, 301), at(1299, 301), at(1300, 301)), (Timing::Fresh, Timing::Soon, Timing::Due));
    }

    #[test]
    fn what_is_left_of_a_token_is_not_known_once_the_clock_is_set_back_beyond_its_beginning() {
        assert_eq!((at(990, 300, None), at(989, 300, None)), (Timing::Fresh, Timing::Due));
        assert_eq!(left(UnixTime(1000), UnixTime(1300), UnixTime(0)), Duration::ZERO);
        assert_eq!(left(UnixTime(1000), UnixTime(1300), UnixTime(1299)), Duration::from_secs(1));
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

    #[test]
    fn what_began_together_is_renewed_one_after_the_other_within_a_quarter_of_the_usual_time() {
        for (ahead, lifetime, latest) in [(None, 3600, 60), (Some(100), 3600, 100), (Some(8), 40, 8)] {
            let end = 1000 + lifetime;
            // The second in which a session is renewed first.
            let first = |id: u8| {
                let soon = |now| spread(Spread(id), now, lifetime, ahead) == Timing::Soon;
                (1000..end).find(|now| soon(*now)).unwrap()
            };
            let seconds: Vec<u64> = (0..=u8::MAX).map(first).collect();
            assert!(seconds.is_sorted_by(|one, next| one >= next));
            assert_eq!((seconds[0], seconds[255]), (end - latest, end - latest - latest / 4));
            for second in seconds[255]..=seconds[0] {
                let together = seconds.iter().filter(|other| **other == second).count() as u64;
                assert!(together <= 256 / (latest / 4) + 1, "{together} in one second");
            }
        }
        assert_eq!(spread(Spread(255), 1001, 4, None), Timing::Fresh, "half of a short life");
        assert_eq!(spread(Spread(255), 1149, 300, Some(200)), Timing::Fresh);
    }

    #[test]
    fn the_same_session_is_always_renewed_at_the_same_time_whatever_the_form_of_its_id() {
        let spreads: Vec<Spread> =
            (0..=u8::MAX).map(|last| SessionId::compact([1, 2, 3, 4, 5, 6, 7, last]).into()).collect();
        assert!(spreads.iter().enumerate().all(|(last, spread)| *spread == Spread(last as u8)));
    }
}
