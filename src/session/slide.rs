//! The step by which an access token goes on being good because it is used: one pure function that every store runs
//! inside its own transaction, in its own time.

use super::record::State;
use crate::model::UnixTime;

/// What is asked of the step. Whether the token may slide at all was checked before it.
#[derive(Debug, Clone)]
pub struct Slide {
    /// Of the random part of the token.
    pub digest: [u8; 16],
    /// The end that was seen: of several who saw the same one, one moves it.
    pub seen: UnixTime,
    /// Seconds from now to its new end.
    pub lifetime: u64,
    /// Seconds after its end in which it may still slide.
    pub grace: u64,
    /// Seconds until the session ends without another refresh, where this counts as one.
    pub idle: Option<u64>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slid {
    /// The token is good until then.
    Moved(UnixTime),
    /// So it was before: somebody else was faster, or the session ends then.
    Stands(UnixTime),
    /// The token or its session is unknown, over or revoked.
    Gone,
}

impl State {
    /// Takes the step at `now`, the store's time. It never moves the absolute end, nor brings back what is over.
    pub fn slide(&mut self, step: &Slide, now: UnixTime) -> Slid {
        if self.revoked.is_some() || now >= self.absolute {
            return Slid::Gone;
        }
        let found = self.access.iter_mut().find(|access| access.digest == step.digest && !access.foreign);
        let Some(access) = found else { return Slid::Gone };
        if now >= access.expires.plus(step.grace) {
            return Slid::Gone;
        }
        let expires = now.plus(step.lifetime).min(self.absolute);
        let stands = access.expires > step.seen || expires <= access.expires;
        if stands && now < access.expires {
            return Slid::Stands(access.expires);
        }
        access.issued = now;
        access.expires = expires;
        access.grace = step.grace;
        self.touch_idle(step.idle, now);
        Slid::Moved(expires)
    }

    /// Moves the end of the refresh token by `idle` seconds from now, where a silent renewal does that; one that is over
    /// stays so.
    pub(super) fn touch_idle(&mut self, idle: Option<u64>, now: UnixTime) {
        if let Some(idle) = idle
            && self.generation != 0
            && now < self.idle_until
        {
            self.idle_until = self.idle_until.max(now.plus(idle)).min(self.absolute);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{
        Access,
        record::RevocationReason,
        testing::{DAY, HOUR, access, session},
    };

    const NOW: UnixTime = UnixTime(1_000_000);

    /// A session with one access token of five minutes.
    fn state() -> State {
        State { access: vec![Access { digest: [1; 16], ..access(NOW) }], ..session("ada", NOW).state }
    }

    fn step() -> Slide {
        Slide { digest: [1; 16], seen: NOW.plus(300), lifetime: 300, grace: 0, idle: None }
    }

    #[test]
    fn a_token_slides_from_now_and_of_two_who_saw_the_same_end_one_moves_it() {
        let mut state = state();
        assert_eq!(state.slide(&step(), NOW.plus(200)), Slid::Moved(NOW.plus(500)));
        assert_eq!(state.slide(&step(), NOW.plus(250)), Slid::Stands(NOW.plus(500)));
        assert_eq!(state.access[0].issued, NOW.plus(200));
        assert_eq!(state.idle_until, NOW.plus(HOUR), "the refresh token keeps its time");
    }

    #[test]
    fn what_is_over_revoked_another_s_or_the_authority_s_own_does_not_slide() {
        let gone = |change: &dyn Fn(&mut State), step: Slide, at: UnixTime| {
            let mut state = state();
            change(&mut state);
            let before = state.clone();
            assert_eq!(state.slide(&step, at), Slid::Gone);
            assert_eq!(state, before);
        };
        gone(&|_| (), step(), NOW.plus(300));
        gone(&|_| (), Slide { grace: 60, ..step() }, NOW.plus(360));
        gone(&|_| (), Slide { digest: [2; 16], ..step() }, NOW);
        gone(&|state| state.access[0].foreign = true, step(), NOW);
        gone(&|state| assert!(state.revoke(RevocationReason::Client, NOW)), step(), NOW);
        gone(&|state| state.absolute = NOW.plus(100), step(), NOW.plus(100));
    }

    #[test]
    fn a_token_that_is_over_slides_within_its_grace_and_the_session_waits_for_that() {
        let mut state = State { generation: 0, ..state() };
        state.access[0].grace = 60;
        assert!(state.is_alive(NOW.plus(359)) && !state.is_alive(NOW.plus(360)));
        assert_eq!(state.access(&[1; 16], NOW.plus(300)), None, "until then it is over all the same");
        let step = Slide { grace: 60, ..step() };
        assert_eq!(state.slide(&step, NOW.plus(359)), Slid::Moved(NOW.plus(659)));
        assert!(state.is_alive(NOW.plus(700)));
    }

    #[test]
    fn nothing_slides_beyond_the_absolute_end_and_the_idle_one_only_where_that_is_asked() {
        let mut state = state();
        state.absolute = NOW.plus(400);
        assert_eq!(state.slide(&step(), NOW.plus(299)), Slid::Moved(NOW.plus(400)));
        assert_eq!(state.slide(&Slide { seen: NOW.plus(400), ..step() }, NOW.plus(399)), Slid::Stands(NOW.plus(400)));
        let mut state = State { absolute: NOW.plus(DAY), ..self::state() };
        state.slide(&Slide { idle: Some(2 * HOUR), ..step() }, NOW.plus(200));
        assert_eq!(state.idle_until, NOW.plus(200 + 2 * HOUR));
        state.idle_until = NOW.plus(210);
        state.slide(&Slide { seen: NOW.plus(500), idle: Some(HOUR), ..step() }, NOW.plus(220));
        assert_eq!(state.idle_until, NOW.plus(210), "a refresh token that is over stays so");
    }
}
