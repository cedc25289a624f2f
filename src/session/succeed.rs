//! The step by which an access token gets a successor because it is used: one pure function that every store runs inside
//! its own transaction, in its own time.

use super::record::{Access, State};
use crate::model::UnixTime;

/// What is asked of the step. Whether the token may have a successor at all was checked before it, and the successor is
/// signed.
#[derive(Debug, Clone)]
pub struct Succeed {
    /// Of the token that is succeeded, and must be known to the session.
    pub presented: [u8; 16],
    /// The successor: it belongs to the generation of what it succeeds, whatever stands there.
    pub access: Access,
    /// Seconds until the session ends without another refresh, where this counts as one.
    pub idle: Option<u64>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succeeded {
    /// The session knows the successor.
    Kept,
    /// It would live no longer than what it succeeds.
    NoLonger,
    /// The token or its session is unknown, over or revoked.
    Gone,
}

impl State {
    /// Takes the step at `now`, the store's time. It never moves the absolute end, nor brings back what is over; taken
    /// twice it adds nothing.
    pub fn succeed(&mut self, step: &Succeed, now: UnixTime) -> Succeeded {
        if !self.is_alive(now) || step.access.foreign {
            return Succeeded::Gone;
        }
        let presented = self.access.iter().find(|access| access.digest == step.presented && !access.foreign);
        let Some(presented) = presented else { return Succeeded::Gone };
        if now >= presented.expires.plus(step.access.grace) || now >= step.access.expires {
            return Succeeded::Gone;
        }
        if step.access.expires.min(self.absolute) <= presented.expires {
            return Succeeded::NoLonger;
        }
        let generation = presented.generation;
        self.add_access(Access { generation, ..step.access.clone() }, now);
        self.touch_idle(step.idle, now);
        Succeeded::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{
        record::{MOST_ACCESS_TOKENS, RevocationReason},
        testing::{DAY, HOUR, access, session},
    };

    const NOW: UnixTime = UnixTime(1_000_000);

    /// A session whose client has one access token of five minutes, given with the second refresh token.
    fn state() -> State {
        let token = Access { digest: [1; 16], generation: 2, ..access(NOW) };
        State { access: vec![token], generation: 3, ..session("ada", NOW).state }
    }

    /// At `now`, for a token of five minutes.
    fn step(now: UnixTime) -> Succeed {
        Succeed { presented: [1; 16], access: Access { digest: [2; 16], ..access(now) }, idle: None }
    }

    #[test]
    fn the_successor_stands_beside_what_it_succeeds_and_is_of_the_same_generation() {
        let (mut state, at) = (state(), NOW.plus(200));
        for _ in 0..2 {
            assert_eq!(state.succeed(&step(at), at), Succeeded::Kept);
            let kept: Vec<_> = state.access.iter().map(|access| (access.generation, access.expires)).collect();
            assert_eq!(kept, [(2, NOW.plus(300)), (2, NOW.plus(500))]);
        }
        assert_eq!((state.generation, state.idle_until), (3, NOW.plus(HOUR)), "the refresh token keeps its time");
    }

    #[test]
    fn what_is_over_revoked_unknown_or_the_authority_s_own_has_none() {
        let gone = |change: &dyn Fn(&mut State), step: Succeed, at: UnixTime| {
            let mut state = state();
            change(&mut state);
            let before = state.clone();
            assert_eq!(state.succeed(&step, at), Succeeded::Gone);
            assert_eq!(state, before);
        };
        let at = NOW.plus(300);
        gone(&|_| (), step(at), at);
        let with_grace = |at| Succeed { access: Access { grace: 60, ..step(at).access }, ..step(at) };
        gone(&|_| (), with_grace(NOW.plus(360)), NOW.plus(360));
        gone(&|_| (), Succeed { presented: [3; 16], ..step(NOW) }, NOW);
        gone(&|state| state.access[0].foreign = true, step(NOW), NOW);
        gone(&|state| assert!(state.revoke(RevocationReason::Client, NOW)), step(NOW), NOW);
        gone(&|state| state.absolute = NOW.plus(100), step(NOW.plus(100)), NOW.plus(100));
        gone(&|_| (), step(NOW), NOW.plus(301));
    }

    #[test]
    fn a_token_that_is_over_is_succeeded_within_its_grace_and_the_session_waits_for_that() {
        let mut state = State { generation: 0, ..state() };
        state.access[0].grace = 60;
        let at = NOW.plus(359);
        let step = Succeed { access: Access { grace: 60, ..step(at).access }, ..step(at) };
        assert_eq!(state.succeed(&step, at), Succeeded::Kept);
        assert!(state.is_alive(at.plus(359)) && !state.is_alive(at.plus(360)));
    }

    #[test]
    fn nothing_is_given_that_lives_no_longer_and_nothing_lives_beyond_the_absolute_end() {
        let mut state = state();
        state.absolute = NOW.plus(400);
        assert_eq!(state.succeed(&step(NOW.plus(299)), NOW.plus(299)), Succeeded::Kept);
        assert_eq!(state.access[1].expires, NOW.plus(400));
        let again =
            Succeed { presented: [2; 16], access: Access { digest: [3; 16], ..access(NOW.plus(350)) }, idle: None };
        assert_eq!(state.succeed(&again, NOW.plus(350)), Succeeded::NoLonger);
        assert_eq!(state.access.len(), 2);
        assert_eq!(self::state().succeed(&step(NOW), NOW), Succeeded::NoLonger);
    }

    #[test]
    fn the_idle_end_moves_only_where_that_is_asked() {
        let mut state = State { absolute: NOW.plus(DAY), ..state() };
        let at = NOW.plus(200);
        state.succeed(&Succeed { idle: Some(2 * HOUR), ..step(at) }, at);
        assert_eq!(state.idle_until, at.plus(2 * HOUR));
    }

    #[test]
    fn a_session_keeps_so_many_and_no_more() {
        let mut state = state();
        for number in 0..=MOST_ACCESS_TOKENS as u64 {
            let at = NOW.plus(100 + number);
            let digest = (1000 + number as u128).to_le_bytes();
            let access = Access { digest, ..access(at) };
            let presented = state.access.last().unwrap().digest;
            state.succeed(&Succeed { presented, access, idle: None }, at);
        }
        assert_eq!(state.access.len(), MOST_ACCESS_TOKENS);
    }
}
