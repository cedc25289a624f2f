//! Random lives of one family of refresh tokens, against a model that knows only what design.md promises.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{
    Opening, Outcome, Refreshed, SessionId, Sessions,
    family::{Refused, Rotate},
    record::RevocationReason,
    redb::Redb,
    testing::{CLIENT, DAY, HOUR, Scratch, access, granted, ring},
};
use crate::model::{RefreshForm, Time, UnixTime};

#[derive(Debug, Clone)]
enum Event {
    /// The refresh token that came so many generations before the newest is presented.
    Present {
        back: u64,
    },
    /// The same, by another client.
    Steal {
        back: u64,
    },
    Acknowledge {
        back: u64,
    },
    Revoke,
    Wait {
        seconds: u64,
    },
    /// The process ends and starts again.
    Restart,
    /// The store is put back to what it was when it was last started.
    LoseWrites,
}

fn event() -> impl Strategy<Value = Event> {
    let back = prop_oneof![6 => Just(0_u64), 4 => Just(1), 1 => 2..5_u64];
    prop_oneof![
        12 => back.clone().prop_map(|back| Event::Present { back }),
        1 => back.clone().prop_map(|back| Event::Steal { back }),
        3 => back.prop_map(|back| Event::Acknowledge { back }),
        1 => Just(Event::Revoke),
        6 => prop::sample::select(vec![1, 4, 25, 100, 1500, HOUR, 6 * HOUR]).prop_map(|seconds| Event::Wait { seconds }),
        2 => Just(Event::Restart),
        1 => Just(Event::LoseWrites),
    ]
}

/// What the family must be like.
#[derive(Debug, Clone)]
struct Model {
    generation: u64,
    rotated_at: UnixTime,
    acknowledged: u64,
    idle_until: UnixTime,
    revoked: bool,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Rotated,
    Same,
    Reuse,
    Refused,
}

impl Model {
    fn expects(&self, presented: u64, absolute: UnixTime, now: UnixTime) -> Expected {
        let age = self.rotated_at.until(now).as_secs();
        if self.revoked || now >= self.idle_until || now >= absolute {
            Expected::Refused
        } else if presented >= self.generation {
            Expected::Rotated
        } else if presented + 1 == self.generation && (age <= 10 || age <= 60 && self.acknowledged < self.generation) {
            Expected::Same
        } else {
            Expected::Reuse
        }
    }
}

struct World {
    time: Time,
    path: PathBuf,
    sessions: Option<Sessions>,
    runtime: Runtime,
    id: SessionId,
    absolute: UnixTime,
    model: Model,
    /// What the file was like at the last start, and what the family.
    saved: Option<(Vec<u8>, Model)>,
    /// Every refresh token that went out, by generation.
    tokens: BTreeMap<u64, String>,
    _scratch: Scratch,
}

impl World {
    fn new(form: RefreshForm) -> World {
        let scratch = Scratch::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (time, path) = (Time::default(), scratch.path("sessions.redb"));
        let model =
            Model { generation: 1, rotated_at: UnixTime(0), acknowledged: 0, idle_until: UnixTime(0), revoked: false };
        let (id, absolute) = (SessionId::draw(form).unwrap(), UnixTime(0));
        let tokens = BTreeMap::new();
        let mut world =
            World { time, path, sessions: None, runtime, id, absolute, model, saved: None, tokens, _scratch: scratch };
        world.start();
        let opening = Opening {
            id,
            client: CLIENT.to_owned(),
            granted: granted("ada"),
            held: None,
            idle: HOUR,
            absolute: DAY,
            refresh: Some(form),
            access: Some(access(world.time.now())),
            most: 10,
        };
        let first = world.runtime.block_on(world.sessions().open(opening)).unwrap().unwrap().refresh.unwrap();
        world.tokens.insert(1, first.expose().clone());
        let state = world.session().unwrap().state;
        world.absolute = state.absolute;
        (world.model.rotated_at, world.model.idle_until) = (state.rotated_at, state.idle_until);
        world
    }

    fn sessions(&self) -> &Sessions {
        self.sessions.as_ref().unwrap()
    }

    fn session(&self) -> Option<super::Session> {
        self.runtime.block_on(self.sessions().find(self.id)).unwrap()
    }

    fn start(&mut self) {
        self.sessions = None;
        if let Ok(content) = fs::read(&self.path) {
            self.saved = Some((content, self.model.clone()));
        }
        let store = Redb::open(&self.path, ring(&[1]), self.time.clone()).unwrap();
        self.sessions = Some(Sessions::new(Arc::new(store), ring(&[1]), self.runtime.handle().clone()).unwrap());
    }

