use super::*;
use crate::session::testing::{DAY, HOUR, access, rotate, session};

const NOW: UnixTime = UnixTime(1_000_000);

fn family() -> State {
    session("ada", NOW).state
}

/// One that has rotated to `generation` at `NOW`, whose successor was not yet seen.
fn rotated_to(generation: u64) -> State {
    let mut state = family();
    for presented in 1..generation {
        assert_eq!(state.rotate(&rotate(presented, NOW), NOW), Outcome::Rotated { generation: presented + 1 });
    }
    state
}

fn present(state: &mut State, generation: u64, later: u64) -> Outcome {
    state.rotate(&rotate(generation, NOW.plus(later)), NOW.plus(later))
}

#[test]
fn the_current_generation_rotates_and_moves_the_idle_end_but_never_the_absolute_one() {
    let mut state = family();
    let before = state.clone();
    assert_eq!(present(&mut state, 1, 100), Outcome::Rotated { generation: 2 });
    assert_eq!((state.rotated_at, state.acknowledged), (NOW.plus(100), 1));
    assert_eq!((state.idle_until, state.absolute), (NOW.plus(100 + HOUR), before.absolute));
    let mut state = State { idle_until: before.absolute, ..before };
    assert_eq!(present(&mut state, 1, DAY - 60), Outcome::Rotated { generation: 2 });
    assert_eq!(state.idle_until, state.absolute, "the idle end never lies behind the absolute one");
    assert_eq!(state.access[0].expires, state.absolute, "nor does that of an access token");
}

#[test]
fn the_parent_gets_the_same_successor_within_ten_seconds_whatever_became_of_it() {
    for acknowledged in [false, true] {
        for (later, good) in [(0, true), (10, true), (11, !acknowledged)] {
            let mut state = rotated_to(2);
            if acknowledged {
                assert!(state.acknowledge(2, NOW));
            }
            let outcome = present(&mut state, 1, later);
            let expected =
                if good { Outcome::Retried { generation: 2 } } else { Outcome::Reused { current: 2, age: later } };
            assert_eq!(outcome, expected, "acknowledged: {acknowledged}, {later} s later");
        }
    }
}

#[test]
fn the_parent_gets_the_same_successor_within_a_minute_if_that_was_never_used() {
    for (later, good) in [(11, true), (60, true), (61, false)] {
        let mut state = rotated_to(5);
        let outcome = present(&mut state, 4, later);
        let expected =
            if good { Outcome::Retried { generation: 5 } } else { Outcome::Reused { current: 5, age: later } };
        assert_eq!(outcome, expected, "{later} s later");
    }
}

#[test]
fn a_retry_moves_no_window_and_no_end() {
    let mut state = rotated_to(2);
    let before = state.clone();
    present(&mut state, 1, 9);
    assert_eq!(
        (state.rotated_at, state.idle_until, state.absolute),
        (before.rotated_at, before.idle_until, before.absolute)
    );
    assert_eq!((state.generation, state.acknowledged, state.retries), (2, 1, 1));
    assert_eq!(state.access.len(), before.access.len() + 1);
    assert_eq!(state.access.last().map(|access| access.generation), Some(2));
}

#[test]
fn an_access_token_of_a_retry_acknowledges_the_generation_that_came_with_it() {
    let mut state = rotated_to(2);
    assert_eq!(present(&mut state, 1, 5), Outcome::Retried { generation: 2 });
    let seen = state.access.last().unwrap().generation;
    assert!(state.acknowledge(seen, NOW.plus(6)));
    assert_eq!(present(&mut state, 1, 30), Outcome::Reused { current: 2, age: 30 });
}

#[test]
fn an_acknowledgement_of_an_older_generation_closes_no_window() {
    let mut state = rotated_to(3);
    assert!(!state.acknowledge(1, NOW) && !state.acknowledge(2, NOW));
    assert_eq!(present(&mut state, 2, 30), Outcome::Retried { generation: 3 });
    assert!(!state.acknowledge(3, NOW.plus(61)), "nothing hangs on it any more");
    let mut state = rotated_to(3);
    assert!(state.acknowledge(99, NOW), "no more is acknowledged than was given");
    assert_eq!(state.acknowledged, 3);
}

