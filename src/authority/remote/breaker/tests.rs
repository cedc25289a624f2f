use proptest::{collection::vec, prelude::*};

use super::*;

const NOW: UnixTime = UnixTime(1_000_000);
const AWAY: Went = away(None, None);

const fn away(come_back: Option<u64>, culprit: Option<Whose>) -> Went {
    Went::Away { come_back, culprit }
}

/// One that has just been opened by usual questions at `now`.
fn opened(now: UnixTime) -> Breaker {
    let mut breaker = Breaker::default();
    for _ in 0..FAILURES {
        let pass = breaker.admit(None, now).unwrap();
        breaker.settle(pass, AWAY, now, 0.0);
    }
    assert_eq!(breaker.shown(), Standing::Open { until: now.plus(1) });
    breaker
}

#[test]
fn it_opens_after_failures_in_a_row_only() {
    let mut breaker = Breaker::default();
    for round in 0..10 {
        for _ in 1..FAILURES {
            let pass = breaker.admit(None, NOW).unwrap();
            assert_eq!(breaker.settle(pass, AWAY, NOW, 0.5), None, "{round}");
        }
        let pass = breaker.admit(None, NOW).unwrap();
        assert_eq!(breaker.settle(pass, Went::Answered, NOW, 0.5), None);
    }
    opened(NOW);
}

#[test]
fn what_was_never_asked_counts_for_nothing() {
    let mut breaker = Breaker::default();
    for _ in 0..100 {
        let pass = breaker.admit(None, NOW).unwrap();
        breaker.give_back(pass);
    }
    assert_eq!(breaker.shown(), Standing::Closed);
}

#[test]
fn while_it_is_open_all_are_told_how_long_and_then_one_may_ask() {
    let mut breaker = Breaker::default();
    let passes: Vec<Pass> = (0..FAILURES).map(|_| breaker.admit(None, NOW).unwrap()).collect();
    for pass in passes {
        breaker.settle(pass, away(Some(7), None), NOW, 0.0);
    }
    assert_eq!(breaker.admit(None, NOW), Err(Shut { retry_after: 7 }));
    assert_eq!(breaker.admit(None, NOW.plus(6)), Err(Shut { retry_after: 1 }));
    let probe = breaker.admit(None, NOW.plus(7)).unwrap();
    assert_eq!((breaker.admit(None, NOW.plus(7)), breaker.shown()), (Err(Shut { retry_after: 1 }), Standing::HalfOpen));
    assert_eq!(breaker.settle(probe, Went::Answered, NOW.plus(8), 0.0), Some(Change::Closed));
    assert!(breaker.admit(None, NOW.plus(8)).is_ok());
}

#[test]
fn each_probe_that_fails_keeps_it_open_for_longer_up_to_a_bound() {
    let (mut breaker, mut now, mut rests) = (opened(NOW), NOW.plus(1), Vec::new());
    for _ in 0..8 {
        let probe = breaker.admit(None, now).unwrap();
        let Some(Change::Opened { for_seconds, again: true }) = breaker.settle(probe, AWAY, now, 0.0) else { panic!() };
        rests.push(for_seconds);
        now = now.plus(for_seconds);
    }
    assert_eq!(rests, [2, 4, 8, 16, 30, 30, 30, 30]);
    let probe = breaker.admit(None, now).unwrap();
    breaker.settle(probe, Went::Answered, now, 0.0);
    for _ in 0..FAILURES {
        let pass = breaker.admit(None, now).unwrap();
        breaker.settle(pass, AWAY, now, 0.0);
    }
    assert_eq!(breaker.shown(), Standing::Open { until: now.plus(1) }, "an answer forgets what was");
}

#[test]
fn what_the_authority_says_of_coming_back_is_believed_up_to_a_bound() {
    for (said, rest) in [(0, 1), (20, 20), (3600, LONGEST_COME_BACK)] {
        let mut breaker = opened(NOW);
        let probe = breaker.admit(None, NOW.plus(1)).unwrap();
        let change = breaker.settle(probe, away(Some(said), None), NOW, 1.0);
        assert_eq!(change, Some(Change::Opened { for_seconds: rest, again: true }));
    }
}

#[test]
fn a_probe_that_is_given_up_leaves_its_place_to_the_next_one() {
    let mut breaker = opened(NOW);
    let probe = breaker.admit(None, NOW.plus(1)).unwrap();
    breaker.give_back(probe);
    assert!(breaker.admit(None, NOW.plus(1)).is_ok());
}

#[test]
fn questions_from_before_it_opened_close_it_by_an_answer_and_change_nothing_by_a_failure() {
    let mut breaker = Breaker::default();
    let late: Vec<Pass> = (0..3).map(|_| breaker.admit(None, NOW).unwrap()).collect();
    for _ in 0..FAILURES {
        let pass = breaker.admit(None, NOW).unwrap();
        breaker.settle(pass, AWAY, NOW, 0.0);
    }
    let probe = breaker.admit(None, NOW.plus(1)).unwrap();
    let mut late = late.into_iter();
    assert_eq!(breaker.settle(late.next().unwrap(), AWAY, NOW.plus(2), 0.0), None);
    breaker.give_back(late.next().unwrap());
    assert_eq!(breaker.shown(), Standing::HalfOpen, "the place is the probe's");
    assert_eq!(breaker.settle(late.next().unwrap(), Went::Answered, NOW.plus(2), 0.0), Some(Change::Closed));
    assert_eq!(breaker.settle(probe, AWAY, NOW.plus(3), 0.0), None);
    assert_eq!(breaker.shown(), Standing::Closed);
}

