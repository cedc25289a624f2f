//! What stores promise of sessions that come from another store.

use std::time::Duration;

use super::{
    super::{
        Candidate, Intend, Intended, Renewer,
        moving::{Moved, Restored},
    },
    vouched::{held, vouched},
    *,
};
use crate::model::UnixMillis;

impl Bench {
    async fn restore(&self, session: &Session) -> Restored {
        self.restore_with(session, &[]).await
    }

    async fn restore_with(&self, session: &Session, candidates: &[Candidate]) -> Restored {
        let moved = Moved { session: session.clone(), candidates: candidates.to_vec() };
        self.store.restore(moved).await.unwrap()
    }

    /// All of them, so many at a time.
    async fn records(&self, most: usize) -> Vec<Moved> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let records = self.store.records(after, most).await.unwrap();
            assert!(records.unreadable.is_empty() && records.moved.len() <= most);
            found.extend(records.moved);
            match records.last {
                Some(last) => after = Some(last),
                None => return found,
            }
        }
    }

    async fn found(&self, id: SessionId) -> Session {
        self.store.find(id).await.unwrap().unwrap()
    }
}

pub(super) async fn a_restored_session_is_as_it_was_and_counts_like_any_other(bench: Bench) {
    let now = bench.time.now();
    let mut moved = session("ada", now);
    moved.state.created = now.minus(100);
    moved.state.generation = 7;
    moved.state.access.push(access(now));
    assert_eq!(bench.restore(&moved).await, Restored::Kept);
    assert_eq!(bench.found(moved.id).await, moved);
    assert_eq!(bench.store.count().await.unwrap(), 1);
    let of = |user: &str| Filter { user: Some(user.to_owned()), ..Filter::default() };
    assert_eq!(bench.store.list(of("ada"), None, 10).await.unwrap(), [moved.clone()]);
    let of_client = Filter { client: Some(CLIENT.to_owned()), alive: true, ..Filter::default() };
    assert_eq!(bench.store.list(of_client, None, 10).await.unwrap().len(), 1);
    assert_eq!(bench.present(moved.id, 7).await, Outcome::Rotated { generation: 8 });

    // It supersedes none, and is superseded in its turn.
    let second = session("ada", now);
    assert_eq!(bench.restore(&second).await, Restored::Kept);
    assert_eq!(bench.store.count().await.unwrap(), 2);
    assert_eq!(bench.store.create(session("ada", now), 2).await.unwrap(), kept(&[moved.id]));
    // It ends when it would have ended.
    bench.time.advance(DAY as i64);
    bench.store.purge().await.unwrap();
    assert_eq!((bench.store.count().await.unwrap(), bench.store.find(second.id).await.unwrap()), (0, None));
}

pub(super) async fn what_is_restored_again_changes_nothing_and_never_goes_back(bench: Bench) {
    let now = bench.time.now();
    let mut moved = session("ada", now);
    moved.state.access.push(access(now));
    assert_eq!(bench.restore(&moved).await, Restored::Kept);
    assert_eq!(bench.restore(&moved).await, Restored::There);
    bench.time.advance(1);
    assert_eq!(bench.present(moved.id, 1).await, Outcome::Rotated { generation: 2 });
    let newer = bench.found(moved.id).await;
    assert_eq!(bench.restore(&moved).await, Restored::There);
    assert_eq!(bench.found(moved.id).await, newer);
    // Another store has it in a newer state.
    let mut newest = newer.clone();
    (newest.state.generation, newest.state.rotated_at) = (5, bench.time.now().plus(1));
    newest.state.acknowledged = 4;
    newest.state.access = vec![access(now)];
    assert_eq!(bench.restore(&newest).await, Restored::Kept);
    let found = bench.found(moved.id).await;
    assert_eq!((found.state.generation, found.state.acknowledged), (5, 4));
    assert_eq!(
        found.state.access,
        [&newer.state.access[..], &newest.state.access[..]].concat(),
        "those of both are good"
    );
    assert_eq!(bench.restore(&newest).await, Restored::There);
    assert_eq!((bench.restore(&moved).await, bench.found(moved.id).await), (Restored::There, found));
    assert_eq!(bench.store.count().await.unwrap(), 1);
    assert_eq!(bench.store.create(session("ada", now), 2).await.unwrap(), kept(&[]), "it is counted once");
}

pub(super) async fn of_a_tombstone_and_a_live_session_the_tombstone_stays(bench: Bench) {
    let now = bench.time.now();
    let (live, other) = (session("ada", now), session("grace", now));
    let mut ended = live.clone();
    assert!(ended.state.revoke(RevocationReason::Operator, now));
    assert_eq!(bench.restore(&ended).await, Restored::Kept);
    assert_eq!(bench.store.count().await.unwrap(), 0);
    let newer =
        Session { state: State { generation: 9, rotated_at: now.plus(9), ..live.state.clone() }, ..live.clone() };
    assert_eq!((bench.restore(&live).await, bench.restore(&newer).await), (Restored::There, Restored::There));
    assert_eq!(bench.found(live.id).await, ended);
    assert_eq!(bench.present(live.id, 1).await, Outcome::Refused(Refused::Revoked));

    // And the other way: here it lived on.
    bench.restore(&other).await;
    bench.time.advance(1);
    assert_eq!(bench.present(other.id, 1).await, Outcome::Rotated { generation: 2 });
    let mut ended = other.clone();
    ended.state.revoke(RevocationReason::Reuse, now);
    assert_eq!((bench.restore(&ended).await, bench.restore(&ended).await), (Restored::Kept, Restored::There));
    let found = bench.found(other.id).await.state;
    assert_eq!((found.revoked, found.generation, found.access), (ended.state.revoked, 2, vec![]));
    assert_eq!(bench.present(other.id, 2).await, Outcome::Refused(Refused::Revoked));
    assert_eq!(bench.store.count().await.unwrap(), 0);
}

