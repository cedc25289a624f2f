//! One suite that holds every store to the same behaviour. A store is plugged in by saying how it is opened.

mod lease;
mod restored;
mod slides;
mod successors;
mod vouched;

use std::{any::Any, collections::BTreeSet, future::Future, sync::Arc};

use tokio::runtime::Handle;

use self::{lease::*, restored::*, slides::*, successors::*, vouched::*};
use super::{
    Access, Created, Filter, SessionStore, Spent,
    family::{Outcome, Refused, Rotate},
    memory::Memory,
    record::{Revocation, RevocationReason, Session, SessionId, State},
    redb::Redb,
    redis::{
        Redis,
        testing::{self, Server, metrics},
    },
    testing::{CLIENT, DAY, HOUR, Scratch, access, code, ring, rotate, session},
};
use crate::{
    config::{RedisServers, RedisStore},
    model::{RefreshForm, Time, UnixTime},
};

/// A store under test, its clock, and how to open it anew if it promises to outlive its process.
struct Bench {
    time: Time,
    store: Arc<dyn SessionStore>,
    reopen: Option<Box<dyn Fn() -> Arc<dyn SessionStore>>>,
    /// What the store lies in.
    place: Option<Box<dyn Any>>,
}

fn memory() -> Bench {
    let time = Time::default();
    Bench { store: Arc::new(Memory::new(time.clone())), time, reopen: None, place: None }
}

/// As several processes see it.
fn shared() -> Bench {
    let time = Time::default();
    Bench { store: Arc::new(Memory::shared(time.clone())), time, reopen: None, place: None }
}

fn redb() -> Bench {
    let (time, scratch) = (Time::default(), Scratch::new());
    let open = {
        let (time, path) = (time.clone(), scratch.path("sessions.redb"));
        move || Arc::new(Redb::open(&path, ring(&[1]), time.clone()).unwrap()) as Arc<dyn SessionStore>
    };
    Bench { store: open(), time, reopen: Some(Box::new(open)), place: Some(Box::new(scratch)) }
}

fn redis() -> Bench {
    let server = Server::strict();
    redis_at(server.strict_settings(), Box::new(server))
}

/// Where keys that a step touches together must lie together.
fn cluster() -> Bench {
    let servers = testing::cluster(&[]);
    let nodes = RedisServers::Cluster(servers.iter().map(Server::at).collect());
    redis_at(testing::settings(nodes), Box::new(servers))
}

fn redis_at(settings: RedisStore, place: Box<dyn Any>) -> Bench {
    let (time, background) = (Time::default(), Handle::current());
    let open = {
        let time = time.clone();
        move || {
            Arc::new(Redis::open(&settings, ring(&[1]), time.clone(), &background, metrics()).unwrap())
                as Arc<dyn SessionStore>
        }
    };
    Bench { store: open(), time, reopen: Some(Box::new(open)), place: Some(place) }
}

/// Each of these, for each store.
macro_rules! conforms {
    ($($sentence:ident),* $(,)?) => {
        conforms!(memory for memory: $($sentence),*);
        conforms!(redb for redb: $($sentence),*);
        conforms!(redis for redis: $($sentence),*);
    };
    ($suite:ident for $store:ident: $($sentence:ident),*) => {
        mod $suite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $sentence() {
                    super::$sentence(super::$store()).await;
                }
            )*
        }
    };
}