#[test]
fn a_clock_that_was_set_back_holds_it_open_no_longer_than_its_rest() {
    let mut breaker = opened(NOW);
    assert_eq!(breaker.admit(None, UnixTime(10)), Err(Shut { retry_after: 1 }));
    assert!(breaker.admit(None, UnixTime(11)).is_ok());
}

#[test]
fn one_whose_questions_always_fail_shuts_nobody_out_and_several_such_do() {
    let mut breaker = Breaker::default();
    for _ in 0..100 {
        for whose in 1..u64::from(FAILURES) {
            let whose = Some(Whose(whose));
            let pass = breaker.admit(whose, NOW).unwrap();
            assert_eq!(breaker.settle(pass, away(None, whose), NOW, 0.0), None);
        }
    }
    let last = Some(Whose(99));
    let pass = breaker.admit(last, NOW).unwrap();
    assert!(matches!(breaker.settle(pass, away(None, last), NOW, 0.0), Some(Change::Opened { .. })));
}

#[test]
fn one_whose_probe_has_failed_lets_others_come_first() {
    let (mut breaker, whose) = (opened(NOW), Some(Whose(1)));
    let probe = breaker.admit(whose, NOW.plus(1)).unwrap();
    breaker.settle(probe, away(None, whose), NOW.plus(1), 0.0);
    let over = NOW.plus(1 + 2);
    assert_eq!(breaker.admit(whose, over), Err(Shut { retry_after: OTHERS_FIRST }));
    let other = breaker.admit(Some(Whose(2)), over).unwrap();
    breaker.give_back(other);
    let again = breaker.admit(whose, over.plus(OTHERS_FIRST)).unwrap();
    breaker.settle(again, Went::Answered, over.plus(OTHERS_FIRST), 0.0);
    assert!(breaker.admit(whose, over).is_ok());
}

/// What may happen, in any order.
#[derive(Debug, Clone)]
enum Event {
    Ask,
    /// One of those under way ends.
    End(usize, Option<Went>),
    /// Seconds, forwards or back.
    Clock(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let went = prop_oneof![
        3 => (proptest::option::of(0..10_000_u64), proptest::option::of((0..8_u64).prop_map(Whose)))
            .prop_map(|(come_back, culprit)| Some(away(come_back, culprit))),
        1 => Just(Some(Went::Answered)),
        1 => Just(None),
    ];
    prop_oneof![
        4 => Just(Event::Ask),
        4 => (any::<usize>(), went).prop_map(|(which, went)| Event::End(which, went)),
        2 => (-100_i64..100).prop_map(Event::Clock),
        1 => prop_oneof![Just(-900_000_i64), Just(10_000_000)].prop_map(Event::Clock),
    ]
}

proptest! {
    #[test]
    fn there_is_never_more_than_one_probe_and_never_an_end_of_asking(
        events in vec(event(), 1..300),
        chance in 0.0..1.0_f64,
    ) {
        let (mut breaker, mut now) = (Breaker::default(), NOW);
        let mut under_way: Vec<Pass> = Vec::new();
        for event in events {
            match event {
                Event::Ask => match breaker.admit(None, now) {
                    Ok(pass) => under_way.push(pass),
                    Err(shut) => {
                        prop_assert!(breaker.shown() != Standing::Closed);
                        prop_assert!((1..=LONGEST_COME_BACK).contains(&shut.retry_after));
                    }
                },
                Event::End(which, went) if !under_way.is_empty() => {
                    let pass = under_way.swap_remove(which % under_way.len());
                    match went {
                        Some(went) => {
                            breaker.settle(pass, went, now, chance);
                            prop_assert!(went != Went::Answered || breaker.shown() == Standing::Closed);
                        }
                        None => breaker.give_back(pass),
                    }
                }
                Event::End(..) => {}
                Event::Clock(seconds) => now = UnixTime(now.0.saturating_add_signed(seconds)),
            }
            // Probes of an earlier time may still be under way, if an answer has closed it since.
            let probes = under_way.iter().filter(|pass| pass.probe && pass.epoch == breaker.epoch).count();
            prop_assert_eq!(probes, usize::from(breaker.shown() == Standing::HalfOpen));
        }
        // Whatever is under way comes to nothing, and the clock stands anywhere: after one longest rest somebody may ask.
        under_way.into_iter().for_each(|pass| breaker.give_back(pass));
        let _ = breaker.may_ask(None, now);
        prop_assert!(breaker.admit(None, now.plus(LONGEST_COME_BACK.max(LONGEST_REST.as_secs()))).is_ok());
    }
}
