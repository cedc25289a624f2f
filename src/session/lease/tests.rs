//! Several processes renew one session at an authority that gives each refresh token for one use. They crash where they
//! like; answers get lost. Whatever the order: a session ends only if nobody has the token that is good.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    model::Secret,
    session::{Answer, Exchanged, Renewed, Vouched, testing::session},
};

const NOW: UnixTime = UnixTime(1_000_000);
const LEASE: Duration = Duration::from_secs(8);
const PROCESSES: usize = 3;

/// What happens next, and to which process.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// It goes on by one step.
    Step(usize),
    /// It goes on by one step, and what the authority says does not arrive.
    Lose(usize),
    /// It is gone, and another one is in its place.
    Crash(usize),
    /// It stops for longer than its lease, and then goes on as if nothing were.
    Stall(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let process = 0..PROCESSES;
    prop_oneof![
        12 => process.clone().prop_map(Event::Step),
        2 => process.clone().prop_map(Event::Lose),
        2 => process.clone().prop_map(Event::Crash),
        3 => process.prop_map(Event::Stall),
    ]
}

/// The authority: refresh tokens are numbers, and one of them is good; that before it as well if it forgives.
struct Authority {
    good: u64,
    forgives: bool,
}

impl Authority {
    fn redeem(&mut self, token: u64) -> Option<u64> {
        let again = self.forgives && token + 1 == self.good;
        if token == self.good {
            self.good += 1;
        } else if !again {
            return None;
        }
        Some(self.good)
    }
}

/// Where a process is.
#[derive(Debug, Clone, Copy)]
enum At {
    Rest,
    /// It has the lease, and has not asked.
    Leased {
        epoch: u64,
        token: u64,
        again: bool,
        doubtful: bool,
    },
    /// It has an answer.
    Given {
        epoch: u64,
        token: u64,
    },
    /// It has a no, and has tried these candidates. Before `until` it does not end the session.
    Refused {
        epoch: u64,
        tried: usize,
        until: UnixMillis,
    },
}

struct World {
    state: State,
    token: u64,
    /// Epoch, token, and the generation that it came too late for.
    candidates: Vec<(u64, u64, u64)>,
    authority: Authority,
    processes: [(Renewer, At); PROCESSES],
    /// Since when.
    stalled: [Option<UnixMillis>; PROCESSES],
    /// Who is refused in doubt waits for as long as a lease is before they end the session.
    waits: bool,
    clock: UnixMillis,
    next_owner: u64,
    alone: bool,
}

fn held(token: u64) -> Held {
    Held {
        access_token: Secret::new("access".to_owned()),
        issued: NOW,
        expires: NOW.plus(300),
        authority: "an authority".to_owned(),
        refresh_token: Some(Secret::new(token.to_string())),
    }
}

impl World {
    fn new(forgives: bool, alone: bool) -> World {
        let mut state = session("ada", NOW).state;
        state.vouched = Some(Vouched::first(NOW.plus(300)));
        World {
            state,
            token: 1,
            candidates: Vec::new(),
            authority: Authority { good: 1, forgives },
            processes: std::array::from_fn(|at| (Renewer(at as u64), At::Rest)),
            stalled: [None; PROCESSES],
            waits: true,
            clock: UnixMillis(1_000_000),
            next_owner: 100,
            alone,
        }
    }

    fn happens(&mut self, event: Event) {
        // Who is at it keeps the lease, so that time alone takes nothing from anybody.
        for (_, at) in self.running() {
            if let At::Leased { epoch, .. } | At::Given { epoch, .. } | At::Refused { epoch, .. } = at {
                self.state.extend(epoch, LEASE, self.clock);
            }
        }
        self.clock = self.clock.plus(Duration::from_secs(3));
        match event {
            Event::Step(process) => self.step(process, true),
            Event::Lose(process) => self.step(process, false),
            Event::Stall(process) => {
                let has_begun = !matches!(self.processes[process].1, At::Rest);
                self.stalled[process] = self.stalled[process].or(has_begun.then_some(self.clock));
                self.clock = self.clock.plus(LEASE);
            }
            Event::Crash(process) => {
                self.next_owner += 1;
                self.processes[process] = (Renewer(self.next_owner), At::Rest);
                self.stalled[process] = None;
            }
        }
    }

    fn running(&self) -> impl Iterator<Item = (Renewer, At)> + use<> {
        let (processes, stalled) = (self.processes, self.stalled);
        (0..PROCESSES).filter(move |at| stalled[*at].is_none()).map(move |at| processes[at])
    }

    fn step(&mut self, process: usize, arrives: bool) {
        let (owner, at) = self.processes[process];
        self.processes[process].1 = match at {
            At::Rest => {
                let seen = self.state.vouched.unwrap().generation;
                match self.state.intend(&Intend { seen, owner, lease: LEASE }, self.alone, NOW, self.clock) {
                    Intended::Go { epoch, doubtful, again } => At::Leased { epoch, token: self.token, again, doubtful },
                    Intended::Held { .. } | Intended::Moved | Intended::Gone => At::Rest,
                }
            }
            At::Leased { epoch, token, doubtful, .. } => match (self.authority.redeem(token), arrives) {
                (Some(token), true) => At::Given { epoch, token },
                (None, true) => {
                    let wait = if self.waits && doubtful { LEASE } else { Duration::ZERO };
                    At::Refused { epoch, tried: 0, until: self.clock.plus(wait) }
                }
                (_, false) => {
                    self.state.leave(epoch, Left::Doubtful, self.clock);
                    At::Rest
                }
            },
            At::Given { epoch, token } => {
                self.keep(epoch, token);
                At::Rest
            }
            At::Refused { epoch, tried, until } => {
                let untried = self.candidates.iter().rev().find(|(epoch, ..)| tried & (1 << epoch) == 0).copied();
                match untried {
                    Some((candidate, token, _)) => match (self.authority.redeem(token), arrives) {
                        (Some(token), true) => At::Given { epoch, token },
                        (None, _) => At::Refused { epoch, tried: tried | (1 << candidate), until },
                        (Some(_), false) => {
                            self.state.leave(epoch, Left::Doubtful, self.clock);
                            At::Rest
                        }
                    },
                    None if self.clock < until => At::Refused { epoch, tried, until },
                    None => {
                        let answer = Answer::Ended { tried: Vec::new() };
                        self.state.exchange(&Renewed { epoch, answer }, NOW);
                        At::Rest
                    }
                }
            }
        };
        if matches!(self.processes[process].1, At::Rest) {
            self.stalled[process] = None;
        }
    }

