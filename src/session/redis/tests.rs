//! The scripts say what [`State`] says: both take the same steps, and must come to the same.

use std::{sync::atomic::Ordering, time::Duration};

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{
    testing::{Server, metrics},
    *,
};
use crate::{
    model::{RefreshForm, Secret, UnixMillis},
    session::{
        lease::MOST_CANDIDATES,
        record::{Access, Held, State, Vouched},
        testing::{CLIENT, access, ring, rotate, session},
        vouched::Answer,
    },
};

/// A step, as far as it is chosen without knowing the session: differences to what the session is at.
#[derive(Debug, Clone)]
enum Step {
    Wait(i64),
    Rotate { ahead: i8, stable: bool, other: bool, access: u8, foreign: bool, grace: u64 },
    Revoke,
    Acknowledge { ahead: i8 },
    Intend { behind: bool, owner: u64, lease: u64 },
    Extend { behind: u64 },
    Leave { behind: u64, doubtful: bool },
    Given { behind: i8, renewed_for: Option<u64>, lifetime: u64 },
    Ended { behind: u64, tried: usize },
    Slide { access: u8, seen: i64, lifetime: u64, grace: u64, idle: Option<u64> },
    Succeed { access: u8, next: u8, lifetime: u64, grace: u64, idle: Option<u64> },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let idle = || prop_oneof![Just(None), Just(Some(0)), Just(Some(100)), Just(Some(7200))];
    let wait = prop_oneof![
        Just(1_i64),
        Just(9),
        Just(10),
        Just(11),
        Just(59),
        Just(60),
        Just(61),
        Just(299),
        Just(300),
        Just(3600),
        Just(86_000)
    ];
    let step = prop_oneof![
        3 => wait.prop_map(Step::Wait),
        4 => (-3..=2_i8, any::<bool>(), prop::bool::weighted(0.1), 0..20_u8, prop::bool::weighted(0.3), 0..3_u64).prop_map(
            |(ahead, stable, other, access, foreign, grace)| Step::Rotate {
                ahead, stable, other, access, foreign, grace: grace * 50
            }
        ),
        1 => Just(Step::Revoke),
        2 => (-1..=1_i8).prop_map(|ahead| Step::Acknowledge { ahead }),
        3 => (prop::bool::weighted(0.1), 1..4_u64, prop_oneof![Just(0), Just(200), Just(60_000)])
            .prop_map(|(behind, owner, lease)| Step::Intend { behind, owner, lease }),
        1 => (0..2_u64).prop_map(|behind| Step::Extend { behind }),
        2 => (0..2_u64, any::<bool>()).prop_map(|(behind, doubtful)| Step::Leave { behind, doubtful }),
        3 => (-1..=3_i8, prop::option::of(0..5_u64), 1..500_u64)
            .prop_map(|(behind, renewed_for, lifetime)| Step::Given { behind, renewed_for, lifetime }),
        1 => (0..2_u64, 0..4_usize).prop_map(|(behind, tried)| Step::Ended { behind, tried }),
        2 => (0..20_u8, -5..400_i64, 1..600_u64, 0..100_u64, idle())
            .prop_map(|(access, seen, lifetime, grace, idle)| Step::Slide { access, seen, lifetime, grace, idle }),
        2 => (0..20_u8, 0..20_u8, 0..600_u64, 0..100_u64, idle())
            .prop_map(|(access, next, lifetime, grace, idle)| Step::Succeed { access, next, lifetime, grace, idle }),
    ];
    prop::collection::vec(step, 1..40)
}

/// What a store is to be at, by [`State`] alone.
struct Model {
    state: State,
    /// Epoch and the generation that it came too late for, the highest epoch last.
    late: Vec<(u64, u64)>,
}

