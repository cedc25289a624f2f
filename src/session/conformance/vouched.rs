//! What stores promise of sessions that an authority outside vouches for.

use std::time::Duration;

use super::{
    super::{Answer, Exchanged, Held, Intend, Intended, Renewed, Renewer, Vouched},
    *,
};
use crate::model::Secret;

/// The authority's tokens, the `number`th time that it gave some.
pub(super) fn held(number: u64, now: UnixTime) -> Held {
    Held {
        access_token: Secret::new(format!("access {number}")),
        issued: now,
        expires: now.plus(300),
        authority: "an authority".to_owned(),
        refresh_token: Some(Secret::new(format!("refresh {number}"))),
    }
}

pub(super) fn given(epoch: u64, number: u64, renewed_for: Option<u64>, now: UnixTime) -> Renewed {
    Renewed { epoch, answer: Answer::Given { held: held(number, now), renewed_for } }
}

pub(super) fn ended(epoch: u64) -> Renewed {
    Renewed { epoch, answer: Answer::Ended { tried: Vec::new() } }
}

/// A session that the authority has just vouched for.
pub(super) fn vouched(session: &mut Session) {
    let held = held(1, session.state.created);
    session.state.vouched = Some(Vouched::first(held.expires));
    session.held = Some(held);
}

/// The authority's own token, with `digest`.
fn foreign(digest: u8, now: UnixTime) -> Access {
    Access { digest: [digest; 16], foreign: true, ..access(now) }
}

impl Bench {
    pub(super) async fn renew(&self, id: SessionId, renewed: Renewed) -> Exchanged {
        self.store.renew(id, renewed).await.unwrap()
    }