    fn keep(&mut self, epoch: u64, token: u64) {
        let since = self.state.vouched.unwrap().generation;
        let answer = Answer::Given { held: held(token), renewed_for: None };
        match self.state.exchange(&Renewed { epoch, answer }, NOW) {
            Exchanged::Kept { generation } => {
                self.token = token;
                self.candidates.retain(|(_, _, since)| since + 1 >= generation);
            }
            Exchanged::Aside => self.candidates.push((epoch, token, since)),
            Exchanged::Moved | Exchanged::Untried | Exchanged::Ended | Exchanged::Gone => {}
        }
    }

    /// Whether anybody has a token that the authority would take. What is in the hands of a process that had stopped for
    /// longer than two leases cannot be told from what is lost.
    fn is_good_somewhere(&self) -> bool {
        let good = self.authority.good;
        let takes = |token: u64| token == good || (self.authority.forgives && token + 1 == good);
        let comes = |since: Option<UnixMillis>| since.is_none_or(|since| self.clock < since.plus(2 * LEASE));
        let hands = self.processes.iter().zip(self.stalled).filter(|(_, since)| comes(*since));
        let in_hand = hands.into_iter().any(|((_, at), _)| matches!(at, At::Given { token, .. } if takes(*token)));
        in_hand || takes(self.token) || self.candidates.iter().any(|(_, token, _)| takes(*token))
    }
}

proptest! {
    #[test]
    fn a_session_ends_only_when_nobody_has_the_token_that_is_good(
        events in proptest::collection::vec(event(), 1..120),
        forgives: bool,
    ) {
        let mut world = World::new(forgives, false);
        for event in events {
            let before = world.is_good_somewhere();
            world.happens(event);
            if world.state.revoked.is_some() {
                prop_assert!(!before, "ended by {:?} though the token was there", event);
                break;
            }
        }
    }

    #[test]
    fn without_crashes_and_losses_each_renewal_asks_once_and_is_kept(
        steps in proptest::collection::vec(0..PROCESSES, 1..200),
    ) {
        let mut world = World::new(false, false);
        for process in steps {
            world.happens(Event::Step(process));
            prop_assert!(world.state.revoked.is_none() && world.candidates.is_empty());
        }
        let unfinished = world.processes.iter().filter(|(_, at)| matches!(at, At::Given { .. })).count() as u64;
        prop_assert_eq!(world.state.vouched.unwrap().generation + unfinished, world.authority.good);
    }

    #[test]
    fn who_stops_for_less_than_two_leases_with_the_answer_in_hand_keeps_the_session(
        stops in 1..3_u64,
        refused_by in 1..PROCESSES,
        looks in 0..6_usize,
        waits: bool,
    ) {
        let mut world = World { waits, ..World::new(false, false) };
        for event in [Event::Step(0), Event::Step(0), Event::Stall(0), Event::Step(refused_by), Event::Step(refused_by)] {
            world.happens(event);
        }
        // Whoever was refused looks for what may come.
        for _ in 0..looks.min(stops as usize) {
            world.happens(Event::Step(refused_by));
        }
        world.happens(Event::Step(0));
        for _ in 0..3 {
            world.happens(Event::Step(refused_by));
        }
        let ended = world.state.revoked.is_some();
        // Without the wait, one look is the end of it.
        prop_assert_eq!(ended, !waits && looks > 0);
        prop_assert!(ended || world.token == world.authority.good);
    }

    #[test]
    fn what_came_too_late_is_the_one_that_is_good_and_saves_the_session(forgotten in 0..2_u64) {
        let mut world = World::new(true, false);
        for event in [Event::Step(0), Event::Step(0), Event::Stall(0), Event::Step(1), Event::Step(1), Event::Step(1)] {
            world.happens(event);
        }
        world.happens(Event::Step(0));
        prop_assert_eq!(world.candidates.len(), 1);
        // The authority has moved on from what was kept, and knows only what came late.
        world.token = 40 + forgotten;
        for _ in 0..4 {
            world.happens(Event::Step(2));
        }
        prop_assert!(world.state.revoked.is_none());
        prop_assert_eq!(world.token, world.authority.good);
    }

    #[test]
    fn a_doubt_is_tried_once_by_itself(losses in 1..10_u64) {
        let mut world = World::new(true, true);
        for loss in 0..losses {
            world.happens(Event::Step(0));
            let At::Leased { again, .. } = world.processes[0].1 else { panic!() };
            prop_assert_eq!(again, loss % 2 == 1);
            world.happens(Event::Lose(0));
            let lapsed = world.state.has_lapsed(Renewer(0), true, world.clock);
            prop_assert_eq!(lapsed, loss % 2 == 0, "somebody is to try once more");
        }
        prop_assert!(world.state.vouched.unwrap().doubtful);
    }
}