conforms!(
    a_session_is_found_as_it_was_kept_until_its_absolute_end,
    an_id_is_given_once,
    the_current_generation_rotates,
    the_parent_is_a_concurrent_use_then_a_lost_answer_then_a_replay,
    the_parent_of_an_acknowledged_successor_is_a_replay_after_ten_seconds,
    an_older_generation_is_a_replay_at_once,
    a_token_ahead_of_the_store_heals_it,
    what_is_not_otherwise_good_changes_nothing,
    idle_and_absolute_ends_are_both_kept,
    many_uses_of_one_token_at_once_get_one_successor,
    a_revocation_wins_every_race,
    a_revocation_is_told_once,
    a_code_is_spent_once,
    a_code_is_found_until_its_end,
    the_oldest_session_makes_room_for_one_too_many,
    sessions_of_users_and_clients_are_counted_apart,
    sessions_are_listed_by_user_and_client_in_the_order_of_their_ids,
    a_key_is_used_once_until_its_end,
    a_document_is_replaced_only_by_who_knows_its_version,
    what_is_over_is_purged_and_nothing_else,
    what_was_answered_survives_a_restart,
    what_the_authority_gave_is_replaced_only_by_who_saw_it,
    of_many_renewals_at_once_one_is_kept,
    a_no_of_the_authority_ends_only_what_it_was_said_of,
    what_is_over_is_not_renewed,
    tokens_of_the_authority_are_found_as_long_as_they_are_good,
    tokens_of_the_authority_go_with_their_session,
    what_the_authority_gave_survives_a_restart,
    a_token_slides_and_is_good_until_its_new_end,
    of_many_who_see_the_same_end_one_moves_it,
    a_revoked_token_does_not_slide,
    a_session_without_a_refresh_token_lives_as_long_as_its_token_slides,
    a_successor_is_known_beside_what_it_succeeds,
    a_revoked_token_has_no_successor_and_a_revocation_ends_that_too,
    of_a_revocation_and_many_successors_at_once_nothing_is_left,
    a_session_without_a_refresh_token_lives_as_long_as_it_gets_successors,
    what_was_left_in_doubt_is_tried_once_more_and_then_left_to_who_needs_it,
    what_comes_too_late_is_kept_aside_until_the_session_was_renewed_again,
    nothing_is_over_while_a_candidate_was_not_tried,
    an_answer_ahead_of_a_store_that_lost_the_lease_is_kept,
    what_is_over_is_not_renewed_and_leaves_nothing_behind,
    what_was_begun_and_what_came_too_late_survive_a_restart,
    a_restored_session_is_as_it_was_and_counts_like_any_other,
    what_is_restored_again_changes_nothing_and_never_goes_back,
    of_a_tombstone_and_a_live_session_the_tombstone_stays,
    an_id_of_another_session_is_not_restored,
    a_renewal_that_was_begun_elsewhere_is_found_and_what_came_too_late_is_there,
    of_many_who_restore_one_session_one_keeps_it,
    records_are_everything_that_is_not_over_in_the_order_of_their_ids,
);

conforms!(memory_alone for memory: a_process_that_is_alone_takes_over_at_once_what_another_left);
conforms!(redb_alone for redb: a_process_that_is_alone_takes_over_at_once_what_another_left);
// Some of each kind, since a Cluster takes its time to come together.
conforms!(
    redis_cluster for cluster:
    a_session_is_found_as_it_was_kept_until_its_absolute_end,
    many_uses_of_one_token_at_once_get_one_successor,
    a_code_is_spent_once,
    the_oldest_session_makes_room_for_one_too_many,
    sessions_are_listed_by_user_and_client_in_the_order_of_their_ids,
    a_document_is_replaced_only_by_who_knows_its_version,
    what_is_over_is_purged_and_nothing_else,
    tokens_of_the_authority_are_found_as_long_as_they_are_good,
    a_successor_is_known_beside_what_it_succeeds,
    what_was_left_in_doubt_is_tried_once_more_and_then_left_to_who_needs_it,
    what_is_restored_again_changes_nothing_and_never_goes_back
);
conforms!(redis_shared for redis: who_is_at_it_is_not_disturbed_by_another_process_until_the_lease_lapses);
conforms!(
    shared for shared:
    who_is_at_it_is_not_disturbed_by_another_process_until_the_lease_lapses,
    of_many_renewals_at_once_one_is_kept,
    what_the_authority_gave_is_replaced_only_by_who_saw_it,
    what_was_left_in_doubt_is_tried_once_more_and_then_left_to_who_needs_it,
    what_comes_too_late_is_kept_aside_until_the_session_was_renewed_again
);

