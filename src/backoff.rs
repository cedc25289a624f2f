//! How long to wait before another try at something that has failed.

use std::time::Duration;

/// The pause after the `failures`th failure in a row: doubled from one second to `longest`, of which `chance` (from 0 to 1)
/// takes up to a half away, so that those who failed together do not come back together. Whole seconds, at least one: that
/// is what clients are told.
pub fn pause(failures: u32, longest: Duration, chance: f64) -> Duration {
    let whole = Duration::from_secs(1 << failures.saturating_sub(1).min(16)).min(longest);
    let spread = whole.as_secs_f64() * (1.0 - chance.clamp(0.0, 1.0) / 2.0);
    Duration::from_secs(spread.ceil() as u64).max(Duration::from_secs(1))
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
        assert_eq!((pause(4, longest, 0.5).as_secs(), pause(4, longest, f64::NAN).as_secs()), (6, 1));
    }

    #[test]
    fn chances_are_between_nothing_and_one_and_not_always_the_same() {
        let drawn: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(drawn.iter().all(|chance| (0.0..1.0).contains(chance)));
        assert!(drawn.iter().any(|chance| *chance != drawn[0]));
    }
}