    /// The epoch under which the authority may be asked to renew what was seen as of that generation.
    pub(super) async fn lease(&self, id: SessionId, seen: u64) -> u64 {
        let step = Intend { seen, owner: Renewer(1), lease: Duration::from_secs(8) };
        match self.store.intend(id, step).await.unwrap() {
            Intended::Go { epoch, .. } => epoch,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn held(&self, id: SessionId) -> Option<Held> {
        self.store.find(id).await.unwrap().unwrap().held
    }

    async fn finds(&self, digest: u8) -> Option<SessionId> {
        self.store.find_foreign([digest; 16]).await.unwrap()
    }
}

pub(super) async fn what_the_authority_gave_is_replaced_only_by_who_saw_it(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let now = bench.time.now();
    assert_eq!(bench.held(id).await.unwrap().access_token.expose(), "access 1");
    let epoch = bench.lease(id, 1).await;
    assert_eq!(bench.renew(id, given(epoch, 2, Some(3), now)).await, Exchanged::Kept { generation: 2 });
    assert_eq!(bench.renew(id, given(epoch, 2, Some(3), now)).await, Exchanged::Moved, "the same step once more");
    let late = Intend { seen: 1, owner: Renewer(1), lease: Duration::from_secs(8) };
    assert_eq!(bench.store.intend(id, late).await.unwrap(), Intended::Moved, "somebody else was faster");
    assert_eq!(bench.held(id).await, Some(held(2, now)));
    let epoch = bench.lease(id, 2).await;
    assert_eq!(bench.renew(id, given(epoch, 3, None, now)).await, Exchanged::Kept { generation: 3 });
    let state = bench.state(id).await.vouched.unwrap();
    assert_eq!((state.generation, state.renewed_for, state.expires), (3, 3, now.plus(300)));
}

pub(super) async fn of_many_renewals_at_once_one_is_kept(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let now = bench.time.now();
    let outcomes = at_once(32, |number| {
        let store = bench.store.clone();
        async move {
            let step = Intend { seen: 1, owner: Renewer(number as u64), lease: Duration::from_secs(8) };
            match store.intend(id, step).await.unwrap() {
                Intended::Go { epoch, .. } => {
                    Some(store.renew(id, given(epoch, number as u64, None, now)).await.unwrap())
                }
                _ => None,
            }
        }
    });
    let outcomes = outcomes.await;
    let kept: Vec<usize> = (0..32).filter(|at| outcomes[*at] == Some(Exchanged::Kept { generation: 2 })).collect();
    let [kept] = kept[..] else { panic!("{outcomes:?}") };
    assert!(outcomes.iter().flatten().all(|outcome| matches!(outcome, Exchanged::Kept { .. } | Exchanged::Aside)));
    assert_eq!(bench.held(id).await, Some(held(kept as u64, now)));
}

pub(super) async fn a_no_of_the_authority_ends_only_what_it_was_said_of(bench: Bench) {
    let id = bench.open("ada", vouched).await;
    let before = bench.lease(id, 1).await;
    let epoch = bench.lease(id, 1).await;
    assert_eq!(bench.renew(id, ended(before)).await, Exchanged::Moved, "somebody else has the lease");
    bench.renew(id, given(epoch, 2, None, bench.time.now())).await;
    assert_eq!(bench.renew(id, ended(epoch)).await, Exchanged::Moved, "it was renewed since");
    assert_eq!(bench.state(id).await.revoked, None);
    let epoch = bench.lease(id, 2).await;
    assert_eq!(bench.renew(id, ended(epoch)).await, Exchanged::Ended);
    assert_eq!(bench.state(id).await.revoked.unwrap().reason, RevocationReason::Authority);
    assert_eq!(bench.store.count().await.unwrap(), 0);
    assert_eq!(bench.renew(id, ended(epoch)).await, Exchanged::Gone);
}

pub(super) async fn what_is_over_is_not_renewed(bench: Bench) {
    let now = bench.time.now();
    let nobody = SessionId::random().unwrap();
    assert_eq!(bench.renew(nobody, given(1, 2, None, now)).await, Exchanged::Gone);
    let local = bench.open("ada", |_| ()).await;
    assert_eq!(bench.renew(local, given(1, 2, None, now)).await, Exchanged::Gone, "nobody vouches for it");
    let revoked = bench.open("ada", vouched).await;
    bench.store.revoke(revoked, RevocationReason::Client).await.unwrap();
    assert_eq!(bench.renew(revoked, given(1, 2, None, now)).await, Exchanged::Gone);
    let expired = bench.open("ada", vouched).await;
    bench.time.advance(DAY as i64);
    assert_eq!(bench.renew(expired, given(1, 2, None, bench.time.now())).await, Exchanged::Gone);
}

pub(super) async fn tokens_of_the_authority_are_found_as_long_as_they_are_good(bench: Bench) {
    let now = bench.time.now();
    let id = bench
        .open("ada", |session| {
            vouched(session);
            session.state.access = vec![foreign(1, now), Access { digest: [2; 16], ..access(now) }];
        })
        .await;
    assert_eq!((bench.finds(1).await, bench.finds(2).await, bench.finds(3).await), (Some(id), None, None));
    bench.time.advance(200);
    let step = Rotate { access: foreign(3, bench.time.now()), ..rotate(1, now) };
    bench.store.rotate(id, step).await.unwrap();
    assert_eq!((bench.finds(1).await, bench.finds(3).await), (Some(id), Some(id)), "the last one keeps its time");
    bench.time.advance(200);
    assert_eq!((bench.finds(1).await, bench.finds(3).await), (None, Some(id)));
    bench.store.purge().await.unwrap();
    assert_eq!(bench.finds(3).await, Some(id));
    bench.store.revoke(id, RevocationReason::Client).await.unwrap();
    assert_eq!(bench.finds(3).await, None);
}

pub(super) async fn tokens_of_the_authority_go_with_their_session(bench: Bench) {
    let now = bench.time.now();
    let with = |digest: u8| {
        let mut session = session("ada", now);
        vouched(&mut session);
        session.state.access = vec![foreign(digest, now)];
        session
    };
    let (one, two) = (with(1), with(2));
    bench.store.create(one.clone(), 1).await.unwrap();
    assert_eq!(bench.store.create(two.clone(), 1).await.unwrap(), kept(&[one.id]));
    assert_eq!((bench.finds(1).await, bench.finds(2).await), (None, Some(two.id)), "superseded");
    let epoch = bench.lease(two.id, 1).await;
    bench.renew(two.id, ended(epoch)).await;
    assert_eq!(bench.finds(2).await, None, "ended by the authority");
    bench.store.create(with(3), 10).await.unwrap();
    bench.time.advance(2 * DAY as i64);
    bench.store.purge().await.unwrap();
    assert_eq!(bench.finds(3).await, None);
}

pub(super) async fn what_the_authority_gave_survives_a_restart(bench: Bench) {
    let now = bench.time.now();
    let id = bench
        .open("ada", |session| {
            vouched(session);
            session.state.access = vec![foreign(1, now)];
        })
        .await;
    let epoch = bench.lease(id, 1).await;
    bench.renew(id, given(epoch, 2, None, now)).await;
    let epoch = bench.lease(id, 2).await;
    let Bench { store, reopen: Some(reopen), .. } = bench else { return };
    drop(store);
    let store = reopen();
    assert_eq!(store.find(id).await.unwrap().unwrap().held, Some(held(2, now)));
    assert_eq!(store.find_foreign([1; 16]).await.unwrap(), Some(id));
    assert_eq!(store.renew(id, given(epoch, 3, None, now)).await.unwrap(), Exchanged::Kept { generation: 3 });
}