impl Bench {
    /// Keeps a session of `name` as it is after `change`.
    async fn open(&self, name: &str, change: impl FnOnce(&mut Session)) -> SessionId {
        let mut session = session(name, self.time.now());
        change(&mut session);
        let id = session.id;
        assert_eq!(self.store.create(session, 1000).await.unwrap(), Created::Now(vec![]));
        id
    }

    async fn present(&self, id: SessionId, generation: u64) -> Outcome {
        self.store.rotate(id, rotate(generation, self.time.now())).await.unwrap()
    }

    async fn state(&self, id: SessionId) -> State {
        self.store.find(id).await.unwrap().unwrap().state
    }
}

/// It was, and these had to go for it.
fn kept(superseded: &[SessionId]) -> Created {
    Created::Now(superseded.to_vec())
}

/// `times` of what `attempt` makes, at once, on all threads.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    times: usize,
    attempt: impl Fn(usize) -> F,
) -> Vec<T> {
    let running: Vec<_> = (0..times).map(|number| tokio::spawn(attempt(number))).collect();
    let mut outcomes = Vec::new();
    for attempt in running {
        outcomes.push(attempt.await.unwrap());
    }
    outcomes
}

async fn a_session_is_found_as_it_was_kept_until_its_absolute_end(bench: Bench) {
    let mut kept = session("ada", bench.time.now());
    kept.granted.claims.insert("team".to_owned(), serde_json::json!({ "name": "analytical", "size": 2 }));
    kept.state.access.push(access(bench.time.now()));
    assert_eq!(bench.store.find(kept.id).await.unwrap(), None);
    bench.store.create(kept.clone(), 10).await.unwrap();
    assert_eq!(bench.store.find(kept.id).await.unwrap(), Some(kept.clone()));
    assert_eq!(bench.store.count().await.unwrap(), 1);
    bench.store.revoke(kept.id, RevocationReason::Operator).await.unwrap();
    bench.time.advance(DAY as i64 - 100);
    assert!(bench.store.find(kept.id).await.unwrap().is_some(), "the tombstone stays");
    bench.time.advance(100);
    assert_eq!(bench.store.find(kept.id).await.unwrap(), None);
}

async fn an_id_is_given_once(bench: Bench) {
    let mut first = session("ada", bench.time.now());
    first.id = SessionId::compact([7; 8]);
    first.state.form = RefreshForm::Compact;
    assert_eq!(bench.store.create(first.clone(), 1).await.unwrap(), kept(&[]));
    assert_eq!(bench.store.create(first.clone(), 1).await.unwrap(), kept(&[]), "the same step once more");
    assert_eq!(bench.store.find(first.id).await.unwrap(), Some(first.clone()));
    let another = |name: &str, salt| {
        let mut another = Session { id: first.id, ..session(name, first.state.created) };
        another.granted.salt = [salt; 16];
        another
    };
    let older = bench.open("grace", |_| ()).await;
    // The owner's other sessions stay, too.
    for other in [another("ada", 4), another("grace", 4)] {
        assert_eq!(bench.store.create(other, 1).await.unwrap(), Created::Taken);
    }
    assert_eq!(bench.store.find(first.id).await.unwrap(), Some(first.clone()));
    assert!(bench.state(older).await.revoked.is_none());
    assert_eq!(bench.present(first.id, 1).await, Outcome::Rotated { generation: 2 });
    bench.store.revoke(first.id, RevocationReason::Operator).await.unwrap();
    assert_eq!(bench.store.create(another("ada", 4), 1).await.unwrap(), Created::Taken, "a tombstone keeps its id");
    bench.time.advance(DAY as i64);
    bench.store.purge().await.unwrap();
    let created = at_once(16, |number| {
        let (store, mut other) = (bench.store.clone(), another("ada", number as u8));
        (other.state.absolute, other.state.idle_until) = (bench.time.now().plus(DAY), bench.time.now().plus(HOUR));
        async move { store.create(other, 1).await.unwrap() }
    })
    .await;
    assert_eq!(created.iter().filter(|created| **created == kept(&[])).count(), 1);
    assert_eq!(created.iter().filter(|created| **created == Created::Taken).count(), 15);
}