#[test]
fn the_grandparent_is_reuse_at_any_age_and_ends_the_family_for_good() {
    let mut state = rotated_to(3);
    assert_eq!(present(&mut state, 1, 0), Outcome::Reused { current: 3, age: 0 });
    assert_eq!(state.revoked, Some(Revocation { reason: RevocationReason::Reuse, at: NOW }));
    assert!(state.access.is_empty());
    let tombstone = state.clone();
    for generation in [1, 2, 3, 4] {
        assert_eq!(present(&mut state, generation, 1), Outcome::Refused(Refused::Revoked), "generation {generation}");
    }
    assert!(!state.revoke(RevocationReason::Operator, NOW.plus(2)));
    assert!(!state.acknowledge(3, NOW));
    assert_eq!(state, tombstone);
}

#[test]
fn a_token_that_is_not_otherwise_good_revokes_nothing() {
    let mut state = rotated_to(5);
    let before = state.clone();
    let other = Rotate { client: "another".to_owned(), ..rotate(1, NOW) };
    assert_eq!(state.rotate(&other, NOW), Outcome::Refused(Refused::OtherClient));
    assert_eq!(present(&mut state, 1, HOUR), Outcome::Refused(Refused::Expired));
    assert_eq!(present(&mut state, 1, DAY), Outcome::Refused(Refused::Expired));
    assert_eq!(present(&mut state, 0, 0), Outcome::Refused(Refused::Unknown));
    assert_eq!(state, before);
}

#[test]
fn a_token_ahead_of_the_store_heals_it_however_far() {
    for ahead in [3, 1000, last_generation(RefreshForm::Full) - 1] {
        let mut state = rotated_to(2);
        assert_eq!(present(&mut state, ahead, 20), Outcome::Healed { generation: ahead + 1 });
        assert_eq!((state.acknowledged, state.retries), (ahead, 0));
        assert_eq!(present(&mut state, ahead, 25), Outcome::Retried { generation: ahead + 1 });
    }
    for beyond in [last_generation(RefreshForm::Full), last_generation(RefreshForm::Full) + 1, u64::MAX] {
        let mut state = rotated_to(2);
        let before = state.clone();
        assert_eq!(present(&mut state, beyond, 20), Outcome::Refused(Refused::LastGeneration));
        assert_eq!(state, before);
    }
}

#[test]
fn a_compact_family_ends_with_generation_65535() {
    let mut state = State { form: RefreshForm::Compact, generation: 65_534, ..family() };
    assert_eq!(present(&mut state, 65_534, 20), Outcome::Rotated { generation: 65_535 });
    assert_eq!(present(&mut state, 65_534, 25), Outcome::Retried { generation: 65_535 });
    let before = state.clone();
    assert_eq!(present(&mut state, 65_535, 30), Outcome::Refused(Refused::LastGeneration));
    assert_eq!(state, before);
    let step = Rotate { stable: true, ..rotate(65_535, NOW.plus(30)) };
    assert_eq!(state.rotate(&step, NOW.plus(30)), Outcome::Rotated { generation: 65_535 }, "needs no further one");
    assert!(matches!(present(&mut state, 65_533, 31), Outcome::Reused { current: 65_535, .. }));
    let mut state = State { form: RefreshForm::Compact, ..rotated_to(2) };
    assert_eq!(present(&mut state, 65_535, 20), Outcome::Refused(Refused::LastGeneration), "healing ends there too");
}

#[test]
fn a_stable_client_uses_one_token_again_and_again() {
    let mut state = family();
    for use_at in [0, 5, 100, 3000, 6000] {
        let step = Rotate { stable: true, ..rotate(1, NOW.plus(use_at)) };
        assert_eq!(state.rotate(&step, NOW.plus(use_at)), Outcome::Rotated { generation: 1 });
        assert_eq!(state.idle_until, NOW.plus(use_at + HOUR));
    }
    let late = Rotate { stable: true, ..rotate(1, NOW) };
    assert_eq!(state.rotate(&late, NOW.plus(6000 + HOUR)), Outcome::Refused(Refused::Expired));
}