    /// The newest generation that went out, less `back`.
    fn generation(&self, back: u64) -> u64 {
        self.tokens.keys().next_back().unwrap().saturating_sub(back).max(1)
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Present { back } => self.present(self.generation(*back)),
            Event::Steal { back } => {
                let token = self.tokens[&self.generation(*back)].clone();
                let found = self.runtime.block_on(self.sessions().find_refresh(&token, "another")).unwrap();
                assert!(found.is_none());
            }
            Event::Acknowledge { back } => {
                let generation = self.generation(*back);
                let store = self.sessions().store().clone();
                self.runtime.block_on(store.acknowledge(self.id, generation)).unwrap();
                if !self.model.revoked {
                    let known = generation.min(self.model.generation);
                    self.model.acknowledged = self.model.acknowledged.max(known);
                }
            }
            Event::Revoke => {
                let live = self.sessions().watch(self.id);
                self.runtime.block_on(self.sessions().revoke(self.id, RevocationReason::Operator)).unwrap();
                assert!(!live.is_alive());
                // One that is over by itself needs no revocation.
                self.model.revoked |= self.session().is_some_and(|session| session.state.revoked.is_some());
                assert!(self.model.revoked || !self.session().is_some_and(|session| session.is_alive(self.time.now())));
            }
            Event::Wait { seconds } => self.time.advance(*seconds as i64),
            Event::Restart => self.start(),
            Event::LoseWrites => {
                if let Some((content, model)) = self.saved.clone() {
                    self.sessions = None;
                    fs::write(&self.path, content).unwrap();
                    self.model = model;
                    self.start();
                }
            }
        }
    }

    fn present(&mut self, generation: u64) {
        let token = self.tokens[&generation].clone();
        let before = self.time.now();
        let found = self.runtime.block_on(self.sessions().find_refresh(&token, CLIENT)).unwrap();
        let Some((presented, session, family)) = found else {
            assert!(self.time.now() >= self.absolute.min(self.model.idle_until), "the session was forgotten too early");
            return;
        };
        assert_eq!(presented.generation, generation);
        let live = self.sessions().watch(self.id);
        let step = Rotate {
            client: CLIENT.to_owned(),
            presented: generation,
            stable: false,
            idle: HOUR,
            access: access(before),
        };
        let refreshed = self.runtime.block_on(self.sessions().refresh(&session, &family, step)).unwrap();
        // The clock goes on while the step is taken.
        let now = self.time.now();
        let expected = [before, now].map(|now| self.model.expects(generation, self.absolute, now));
        let was = match &refreshed {
            Refreshed::Good { outcome: Outcome::Retried { .. }, .. } => Expected::Same,
            Refreshed::Good { .. } => Expected::Rotated,
            Refreshed::Refused(Outcome::Reused { .. }) => Expected::Reuse,
            Refreshed::Refused(Outcome::Refused(Refused::Expired | Refused::Revoked | Refused::Unknown)) => {
                Expected::Refused
            }
            Refreshed::Refused(other) => panic!("{other:?}"),
        };
        assert!(expected.contains(&was), "{was:?} instead of {expected:?}: {generation} of {:?}", self.model);
        if let Refreshed::Good { token, outcome } = &refreshed {
            let next = match outcome {
                Outcome::Rotated { generation } | Outcome::Healed { generation } | Outcome::Retried { generation } => {
                    *generation
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(next, generation + 1, "one live generation");
            let known = self.tokens.entry(next).or_insert_with(|| token.expose().clone());
            assert_eq!(known, token.expose(), "one successor, however often it is asked for");
        }
        if was == Expected::Reuse {
            assert!(!live.is_alive());
            self.model.revoked = true;
        }
        if let Some(state) = self.session().map(|session| session.state) {
            assert_eq!(state.absolute, self.absolute, "nothing prolongs the absolute life");
            assert_eq!(state.revoked.is_some(), self.model.revoked, "revoked stays revoked");
            if was == Expected::Rotated {
                assert!(before <= state.rotated_at && state.rotated_at <= now);
                assert_eq!(state.idle_until, state.rotated_at.plus(HOUR).min(self.absolute));
                self.model.generation = generation + 1;
                self.model.acknowledged = generation;
                (self.model.rotated_at, self.model.idle_until) = (state.rotated_at, state.idle_until);
            }
            assert_eq!(state.generation, self.model.generation);
            assert!(state.access.iter().all(|access| access.expires <= self.absolute));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_to_a_family_it_keeps_what_was_promised(
        form in prop::sample::select(vec![RefreshForm::Full, RefreshForm::Compact]),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new(form);
        for event in &events {
            world.happen(event);
        }
    }
}

/// Each step is one durable commit: fewer than other properties, unless a number is asked for.
fn cases() -> u32 {
    let asked = ProptestConfig::default().cases;
    if asked == 256 { 64 } else { asked }
}