async fn the_current_generation_rotates(bench: Bench) {
    let id = bench.open("ada", |_| ()).await;
    bench.time.advance(100);
    let step = rotate(1, bench.time.now());
    assert_eq!(bench.store.rotate(id, step.clone()).await.unwrap(), Outcome::Rotated { generation: 2 });
    let state = bench.state(id).await;
    assert_eq!((state.generation, state.acknowledged, state.retries), (2, 1, 0));
    assert!(state.created.plus(100) <= state.rotated_at && state.rotated_at <= bench.time.now());
    assert_eq!(state.idle_until, state.rotated_at.plus(HOUR));
    assert_eq!(state.access(&step.access.digest, bench.time.now()).map(|access| access.generation), Some(2));
}

async fn the_parent_is_a_concurrent_use_then_a_lost_answer_then_a_replay(bench: Bench) {
    let id = bench.open("ada", |_| ()).await;
    bench.present(id, 1).await;
    for wait in [0, 5, 20, 30] {
        bench.time.advance(wait);
        assert_eq!(bench.present(id, 1).await, Outcome::Retried { generation: 2 });
    }
    bench.time.advance(6);
    assert!(matches!(bench.present(id, 1).await, Outcome::Reused { current: 2, age: 61..=63 }));
    assert_eq!(bench.present(id, 2).await, Outcome::Refused(Refused::Revoked));
    let tombstone = bench.state(id).await;
    assert!(matches!(tombstone.revoked, Some(Revocation { reason: RevocationReason::Reuse, .. })));
    assert!(tombstone.access.is_empty());
}

async fn the_parent_of_an_acknowledged_successor_is_a_replay_after_ten_seconds(bench: Bench) {
    let id = bench.open("ada", |_| ()).await;
    bench.present(id, 1).await;
    bench.store.acknowledge(id, 2).await.unwrap();
    bench.time.advance(5);
    assert_eq!(bench.present(id, 1).await, Outcome::Retried { generation: 2 });
    bench.time.advance(6);
    assert!(matches!(bench.present(id, 1).await, Outcome::Reused { current: 2, .. }));
    bench.store.acknowledge(SessionId([0; 16]), 2).await.unwrap();
}

async fn an_older_generation_is_a_replay_at_once(bench: Bench) {
    let id = bench.open("ada", |_| ()).await;
    bench.present(id, 1).await;
    bench.present(id, 2).await;
    assert!(matches!(bench.present(id, 1).await, Outcome::Reused { current: 3, .. }));
    assert_eq!(bench.present(id, 1).await, Outcome::Refused(Refused::Revoked), "and is told once");
}

async fn a_token_ahead_of_the_store_heals_it(bench: Bench) {
    let id = bench.open("ada", |_| ()).await;
    assert_eq!(bench.present(id, 7).await, Outcome::Healed { generation: 8 });
    assert_eq!(bench.present(id, 7).await, Outcome::Retried { generation: 8 });
    assert_eq!(bench.present(id, 8).await, Outcome::Rotated { generation: 9 });
    assert_eq!(bench.present(id, u64::MAX).await, Outcome::Refused(Refused::LastGeneration));
}

async fn what_is_not_otherwise_good_changes_nothing(bench: Bench) {
    let id = bench.open("ada", |session| session.state.generation = 5).await;
    let before = bench.state(id).await;
    let other = Rotate { client: "another".to_owned(), ..rotate(1, bench.time.now()) };
    assert_eq!(bench.store.rotate(id, other).await.unwrap(), Outcome::Refused(Refused::OtherClient));
    assert_eq!(bench.present(SessionId([0; 16]), 1).await, Outcome::Refused(Refused::Unknown));
    assert_eq!(bench.present(id, 0).await, Outcome::Refused(Refused::Unknown));
    assert_eq!(bench.state(id).await, before);
}

