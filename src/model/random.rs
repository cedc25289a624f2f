//! Numbers that tell things apart.

use std::cell::Cell;

use aws_lc_rs::rand;

/// Distinct, not secret: a counter of this thread, spread over 128 bits behind a random start (splitmix64).
pub fn distinct() -> u128 {
    thread_local! {
        static STATE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    STATE.with(|state| {
        let (mut prefix, counter) = state.get();
        if prefix == 0 {
            let mut seed = [0; 8];
            // Without a random source the numbers of this thread begin at a fixed place, and are distinct all the same.
            let _ = rand::fill(&mut seed);
            prefix = u64::from_le_bytes(seed) | 1;
        }
        let counter = counter + 1;
        state.set((prefix, counter));
        u128::from(spread(prefix)) << 64 | u128::from(spread(prefix.wrapping_add(counter.wrapping_mul(GOLDEN))))
    })
}

fn spread(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_do_not_repeat() {
        let ids: HashSet<u128> = (0..10_000).map(|_| distinct()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
