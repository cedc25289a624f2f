//! How long to wait before another try at something that has failed.

use std::time::Duration;

/// The pause after the `failures`th failure in a row: doubled from one second to `longest`, of which `chance` (from 0 to 1)
/// takes up to a half away, so that those who failed together do not come back together. Whole seconds, at least one: that
/// is what clients are told.
pub fn pause(failures: u32, longest: Duration, chance: f64) -> Duration {
    let pause = between(failures, Duration::from_secs(1), longest, chance);
    Duration::from_secs(pause.as_secs_f64().ceil() as u64).max(Duration::from_secs(1))
}

/// The same from `shortest` on, and to the fraction of a second: for what nobody is told of.
pub fn between(failures: u32, shortest: Duration, longest: Duration, chance: f64) -> Duration {
    let whole = shortest.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    // No number: as if it were none.
    let chance = if chance.is_nan() { 0.0 } else { chance.clamp(0.0, 1.0) };
    whole.mul_f64(1.0 - chance / 2.0)
}

/// In [0, 1).
pub fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness all try in the same moment; that is all.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_are_spread_over_half_of_their_length() {
        let longest = Duration::from_secs(60);
        let seconds = |chance| [0, 1, 2, 3, 4, 7, 100, u32::MAX].map(|number| pause(number, longest, chance).as_secs());
        assert_eq!(seconds(0.0), [1, 1, 2, 4, 8, 60, 60, 60]);
        assert_eq!(seconds(1.0), [1, 1, 1, 2, 4, 30, 30, 30]);
        assert_eq!((pause(4, longest, 0.5).as_secs(), pause(4, longest, f64::NAN).as_secs()), (6, 8));
    }

    #[test]
    fn short_pauses_grow_likewise_from_their_shortest() {
        let (shortest, longest) = (Duration::from_millis(50), Duration::from_secs(1));
        let millis = |chance| [1, 2, 3, 5, 6, u32::MAX].map(|n| between(n, shortest, longest, chance).as_millis());
        assert_eq!(millis(0.0), [50, 100, 200, 800, 1000, 1000]);
        assert_eq!(millis(1.0), [25, 50, 100, 400, 500, 500]);
        assert_eq!(between(1, shortest, longest, f64::NAN), shortest);
    }

    #[test]
    fn chances_are_between_nothing_and_one_and_not_always_the_same() {
        let drawn: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(drawn.iter().all(|chance| (0.0..1.0).contains(chance)));
        assert!(drawn.iter().any(|chance| *chance != drawn[0]));
    }
}