async fn idle_and_absolute_ends_are_both_kept(bench: Bench) {
    let idle = bench.open("ada", |_| ()).await;
    let busy = bench.open("ada", |_| ()).await;
    let absolute = bench.state(busy).await.absolute;
    let mut generation = 1;
    while bench.time.now() < absolute.minus(2000) {
        assert_eq!(bench.present(busy, generation).await, Outcome::Rotated { generation: generation + 1 });
        generation += 1;
        bench.time.advance(2000);
    }
    assert_eq!(bench.present(idle, 1).await, Outcome::Refused(Refused::Expired));
    assert_eq!(bench.state(busy).await.absolute, absolute);
    bench.time.advance(HOUR as i64);
    assert!(matches!(bench.present(busy, generation).await, Outcome::Refused(Refused::Expired | Refused::Unknown)));
}

async fn many_uses_of_one_token_at_once_get_one_successor(bench: Bench) {
    let id = bench.open("ada", |_| ()).await;
    let steps: Vec<Rotate> = (0..64).map(|_| rotate(1, bench.time.now())).collect();
    let outcomes = at_once(64, |number| {
        let (store, step) = (bench.store.clone(), steps[number].clone());
        async move { store.rotate(id, step).await.unwrap() }
    })
    .await;
    let of = |wanted: Outcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!(of(Outcome::Rotated { generation: 2 }), 1);
    assert_eq!(of(Outcome::Retried { generation: 2 }), 63);
    let state = bench.state(id).await;
    let good = |step: &&Rotate| state.access(&step.access.digest, bench.time.now()).is_some();
    assert_eq!(steps.iter().filter(good).count(), 64, "each answer's access token is good");
}

async fn a_revocation_wins_every_race(bench: Bench) {
    for round in 0..8 {
        let id = bench.open("ada", |_| ()).await;
        let outcomes = at_once(17, |number| {
            let (store, step) = (bench.store.clone(), rotate(1, bench.time.now()));
            async move {
                if number == round * 2 {
                    assert!(store.revoke(id, RevocationReason::Operator).await.unwrap());
                    None
                } else {
                    Some(store.rotate(id, step).await.unwrap())
                }
            }
        })
        .await;
        for outcome in outcomes.into_iter().flatten() {
            let good = matches!(outcome, Outcome::Rotated { generation: 2 } | Outcome::Retried { generation: 2 });
            assert!(good || outcome == Outcome::Refused(Refused::Revoked), "{outcome:?}");
        }
        for generation in [1, 2, 3] {
            assert_eq!(bench.present(id, generation).await, Outcome::Refused(Refused::Revoked));
        }
        let state = bench.state(id).await;
        assert!(matches!(state.revoked, Some(Revocation { reason: RevocationReason::Operator, .. })));
        assert!(state.access.is_empty(), "nothing was added to a session that had ended");
    }
}

async fn a_revocation_is_told_once(bench: Bench) {
    let id = bench.open("ada", |_| ()).await;
    assert!(!bench.store.revoke(SessionId([0; 16]), RevocationReason::Client).await.unwrap());
    let told = at_once(16, |_| {
        let store = bench.store.clone();
        async move { store.revoke(id, RevocationReason::Client).await.unwrap() }
    })
    .await;
    assert_eq!(told.into_iter().filter(|told| *told).count(), 1);
    assert_eq!(bench.store.count().await.unwrap(), 0);
}

