//! What stores promise of the time between a question to the authority outside and its answer.

use std::time::Duration;

use super::{
    super::{Answer, Candidate, Exchanged, Intend, Intended, Left, Renewed, Renewer},
    vouched::{ended, given, held, vouched},
    *,
};

const ONE: Renewer = Renewer(1);
const OTHER: Renewer = Renewer(2);
const LEASE: u64 = 8;

/// Which epochs there are is the store's business.
impl Bench {
    async fn go(&self, id: SessionId, owner: Renewer, seen: u64) -> u64 {
        match self.intend(id, owner, seen).await {
            Intended::Go { epoch, doubtful: false, again: false } => epoch,
            other => panic!("{other:?}"),
        }
    }

    async fn go_once_more(&self, id: SessionId, owner: Renewer, seen: u64) -> u64 {
        match self.intend(id, owner, seen).await {
            Intended::Go { epoch, doubtful: true, again: true } => epoch,
            other => panic!("{other:?}"),
        }
    }

    async fn intend(&self, id: SessionId, owner: Renewer, seen: u64) -> Intended {
        self.store.intend(id, Intend { seen, owner, lease: Duration::from_secs(LEASE) }).await.unwrap()
    }

    async fn leave(&self, id: SessionId, epoch: u64, left: Left) {
        self.store.leave(id, epoch, left).await.unwrap();
    }

    async fn lapsed(&self, owner: Renewer) -> Vec<SessionId> {
        self.store.lapsed(owner, None, 100).await.unwrap()
    }

    /// Epochs.
    async fn candidates(&self, id: SessionId) -> Vec<u64> {
        self.store.candidates(id).await.unwrap().iter().map(|candidate| candidate.epoch).collect()
    }
}

pub(super) async fn who_is_at_it_is_not_disturbed_by_another_process_until_the_lease_lapses(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let epoch = bench.go(id, ONE, 1).await;
    assert!(matches!(bench.intend(id, OTHER, 1).await, Intended::Held { still } if !still.is_zero()));
    bench.time.advance(LEASE as i64 - 2);
    assert!(bench.store.extend(id, epoch, Duration::from_secs(LEASE)).await.unwrap());
    bench.time.advance(LEASE as i64 - 2);
    assert!(matches!(bench.intend(id, OTHER, 1).await, Intended::Held { .. }), "it was made longer");
    assert!(bench.lapsed(OTHER).await.is_empty());
    bench.time.advance(3);
    assert_eq!(bench.lapsed(OTHER).await, [id]);
    assert!(bench.go_once_more(id, OTHER, 1).await > epoch);
    assert!(!bench.store.extend(id, epoch, Duration::from_secs(LEASE)).await.unwrap(), "it is another's now");
    assert!(matches!(bench.intend(id, ONE, 1).await, Intended::Held { .. }));
}

pub(super) async fn a_process_that_is_alone_takes_over_at_once_what_another_left(bench: Bench) {
    let (id, other) = (bench.open("ada", vouched).await, bench.open("ada", vouched).await);
    bench.go(id, ONE, 1).await;
    assert!(bench.lapsed(ONE).await.is_empty(), "its own may still be under way");
    bench.go(other, OTHER, 1).await;
    assert_eq!(bench.lapsed(OTHER).await, [id]);
    assert_eq!(bench.store.lapsed(OTHER, Some(id), 100).await.unwrap(), []);
    bench.go_once_more(id, OTHER, 1).await;
    assert!(bench.lapsed(OTHER).await.is_empty());
}

pub(super) async fn what_was_left_in_doubt_is_tried_once_more_and_then_left_to_who_needs_it(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let first = bench.go(id, ONE, 1).await;
    bench.leave(id, first, Left::Untouched).await;
    assert!(bench.lapsed(ONE).await.is_empty());
    let second = bench.go(id, ONE, 1).await;
    bench.leave(id, first, Left::Untouched).await;
    bench.leave(id, second, Left::Doubtful).await;
    assert_eq!(bench.lapsed(ONE).await, [id]);
    let third = bench.go_once_more(id, ONE, 1).await;
    bench.leave(id, third, Left::Untouched).await;
    assert_eq!(bench.lapsed(ONE).await, [id], "it was not tried");
    let fourth = bench.go_once_more(id, ONE, 1).await;
    bench.leave(id, fourth, Left::Doubtful).await;
    assert!(bench.lapsed(ONE).await.is_empty());
    let Intended::Go { epoch, doubtful: true, again: false } = bench.intend(id, ONE, 1).await else { panic!("not so") };
    let now = bench.time.now();
    assert_eq!(bench.renew(id, given(epoch, 2, None, now)).await, Exchanged::Kept { generation: 2 });
    assert!(bench.go(id, ONE, 2).await > epoch, "an answer that is kept ends the doubt");
}