/// Both take the step; what came of it, once by the store and once by the model.
async fn take(store: &Redis, id: SessionId, model: &mut Model, step: Step) -> (String, String) {
    let now = store.now();
    let token = |number: u8, lifetime: u64| Access { digest: [number; 16], expires: now.plus(lifetime), ..access(now) };
    let epoch = model.state.vouched.map_or(0, |vouched| vouched.epoch);
    let generation = |ahead: i8| model.state.generation.saturating_add_signed(ahead.into());
    let at = || {
        let at = UnixMillis(store.shared.taken.load(Ordering::Relaxed));
        (UnixTime(at.0 / 1000), at)
    };
    match step {
        Step::Wait(seconds) => {
            store.shared.time.advance(seconds);
            (String::new(), String::new())
        }
        Step::Rotate { ahead, stable, other, access, foreign, grace } => {
            let scope = crate::model::Scope::parse("orders").unwrap();
            let (scope, audiences) = if access % 3 == 0 { (Some(scope), Some(Vec::new())) } else { (None, None) };
            let step = Rotate {
                client: if other { "another" } else { CLIENT }.to_owned(),
                presented: generation(ahead),
                stable,
                idle: 3600,
                access: Access { foreign, grace, scope, audiences, ..token(access, 300) },
            };
            let said = store.rotate(id, step.clone()).await.unwrap();
            (format!("{said:?}"), format!("{:?}", model.state.rotate(&step, at().0)))
        }
        Step::Revoke => {
            let said = store.revoke(id, RevocationReason::Operator).await.unwrap();
            let now = at().0;
            let revoked = model.state.is_alive(now) && model.state.revoke(RevocationReason::Operator, now);
            (said.to_string(), revoked.to_string())
        }
        Step::Acknowledge { ahead } => {
            let generation = generation(ahead);
            store.acknowledge(id, generation).await.unwrap();
            model.state.acknowledge(generation, at().0);
            (String::new(), String::new())
        }
        Step::Intend { behind, owner, lease } => {
            let seen = model.state.vouched.map_or(1, |vouched| vouched.generation) - u64::from(behind);
            // More than Lua can count to.
            let owner = Renewer(u64::MAX - owner);
            let step = Intend { seen, owner, lease: Duration::from_millis(lease) };
            let said = store.intend(id, step).await.unwrap();
            let mut wanted = model.state.intend(&step, false, at().0, at().1);
            // Which one comes next is the store's business.
            if let (Intended::Go { epoch: theirs, .. }, Intended::Go { epoch: next, .. }) = (&said, &mut wanted)
                && *theirs > epoch
                && let Some(vouched) = &mut model.state.vouched
            {
                (*next, vouched.epoch) = (*theirs, *theirs);
            }
            (format!("{said:?}"), format!("{wanted:?}"))
        }
        Step::Extend { behind } => {
            let (epoch, lease) = (epoch.saturating_sub(behind), Duration::from_secs(8));
            let said = store.extend(id, epoch, lease).await.unwrap();
            (said.to_string(), model.state.extend(epoch, lease, at().1).to_string())
        }
        Step::Leave { behind, doubtful } => {
            let (epoch, left) = (epoch.saturating_sub(behind), if doubtful { Left::Doubtful } else { Left::Untouched });
            store.leave(id, epoch, left).await.unwrap();
            model.state.leave(epoch, left, at().1);
            (String::new(), String::new())
        }
        Step::Given { behind, renewed_for, lifetime } => {
            let held = held(now.plus(lifetime));
            let epoch = epoch.saturating_add_signed(-i64::from(behind));
            let renewed = Renewed { epoch, answer: Answer::Given { held, renewed_for } };
            let said = store.renew(id, renewed.clone()).await.unwrap();
            (format!("{said:?}"), format!("{:?}", model.renew(&renewed, at().0)))
        }
        Step::Ended { behind, tried } => {
            let tried = model.late.iter().map(|(epoch, _)| *epoch).take(tried).collect();
            let renewed = Renewed { epoch: epoch.saturating_sub(behind), answer: Answer::Ended { tried } };
            let said = store.renew(id, renewed.clone()).await.unwrap();
            (format!("{said:?}"), format!("{:?}", model.renew(&renewed, at().0)))
        }
        Step::Slide { access, seen, lifetime, grace, idle } => {
            let seen = UnixTime(now.0.saturating_add_signed(seen));
            let step = Slide { digest: [access; 16], seen, lifetime, grace, idle };
            let said = store.slide(id, step.clone()).await.unwrap();
            (format!("{said:?}"), format!("{:?}", model.state.slide(&step, at().0)))
        }
        Step::Succeed { access, next, lifetime, grace, idle } => {
            let access = Access { grace, ..token(access, 0) };
            let step = Succeed { presented: access.digest, access: Access { grace, ..token(next, lifetime) }, idle };
            let said = store.succeed(id, step.clone()).await.unwrap();
            (format!("{said:?}"), format!("{:?}", model.state.succeed(&step, at().0)))
        }
    }
}

impl Model {
    fn renew(&mut self, renewed: &Renewed, now: UnixTime) -> Exchanged {
        if renewed.answer.leaves(self.late.iter().map(|(epoch, _)| *epoch)) {
            return Exchanged::Untried;
        }
        let since = self.state.vouched.map_or(0, |vouched| vouched.generation);
        let exchanged = self.state.exchange(renewed, now);
        match exchanged {
            Exchanged::Kept { generation } => self.late.retain(|(_, since)| since + 1 >= generation),
            Exchanged::Aside => {
                self.late.retain(|(epoch, _)| *epoch != renewed.epoch);
                if self.late.len() == MOST_CANDIDATES {
                    self.late.remove(0);
                }
                self.late.push((renewed.epoch, since));
                self.late.sort_unstable();
            }
            _ => {}
        }
        exchanged
    }
}