async fn a_code_is_spent_once(bench: Bench) {
    let session = session("ada", bench.time.now());
    bench.store.put_code(session.id, code("ada", bench.time.now().plus(60))).await.unwrap();
    let outcomes = at_once(64, |_| {
        let (store, session) = (bench.store.clone(), session.clone());
        async move { store.spend_code(session, 10).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|spent| **spent == Spent::Now(vec![])).count(), 1);
    assert_eq!(outcomes.iter().filter(|spent| **spent == Spent::Before).count(), 63);
    assert_eq!(bench.store.find(session.id).await.unwrap(), Some(session.clone()));
    // The session that it gave can end: that does not make the code good again.
    bench.store.revoke(session.id, RevocationReason::CodeReuse).await.unwrap();
    assert_eq!(bench.store.spend_code(session.clone(), 10).await.unwrap(), Spent::Before);
    assert!(bench.state(session.id).await.revoked.is_some());
}

async fn a_code_is_found_until_its_end(bench: Bench) {
    let (session, code) = (session("ada", bench.time.now()), code("ada", bench.time.now().plus(60)));
    assert_eq!(bench.store.find_code(session.id).await.unwrap(), None);
    assert_eq!(bench.store.spend_code(session.clone(), 10).await.unwrap(), Spent::Unknown);
    bench.store.put_code(session.id, code.clone()).await.unwrap();
    assert_eq!(bench.store.find_code(session.id).await.unwrap(), Some(code.clone()));
    assert_eq!(bench.store.spend_code(session.clone(), 10).await.unwrap(), Spent::Now(vec![]));
    assert_eq!(bench.store.find_code(session.id).await.unwrap(), Some(code), "a second use must be seen as one");
    bench.time.advance(60);
    assert_eq!(bench.store.find_code(session.id).await.unwrap(), None);
    assert_eq!(bench.store.spend_code(session, 10).await.unwrap(), Spent::Unknown);
}

async fn the_oldest_session_makes_room_for_one_too_many(bench: Bench) {
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(bench.open("ada", |_| ()).await);
        bench.time.advance(2);
    }
    let other = bench.open("grace", |_| ()).await;
    // One that has ended makes room, too.
    bench.store.revoke(opened[1], RevocationReason::Client).await.unwrap();
    let next = session("ada", bench.time.now());
    assert_eq!(bench.store.create(next.clone(), 3).await.unwrap(), Created::Now(vec![]));
    bench.time.advance(2);
    assert_eq!(bench.store.create(session("ada", bench.time.now()), 3).await.unwrap(), kept(&[opened[0]]));
    let reason = bench.state(opened[0]).await.revoked.map(|revoked| revoked.reason);
    assert_eq!(reason, Some(RevocationReason::Superseded));
    bench.time.advance(2);
    let last = session("ada", bench.time.now());
    bench.store.put_code(last.id, code("ada", bench.time.now().plus(60))).await.unwrap();
    let Spent::Now(superseded) = bench.store.spend_code(last.clone(), 1).await.unwrap() else { panic!("not spent") };
    assert_eq!(superseded.len(), 3, "a smaller bound ends as many as it takes");
    assert_eq!(superseded[0], opened[2], "the oldest first");
    assert!(bench.state(last.id).await.revoked.is_none() && bench.state(other).await.revoked.is_none());
    assert_eq!(bench.store.count().await.unwrap(), 2);
}

async fn sessions_of_users_and_clients_are_counted_apart(bench: Bench) {
    let user = bench.open("ada", |session| session.granted.subject = "same".to_owned()).await;
    bench.time.advance(2);
    let mut of_client = session("ada", bench.time.now());
    (of_client.granted.subject, of_client.granted.username) = ("same".to_owned(), None);
    assert_eq!(bench.store.create(of_client.clone(), 1).await.unwrap(), Created::Now(vec![]));
    bench.time.advance(2);
    let next = Session { id: SessionId::random().unwrap(), ..of_client.clone() };
    assert_eq!(bench.store.create(next, 1).await.unwrap(), Created::Now(vec![of_client.id]));
    assert!(bench.state(user).await.revoked.is_none());
}