pub(super) async fn what_comes_too_late_is_kept_aside_until_the_session_was_renewed_again(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let now = bench.time.now();
    let mut late = vec![bench.lease(id, 1).await];
    for number in 2..=6 {
        late.insert(0, bench.lease(id, 1).await);
        let given = || given(late[1], number - 1, None, now);
        assert_eq!(bench.renew(id, given()).await, Exchanged::Aside);
        assert_eq!(bench.renew(id, given()).await, Exchanged::Aside, "once more");
    }
    assert_eq!(bench.candidates(id).await, late[1..=4], "the oldest has given way");
    let newest = bench.store.candidates(id).await.unwrap().swap_remove(0);
    assert_eq!(newest, Candidate { epoch: late[1], held: held(5, now) });
    assert_eq!(bench.held(id).await, Some(held(1, now)));
    assert_eq!(bench.renew(id, given(late[0], 6, None, now)).await, Exchanged::Kept { generation: 2 });
    assert_eq!(bench.candidates(id).await.len(), 4, "whether the new one is good is not known yet");
    let epoch = bench.lease(id, 2).await;
    assert_eq!(bench.renew(id, given(epoch, 7, None, now)).await, Exchanged::Kept { generation: 3 });
    assert!(bench.candidates(id).await.is_empty());
}

pub(super) async fn nothing_is_over_while_a_candidate_was_not_tried(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let now = bench.time.now();
    let (before, epoch) = (bench.lease(id, 1).await, bench.lease(id, 1).await);
    bench.renew(id, given(before, 2, None, now)).await;
    assert_eq!(bench.renew(id, ended(epoch)).await, Exchanged::Untried);
    assert_eq!(bench.state(id).await.revoked, None);
    let tried = Renewed { epoch, answer: Answer::Ended { tried: vec![before] } };
    assert_eq!(bench.renew(id, tried).await, Exchanged::Ended);
    assert!(bench.candidates(id).await.is_empty());
}

pub(super) async fn an_answer_ahead_of_a_store_that_lost_the_lease_is_kept(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let now = bench.time.now();
    let lost = bench.lease(bench.open("ada", vouched).await, 1).await;
    assert_eq!(bench.renew(id, ended(lost)).await, Exchanged::Moved, "a no from nowhere ends nothing");
    assert_eq!(bench.renew(id, given(lost, 2, None, now)).await, Exchanged::Kept { generation: 2 });
    assert!(bench.go(id, ONE, 2).await > lost);
}

pub(super) async fn what_is_over_is_not_renewed_and_leaves_nothing_behind(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let now = bench.time.now();
    let (late, newest) = (bench.lease(id, 1).await, bench.lease(id, 1).await);
    bench.renew(id, given(late, 2, None, now)).await;
    bench.store.revoke(id, RevocationReason::Client).await.unwrap();
    bench.store.purge().await.unwrap();
    assert_eq!(bench.intend(id, ONE, 1).await, Intended::Gone);
    assert!(bench.lapsed(OTHER).await.is_empty() && bench.candidates(id).await.is_empty());
    assert_eq!(bench.renew(id, given(newest, 2, None, now)).await, Exchanged::Gone);
    let nobody = SessionId::random().unwrap();
    assert_eq!(bench.intend(nobody, ONE, 1).await, Intended::Gone);
    bench.leave(nobody, 1, Left::Doubtful).await;
    let local = bench.open("ada", |_| ()).await;
    assert_eq!(bench.intend(local, ONE, 0).await, Intended::Gone, "nobody vouches for it");
}

pub(super) async fn what_was_begun_and_what_came_too_late_survive_a_restart(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let now = bench.time.now();
    let (late, newest) = (bench.lease(id, 1).await, bench.lease(id, 1).await);
    bench.renew(id, given(late, 2, None, now)).await;
    let Bench { time, store, reopen: Some(reopen), place } = bench else { return };
    drop(store);
    let bench = Bench { time, store: reopen(), reopen: None, place };
    // Where others may be at it, only then.
    bench.time.advance(LEASE as i64);
    assert_eq!(bench.lapsed(OTHER).await, [id]);
    assert_eq!(bench.candidates(id).await, [late]);
    assert!(bench.go_once_more(id, OTHER, 1).await > newest);
}