fn held(expires: UnixTime) -> Held {
    Held {
        access_token: Secret::new("an access token".to_owned()),
        issued: UnixTime(1),
        expires,
        authority: "https://authority.example".to_owned(),
        refresh_token: None,
    }
}

/// A session with everything that a session can have.
async fn begin(store: &Redis, compact: bool, generation: u64) -> (SessionId, Model) {
    let mut session = session("ada", store.now());
    session.state.form = if compact { RefreshForm::Compact } else { RefreshForm::Full };
    session.state.generation = generation;
    session.state.access = vec![Access { digest: [1; 16], ..access(store.now()) }];
    session.held = Some(held(store.now().plus(300)));
    session.state.vouched = Some(Vouched::first(store.now().plus(300)));
    assert_eq!(store.create(session.clone(), 100_000).await.unwrap(), Created::Now(Vec::new()));
    (session.id, Model { state: session.state, late: Vec::new() })
}

#[test]
fn a_script_comes_to_what_the_step_in_rust_comes_to() {
    let server = Server::start();
    let runtime = Runtime::new().unwrap();
    let open = || Redis::open(&server.settings(), ring(&[1]), Time::default(), runtime.handle(), metrics()).unwrap();
    let generation = prop_oneof![Just(0), Just(1), Just(2), Just(65_534), Just(99_999_999_999_990)];
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() },
        |(steps in steps(), compact in any::<bool>(), generation in generation)| {
        let store = open();
        runtime.block_on(async {
            let (id, mut model) = begin(&store, compact, generation).await;
            for step in steps {
                let (said, wanted) = take(&store, id, &mut model, step.clone()).await;
                prop_assert_eq!(said, wanted, "{:?}", step);
                if store.now() >= model.state.absolute {
                    break;
                }
                let late = store.candidates(id).await.unwrap().iter().rev().map(|late| late.epoch).collect::<Vec<_>>();
                let found = store.find(id).await.unwrap().unwrap();
                prop_assert_eq!(&found.state, &model.state, "{:?}", step);
                if model.state.revoked.is_some() {
                    // What is not renewed any more needs none.
                    model.late.clear();
                }
                prop_assert_eq!(late, model.late.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>());
            }
            Ok(())
        })?;
    });
}

#[tokio::test]
async fn what_a_later_version_has_written_is_refused_and_never_changed() {
    let server = Server::start();
    let store = Redis::open(&server.settings(), ring(&[1]), Time::default(), &Handle::current(), metrics()).unwrap();
    let (id, _) = begin(&store, false, 1).await;
    let key = store.shared.keys.session(id);
    store.shared.link.ask(cmd("HSET").arg(&key).arg("v").arg(2).arg("s").arg("later")).await.unwrap();
    let later = |error: StoreError| {
        assert!(
            matches!(&error, StoreError::Unreadable(text) if text.contains("format 2 by a later sidegate")),
            "{error}"
        );
    };
    later(store.find(id).await.unwrap_err());
    later(store.revoke(id, RevocationReason::Operator).await.unwrap_err());
    later(store.candidates(id).await.unwrap_err());
    later(store.acknowledge(id, 1).await.unwrap_err());
    assert_eq!(store.list(Filter::default(), None, 10).await.unwrap(), [], "the others can still be listed");
    store.shared.time.advance(10 * 86_400);
    assert_eq!(store.purge().await.unwrap(), 0);
    let kept: String =
        redis::from_redis_value(store.shared.link.ask(cmd("HGET").arg(&key).arg("s")).await.unwrap()).unwrap();
    assert_eq!(kept, "later");
}

#[tokio::test]
async fn nothing_is_left_of_sessions_that_are_over() {
    let server = Server::start();
    let store = Redis::open(&server.settings(), ring(&[1]), Time::default(), &Handle::current(), metrics()).unwrap();
    for number in 0..20 {
        let (id, _) = begin(&store, false, 1).await;
        if number % 2 == 0 {
            store.revoke(id, RevocationReason::Operator).await.unwrap();
        }
    }
    store.shared.time.advance(10 * 86_400);
    assert_eq!(store.purge().await.unwrap(), 20);
    let left: Vec<String> =
        redis::from_redis_value(store.shared.link.ask(cmd("KEYS").arg("*")).await.unwrap()).unwrap();
    assert_eq!(left, Vec::<String>::new());
}