async fn sessions_are_listed_by_user_and_client_in_the_order_of_their_ids(bench: Bench) {
    let mut of_ada = BTreeSet::new();
    for number in 0..25 {
        let mobile = |session: &mut Session| session.state.client = "mobile".to_owned();
        of_ada.insert(
            bench
                .open("ada", |session| {
                    if number % 5 == 0 {
                        mobile(session)
                    }
                })
                .await,
        );
        bench
            .open("grace", |session| {
                if number % 2 == 0 {
                    mobile(session)
                }
            })
            .await;
    }
    let ended = *of_ada.first().unwrap();
    bench.store.revoke(ended, RevocationReason::Operator).await.unwrap();
    let list = |user: Option<&str>, client: Option<&str>, alive, after, most| {
        let filter = Filter { user: user.map(str::to_owned), client: client.map(str::to_owned), alive };
        let listed = bench.store.list(filter, after, most);
        async move { listed.await.unwrap().iter().map(|session| session.id).collect::<Vec<_>>() }
    };
    let in_order = of_ada.iter().copied().collect::<Vec<_>>();
    assert_eq!(list(Some("ada"), None, false, None, 100).await, in_order);
    assert_eq!(list(Some("subject of ada"), None, false, None, 100).await, in_order);
    assert_eq!(list(Some("ada"), None, true, None, 100).await, in_order[1..]);
    assert_eq!(list(Some("ada"), None, false, Some(in_order[9]), 5).await, in_order[10..15], "page by page");
    assert_eq!(list(Some("ada"), None, false, in_order.last().copied(), 5).await, []);
    assert_eq!(list(Some("ada"), Some("mobile"), false, None, 100).await.len(), 5);
    assert_eq!(list(None, Some("mobile"), false, None, 100).await.len(), 5 + 13);
    assert_eq!(list(None, Some(CLIENT), false, None, 100).await.len(), 20 + 12);
    assert_eq!(list(None, None, false, None, 100).await.len(), 50);
    let all = list(None, None, true, None, 100).await;
    assert!(all.len() == 49 && all.is_sorted() && !all.contains(&ended));
    assert_eq!(list(None, None, true, Some(all[20]), 10).await, all[21..31]);
    assert_eq!(list(Some("nobody"), None, false, None, 100).await, []);
    assert_eq!(list(Some("ada"), Some("nothing"), false, None, 100).await, []);
    bench.time.advance(DAY as i64);
    assert_eq!(list(Some("ada"), None, false, None, 100).await, [], "what is over is not listed, purged or not");
}

async fn a_key_is_used_once_until_its_end(bench: Bench) {
    let until = bench.time.now().plus(100);
    let used = at_once(64, |_| {
        let store = bench.store.clone();
        async move { store.use_once([1; 32], until).await.unwrap() }
    })
    .await;
    assert_eq!(used.into_iter().filter(|first| *first).count(), 1);
    assert!(bench.store.use_once([2; 32], until).await.unwrap());
    bench.time.advance(100);
    assert!(bench.store.use_once([1; 32], until.plus(100)).await.unwrap());
    bench.store.purge().await.unwrap();
    assert!(!bench.store.use_once([1; 32], until.plus(200)).await.unwrap(), "its new end counts");
    assert!(bench.store.use_once([2; 32], until.plus(200)).await.unwrap());
}

async fn a_document_is_replaced_only_by_who_knows_its_version(bench: Bench) {
    assert_eq!(bench.store.load("keys").await.unwrap(), None);
    assert!(!bench.store.save("keys", 1, b"early".to_vec()).await.unwrap());
    let saved = at_once(16, |number| {
        let store = bench.store.clone();
        async move { store.save("keys", 0, vec![number as u8]).await.unwrap() }
    })
    .await;
    let winner = saved.iter().position(|saved| *saved).unwrap();
    assert_eq!(saved.into_iter().filter(|saved| *saved).count(), 1);
    assert_eq!(bench.store.load("keys").await.unwrap(), Some((1, vec![winner as u8])));
    assert!(bench.store.save("keys", 1, b"next".to_vec()).await.unwrap());
    assert!(!bench.store.save("keys", 1, b"late".to_vec()).await.unwrap());
    assert_eq!(bench.store.load("keys").await.unwrap(), Some((2, b"next".to_vec())));
    assert_eq!(bench.store.load("other").await.unwrap(), None);
}