pub(super) async fn an_id_of_another_session_is_not_restored(bench: Bench) {
    let id = bench.open("ada", |_| ()).await;
    let before = bench.found(id).await;
    let mut other = Session { id, ..session("grace", bench.time.now()) };
    other.granted.salt = [9; 16];
    other.state.generation = 9;
    assert_eq!(bench.restore(&other).await, Restored::Taken);
    other.state.revoke(RevocationReason::Operator, bench.time.now());
    assert_eq!(bench.restore(&other).await, Restored::Taken);
    assert_eq!(bench.found(id).await, before);
}

pub(super) async fn a_renewal_that_was_begun_elsewhere_is_found_and_what_came_too_late_is_there(bench: Bench) {
    let now = bench.time.now();
    let mut moved = session("ada", now);
    vouched(&mut moved);
    let step = Intend { seen: 1, owner: Renewer(1), lease: Duration::from_secs(8) };
    for _ in 0..2 {
        let at = UnixMillis(now.0 * 1000 - 60_000);
        assert!(matches!(moved.state.intend(&step, false, now, at), Intended::Go { .. }));
    }
    let late = [Candidate { epoch: 1, held: held(2, now) }];
    assert_eq!(bench.restore_with(&moved, &late).await, Restored::Kept);
    assert_eq!(bench.restore_with(&moved, &late).await, Restored::There);
    assert_eq!(bench.found(moved.id).await, moved);
    assert_eq!(bench.store.candidates(moved.id).await.unwrap(), late);
    assert_eq!(bench.store.lapsed(Renewer(2), None, 10).await.unwrap(), [moved.id]);
    assert_eq!(bench.records(10).await, [Moved { session: moved.clone(), candidates: late.to_vec() }]);
    let epoch = bench.lease(moved.id, 1).await;
    assert!(epoch > 2);

    // What was renewed here is not given up for what was before.
    let renewed = super::super::Answer::Given { held: held(3, now), renewed_for: None };
    bench.renew(moved.id, super::super::Renewed { epoch, answer: renewed }).await;
    let newer = bench.found(moved.id).await;
    assert_eq!(bench.restore_with(&moved, &late).await, Restored::There);
    assert_eq!(bench.found(moved.id).await, newer);
    assert!(bench.store.lapsed(Renewer(2), None, 10).await.unwrap().is_empty());
    // What was renewed there is taken, and a session that has ended needs none of it.
    let mut newest = newer.clone();
    newest.state.vouched.as_mut().unwrap().generation = 5;
    newest.held = Some(held(7, now));
    assert_eq!(bench.restore(&newest).await, Restored::Kept);
    assert_eq!(bench.found(moved.id).await.held, newest.held);
    newest.state.revoke(RevocationReason::Client, now);
    assert_eq!(bench.restore_with(&newest, &[]).await, Restored::Kept);
    assert!(bench.store.candidates(moved.id).await.unwrap().is_empty());

    // The authority's own tokens are found.
    let mut passed = session("grace", now);
    vouched(&mut passed);
    passed.state.access = vec![Access { digest: [8; 16], foreign: true, ..access(now) }];
    bench.restore(&passed).await;
    assert_eq!(bench.store.find_foreign([8; 16]).await.unwrap(), Some(passed.id));
}

pub(super) async fn of_many_who_restore_one_session_one_keeps_it(bench: Bench) {
    let moved = Moved { session: session("ada", bench.time.now()), candidates: Vec::new() };
    let outcomes = at_once(16, |_| {
        let (store, moved) = (bench.store.clone(), moved.clone());
        async move { store.restore(moved).await.unwrap() }
    });
    let kept = outcomes.await.into_iter().filter(|restored| *restored == Restored::Kept).count();
    assert_eq!((kept, bench.store.count().await.unwrap()), (1, 1));
}

pub(super) async fn records_are_everything_that_is_not_over_in_the_order_of_their_ids(bench: Bench) {
    assert!(bench.records(10).await.is_empty());
    let mut ids = BTreeSet::new();
    for number in 0..25 {
        ids.insert(bench.open(&format!("user {number}"), |_| ()).await);
    }
    let ended = *ids.iter().nth(11).unwrap();
    bench.store.revoke(ended, RevocationReason::Client).await.unwrap();
    let over = bench.open("ada", |session| session.state.idle_until = session.state.created.plus(10)).await;
    bench.time.advance(10);
    for most in [1, 7, 25, 26, 100] {
        let records = bench.records(most).await;
        assert_eq!(
            records.iter().map(|moved| moved.session.id).collect::<Vec<_>>(),
            ids.iter().copied().collect::<Vec<_>>()
        );
        assert!(records.iter().all(|moved| moved.session.id != over));
        assert!(records.iter().any(|moved| moved.session.id == ended && moved.session.state.revoked.is_some()));
    }
}