fn open(server: &Server) -> Redis {
    Redis::open(&server.settings(), ring(&[1]), Time::default(), &Handle::current(), metrics()).unwrap()
}

async fn epoch(store: &Redis, id: SessionId, owner: u64) -> u64 {
    let step = Intend { seen: 1, owner: Renewer(owner), lease: Duration::from_secs(60) };
    match store.intend(id, step).await.unwrap() {
        Intended::Go { epoch, .. } => epoch,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_who_were_given_the_lease_since_the_servers_forgot_the_first_do_not_take_each_other_for_themselves() {
    let server = Server::start();
    let store = open(&server);
    let renewed = |epoch, answer| Renewed { epoch, answer };
    let given = |at| Answer::Given { held: held(at), renewed_for: None };
    let over = || Answer::Ended { tried: Vec::new() };
    for _ in 0..8 {
        let (id, _) = begin(&store, false, 1).await;
        let key = store.shared.keys.session(id);
        let before = store.shared.link.ask(cmd("DUMP").arg(&key)).await.unwrap();
        let before: Vec<u8> = redis::from_redis_value(before).unwrap();
        let first = epoch(&store, id, 1).await;
        // As after a failover.
        store.shared.link.ask(cmd("RESTORE").arg(&key).arg(0).arg(before).arg("REPLACE")).await.unwrap();
        let second = epoch(&store, id, 2).await;
        assert_eq!(store.renew(id, renewed(first, over())).await.unwrap(), Exchanged::Moved, "the other is at it");
        let at = store.now().plus(300);
        let kept = store.renew(id, renewed(first, given(at))).await.unwrap();
        let other = store.renew(id, renewed(second, given(at))).await.unwrap();
        // What either was given is the session's, or may still become it.
        let is_kept = |exchanged| matches!(exchanged, Exchanged::Kept { .. });
        assert!(
            (is_kept(kept) && other == Exchanged::Aside) || (kept == Exchanged::Aside && is_kept(other)),
            "{kept:?} {other:?}"
        );
        assert_eq!(store.candidates(id).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_the_same_when_it_is_asked_for_once_more() {
    let server = Server::start();
    let store = open(&server);
    let (id, _) = begin(&store, false, 1).await;
    let ask = async |number: &str| {
        let arguments: [&[u8]; 5] = [b"1", b"00000000000000aa", b"8000", number.as_bytes(), b"1024"];
        let mut reply = store.shared.step(&store.shared.scripts.intend, id, &arguments).await.unwrap();
        assert_eq!(reply.word().unwrap(), "go");
        (reply.number().unwrap(), reply.flag().unwrap(), reply.flag().unwrap())
    };
    assert_eq!(ask("7").await, (1024 + 7, false, false));
    assert_eq!(ask("7").await, (1024 + 7, false, false), "nothing was sent yet, and nothing is doubtful");
    assert_eq!(ask("8").await, (2048 + 8, true, true), "another attempt of the same process");
    assert_eq!(ask("8").await, (2048 + 8, true, true));
}

#[tokio::test]
async fn what_is_over_and_not_cleared_away_yet_costs_no_other_session_its_life() {
    let server = Server::start();
    let store = open(&server);
    let create = async |idle: u64| {
        let mut session = session("ada", store.now());
        session.state.idle_until = store.now().plus(idle);
        (session.id, store.create(session, 3).await.unwrap())
    };
    let (oldest, _) = create(5000).await;
    store.shared.time.advance(1);
    create(5000).await;
    create(50).await;
    // Begun, and never finished: its index was written, and the process has ended.
    let owner: [u8; 16] = {
        let owner = store.shared.link.ask(cmd("HGET").arg(store.shared.keys.session(oldest)).arg("o")).await.unwrap();
        redis::from_redis_value::<Vec<u8>>(owner).unwrap().try_into().unwrap()
    };
    let live = store.shared.keys.live_of(&owner);
    let nobody = SessionId::random().unwrap();
    store.shared.link.ask(&opening::counted(&live, store.now(), nobody)).await.unwrap();
    store.shared.time.advance(100);
    assert_eq!(create(5000).await.1, Created::Now(Vec::new()), "two live ones and the new one");
    assert_eq!(server.ask::<u64>(&["ZCARD", &live]), 3, "what is over counts no more");
    assert_eq!(create(5000).await.1, Created::Now(vec![oldest]));
}

#[tokio::test]
async fn a_look_at_sessions_forgets_none_that_is_just_being_created() {
    let server = Server::start();
    let store = open(&server);
    let (id, _) = begin(&store, false, 1).await;
    let key = store.shared.keys.session(id);
    let whole: Vec<u8> = server.ask(&["DUMP", &key]);
    server.ask::<()>(&["DEL", &key]);
    let filter = Filter { client: Some(CLIENT.to_owned()), ..Filter::default() };
    assert_eq!(store.list(filter.clone(), None, 10).await.unwrap(), []);
    store.shared.link.ask(cmd("RESTORE").arg(&key).arg(0).arg(whole)).await.unwrap();
    assert_eq!(store.list(filter.clone(), None, 10).await.unwrap().len(), 1, "it has come meanwhile");
    server.ask::<()>(&["DEL", &key]);
    store.shared.time.advance(100);
    assert_eq!(store.list(filter.clone(), None, 10).await.unwrap(), []);
    let index = store.shared.keys.client(&crate::session::ring::digest16(CLIENT.as_bytes()));
    assert_eq!(server.ask::<u64>(&["EXISTS", &index]), 0, "it will not come any more");
}

#[tokio::test]
async fn the_sessions_of_a_client_are_listed_page_by_page_each_once() {
    let server = Server::start();
    let store = open(&server);
    let mut all = Vec::new();
    for _ in 0..200 {
        all.push(begin(&store, false, 1).await.0);
    }
    all.sort_unstable();
    for filter in [
        Filter { client: Some(CLIENT.to_owned()), ..Filter::default() },
        Filter { user: Some("ada".to_owned()), ..Filter::default() },
    ] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(filter.clone(), after, 70).await.unwrap();
            listed.extend(page.iter().map(|session| session.id));
            after = listed.last().copied();
            if page.len() < 70 {
                break;
            }
        }
        assert_eq!(listed, all);
    }
}

#[tokio::test]
async fn a_record_that_makes_no_sense_does_not_keep_what_is_over_from_being_cleared_away() {
    let server = Server::start();
    let store = open(&server);
    let mut all = Vec::new();
    for _ in 0..40 {
        all.push(begin(&store, false, 1).await.0);
    }
    all.sort_unstable();
    let damage = |id, field: &str, value: &str| {
        server.ask::<u64>(&["HSET", &store.shared.keys.session(id), field, value]);
    };
    damage(all[0], "s", "{");
    damage(all[1], "s", "[]");
    server.ask::<u64>(&["DEL", &store.shared.keys.session(all[2])]);
    server.ask::<()>(&["SET", &store.shared.keys.session(all[2]), "somebody else's"]);
    let error = store.rotate(all[0], rotate(1, store.now())).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
    store.shared.time.advance(10 * 86_400);
    store.purge().await.unwrap_err();
    assert_eq!(server.ask::<Vec<String>>(&["KEYS", "*:session:*"]).len(), 3);
}

#[tokio::test]
async fn a_server_whose_memory_is_full_still_ends_sessions() {
    let server = Server::start();
    let store = open(&server);
    let (id, _) = begin(&store, false, 1).await;
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = store.rotate(id, rotate(1, store.now())).await.unwrap_err();
    assert!(error.to_string().contains("maxmemory"), "{error}");
    assert!(store.revoke(id, RevocationReason::Operator).await.unwrap());
    assert!(store.find(id).await.unwrap().unwrap().state.revoked.is_some());
}

#[tokio::test]
async fn a_step_of_a_user_that_may_tell_nobody_is_taken() {
    let server = Server::start();
    let store = open(&server);
    let (id, _) = begin(&store, false, 1).await;
    let epoch = epoch(&store, id, 1).await;
    server.ask::<()>(&["ACL", "SETUSER", "default", "resetchannels"]);
    let answer = Answer::Given { held: held(store.now().plus(300)), renewed_for: None };
    let kept = store.renew(id, Renewed { epoch, answer }).await.unwrap();
    assert_eq!(kept, Exchanged::Kept { generation: 2 });
    assert!(store.revoke(id, RevocationReason::Operator).await.unwrap());
    assert!(store.save("a document", 0, vec![1]).await.unwrap());
}

#[test]
fn the_rights_that_the_manual_names_are_those_that_the_store_is_held_to() {
    let manual = include_str!("../../../docs/redis.md");
    let rights = manual.lines().find(|line| line.starts_with("ACL SETUSER sidegate reset")).unwrap();
    let named = |rights: &[&str]| -> std::collections::BTreeSet<String> {
        rights.iter().filter(|right| right.starts_with(['~', '&', '+'])).map(|right| (*right).to_owned()).collect()
    };
    assert_eq!(named(&rights.split(' ').collect::<Vec<_>>()), named(testing::ENOUGH));
}