async fn what_is_over_is_purged_and_nothing_else(bench: Bench) {
    let idle = bench.open("ada", |_| ()).await;
    let prolonged = bench.open("ada", |_| ()).await;
    let revoked = bench.open("ada", |_| ()).await;
    let of_client = bench
        .open("ada", |session| {
            session.state.generation = 0;
            session.state.idle_until = session.state.absolute;
            session.state.access.push(access(session.state.created));
        })
        .await;
    bench.store.revoke(revoked, RevocationReason::Client).await.unwrap();
    assert_eq!(bench.store.purge().await.unwrap(), 0);
    bench.time.advance(HOUR as i64 - 100);
    bench.present(prolonged, 1).await;
    assert_eq!(bench.store.purge().await.unwrap(), 1, "a client's session without a good access token is over");
    bench.time.advance(101);
    assert_eq!(bench.store.purge().await.unwrap(), 1, "so is one whose refresh token is");
    let mut there = Vec::new();
    for id in [idle, prolonged, revoked, of_client] {
        there.push(bench.store.find(id).await.unwrap().is_some());
    }
    assert_eq!(there, [false, true, true, false]);
    let all = Filter::default();
    assert_eq!(bench.store.list(Filter { user: Some("ada".to_owned()), ..all }, None, 10).await.unwrap().len(), 2);
    assert_eq!(bench.store.count().await.unwrap(), 1);
    bench.time.advance(DAY as i64);
    assert_eq!(bench.store.purge().await.unwrap(), 2);
    assert_eq!(bench.store.purge().await.unwrap(), 0);
    assert_eq!(bench.store.count().await.unwrap(), 0);
}

async fn what_was_answered_survives_a_restart(bench: Bench) {
    let Bench { time, store, reopen: Some(reopen), .. } = bench else { return };
    let (one, two) = (session("ada", time.now()), session("grace", time.now()));
    let waiting = session("ada", time.now());
    store.create(one.clone(), 10).await.unwrap();
    store.create(two.clone(), 10).await.unwrap();
    store.rotate(one.id, rotate(1, time.now())).await.unwrap();
    store.revoke(two.id, RevocationReason::Operator).await.unwrap();
    store.put_code(waiting.id, code("ada", time.now().plus(60))).await.unwrap();
    store.use_once([1; 32], time.now().plus(100)).await.unwrap();
    store.save("keys", 0, b"content".to_vec()).await.unwrap();
    drop(store);
    let store = reopen();
    assert_eq!(store.rotate(one.id, rotate(2, time.now())).await.unwrap(), Outcome::Rotated { generation: 3 });
    let replay = store.rotate(two.id, rotate(1, UnixTime(0))).await.unwrap();
    assert_eq!(replay, Outcome::Refused(Refused::Revoked));
    assert_eq!(store.spend_code(waiting.clone(), 10).await.unwrap(), Spent::Now(vec![]));
    assert!(!store.use_once([1; 32], time.now().plus(100)).await.unwrap());
    assert_eq!(store.load("keys").await.unwrap(), Some((1, b"content".to_vec())));
    assert_eq!(store.count().await.unwrap(), 2);
    drop(store);
    let store = reopen();
    assert_eq!(store.spend_code(waiting, 10).await.unwrap(), Spent::Before);
    let listed = store.list(Filter { user: Some("ada".to_owned()), ..Filter::default() }, None, 10).await.unwrap();
    assert_eq!(listed.len(), 2);
}