#[test]
fn a_client_that_becomes_stable_keeps_its_token_and_one_that_rotates_again_goes_on_from_it() {
    let mut state = rotated_to(3);
    let stable = Rotate { stable: true, ..rotate(3, NOW) };
    assert_eq!(state.rotate(&stable, NOW), Outcome::Rotated { generation: 3 });
    assert_eq!(present(&mut state, 3, 500), Outcome::Rotated { generation: 4 });
    assert_eq!(present(&mut state, 3, 1000), Outcome::Reused { current: 4, age: 500 });
}

#[test]
fn one_generation_answers_so_many_retries_and_no_more() {
    let mut state = rotated_to(2);
    for _ in 0..MOST_RETRIES {
        assert_eq!(present(&mut state, 1, 3), Outcome::Retried { generation: 2 });
    }
    let before = state.clone();
    assert_eq!(present(&mut state, 1, 3), Outcome::RetriesExhausted);
    assert_eq!(state, before, "too many retries are no reuse");
    assert_eq!(present(&mut state, 2, 4), Outcome::Rotated { generation: 3 });
    assert_eq!(present(&mut state, 2, 5), Outcome::Retried { generation: 3 }, "the next generation counts anew");
}

#[test]
fn a_session_without_a_refresh_token_has_none_to_present() {
    let mut state = State { generation: 0, ..family() };
    for generation in [0, 1, 2] {
        assert_eq!(present(&mut state, generation, 0), Outcome::Refused(Refused::Unknown));
    }
}

#[test]
fn the_newest_access_tokens_are_kept_and_those_that_are_over_make_room() {
    let mut state = family();
    state.access = vec![access(NOW); MOST_ACCESS_TOKENS];
    let step = rotate(1, NOW);
    state.rotate(&step, NOW);
    assert_eq!(state.access.len(), MOST_ACCESS_TOKENS);
    assert_eq!(state.access.last().unwrap().digest, step.access.digest);
    present(&mut state, 2, 300);
    assert_eq!(state.access.len(), 1);
}

#[test]
fn a_session_is_over_when_nothing_can_come_of_it() {
    let (access, late) = (access(NOW), |state: &State, seconds| state.is_alive(NOW.plus(seconds)));
    let mut state = family();
    assert!(late(&state, HOUR - 1) && !late(&state, HOUR), "its refresh token is over");
    state.access.push(super::Access { expires: NOW.plus(2 * HOUR), ..access.clone() });
    assert!(late(&state, 2 * HOUR - 1) && !late(&state, 2 * HOUR), "its access token is over, too");
    let state = State { generation: 0, idle_until: NOW.plus(DAY), access: vec![access], ..family() };
    assert!(late(&state, 299) && !late(&state, 300), "there was nothing but the access token");
    let state = State { access: Vec::new(), ..state };
    assert!(late(&state, DAY - 1) && !late(&state, DAY), "it waits for what will be minted");
    let mut state = family();
    state.revoke(RevocationReason::Client, NOW);
    assert!(!late(&state, 0));
    assert_eq!(state.over_at(), state.absolute, "the tombstone stays");
}

#[test]
fn tokens_of_the_authority_are_few_and_push_none_of_ours_out() {
    let mut state = family();
    state.access = vec![access(NOW); 3];
    for presented in 1..=20 {
        let foreign = Access { digest: [presented as u8; 16], foreign: true, ..access(NOW) };
        state.rotate(&Rotate { access: foreign, ..rotate(presented, NOW) }, NOW);
    }
    let foreign: Vec<u8> = state.access.iter().filter(|access| access.foreign).map(|access| access.digest[0]).collect();
    assert_eq!(foreign, (5..=20).collect::<Vec<u8>>());
    assert_eq!(state.access.len(), MOST_FOREIGN_TOKENS + 3);
}
