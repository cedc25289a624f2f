use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, FutureExt};

use super::*;
use crate::{
    model::Time,
    session::{
        Exchanged, Intend, Renewed,
        memory::Memory,
        store::Document,
        testing::{CLIENT, DAY, HOUR, access, granted, processes::Shared, ring, session},
    },
};

/// Sessions in memory, and the clock they go by.
fn sessions() -> (Sessions, Time) {
    let time = Time::default();
    let store = Arc::new(Memory::new(time.clone()));
    (Sessions::new(store, ring(&[1]), Handle::current()).unwrap(), time)
}

fn opening(most: u32) -> Opening {
    Opening {
        id: SessionId::random().unwrap(),
        client: CLIENT.to_owned(),
        granted: granted("ada"),
        held: None,
        idle: HOUR,
        absolute: DAY,
        refresh: Some(RefreshForm::Full),
        access: None,
        most,
    }
}

fn step(presented: &Presented, now: UnixTime) -> Rotate {
    crate::session::testing::rotate(presented.generation, now)
}

/// Presents `token` as its client.
async fn refresh(sessions: &Sessions, token: &Secret<String>) -> Refreshed {
    let (presented, session, family) = sessions.find_refresh(token.expose(), CLIENT).await.unwrap().unwrap();
    sessions.refresh(&session, &family, step(&presented, sessions.now())).await.unwrap()
}

#[tokio::test]
async fn a_replay_ends_the_verdicts_that_rest_on_the_session_and_is_told_once() {
    let (sessions, time) = sessions();
    let opening = opening(10);
    let id = opening.id;
    let first = sessions.open(opening).await.unwrap().unwrap().refresh.unwrap();
    let live = sessions.watch(id);
    let Refreshed::Good { token: second, .. } = refresh(&sessions, &first).await else { panic!("refused") };
    assert!(live.is_alive());
    time.advance(100);
    assert!(matches!(refresh(&sessions, &first).await, Refreshed::Refused(Outcome::Reused { current: 2, .. })));
    assert!(!live.is_alive());
    for token in [first, second] {
        let outcome = refresh(&sessions, &token).await;
        assert!(matches!(outcome, Refreshed::Refused(Outcome::Refused(Refused::Revoked))), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_revocation_that_nobody_here_knew_of_ends_the_verdicts_once_it_is_seen() {
    let (sessions, _) = sessions();
    let opening = opening(10);
    let id = opening.id;
    sessions.open(opening).await.unwrap();
    let live = sessions.watch(id);
    sessions.store().revoke(id, RevocationReason::Reuse).await.unwrap();
    assert!(live.is_alive());
    sessions.find(id).await.unwrap();
    assert!(!live.is_alive());
}

#[tokio::test]
async fn a_token_of_another_client_or_nobodys_is_not_found_and_harms_nothing() {
    let (sessions, _) = sessions();
    let token = sessions.open(opening(10)).await.unwrap().unwrap().refresh.unwrap();
    assert!(sessions.find_refresh(token.expose(), "another").await.unwrap().is_none());
    let unknown = ring(&[1]).refresh_token(&session("ada", sessions.now()), 1).unwrap();
    assert!(sessions.find_refresh(unknown.expose(), CLIENT).await.unwrap().is_none());
    assert!(matches!(refresh(&sessions, &token).await, Refreshed::Good { .. }));
}

#[tokio::test]
async fn a_session_whose_id_is_taken_is_not_kept_and_harms_nothing() {
    let (sessions, _) = sessions();
    let id = SessionId::compact([9; 8]);
    let short = || Opening { id, refresh: Some(RefreshForm::Compact), ..opening(10) };
    let token = sessions.open(short()).await.unwrap().unwrap().refresh.unwrap();
    let live = sessions.watch(id);
    let granted = Granted { salt: [4; 16], ..granted("grace") };
    assert!(sessions.open(Opening { granted, ..short() }).await.unwrap().is_none());
    assert!(live.is_alive());
    assert!(matches!(refresh(&sessions, &token).await, Refreshed::Good { .. }));
}

#[tokio::test]
async fn one_session_too_many_ends_the_verdicts_of_the_oldest() {
    let (sessions, time) = sessions();
    let mut lives = Vec::new();
    for _ in 0..3 {
        let opening = opening(2);
        lives.push(sessions.watch(opening.id));
        sessions.open(opening).await.unwrap();
        time.advance(1);
    }
    assert_eq!(lives.iter().map(|live| live.is_alive()).collect::<Vec<_>>(), [false, true, true]);
}

/// A store that stops in front of each look and each step until it is let go, and may fail after it.
struct Gated {
    inside: Memory,
    gate: tokio::sync::Semaphore,
    fails: AtomicBool,
}

impl Gated {
    fn through<'a, T: Send + 'a>(
        &'a self,
        step: impl FnOnce(&'a Memory) -> BoxFuture<'a, Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        async move {
            self.gate.acquire().await.unwrap().forget();
            let outcome = step(&self.inside).await;
            if self.fails.load(Ordering::Relaxed) { Err(StoreError::Unavailable("test".to_owned())) } else { outcome }
        }
        .boxed()
    }
}

impl SessionStore for Gated {
    fn now(&self) -> UnixTime {
        self.inside.now()
    }
    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.through(move |inside| inside.create(session, most))
    }
    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        self.through(move |inside| inside.find(id))
    }
    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.through(move |inside| inside.rotate(id, step))
    }
    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.through(move |inside| inside.revoke(id, reason))
    }
    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.through(move |inside| inside.acknowledge(id, generation))
    }
    fn intend(&self, id: SessionId, step: Intend) -> BoxFuture<'_, Result<Intended, StoreError>> {
        self.through(move |inside| inside.intend(id, step))
    }
    fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.through(move |inside| inside.extend(id, epoch, lease))
    }
    fn leave(&self, id: SessionId, epoch: u64, left: Left) -> BoxFuture<'_, Result<(), StoreError>> {
        self.through(move |inside| inside.leave(id, epoch, left))
    }
    fn candidates(&self, id: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>> {
        self.through(move |inside| inside.candidates(id))
    }
    fn lapsed(
        &self,
        owner: Renewer,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        self.through(move |inside| inside.lapsed(owner, after, most))
    }
    fn renew(&self, id: SessionId, renewed: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>> {
        self.through(move |inside| inside.renew(id, renewed))
    }
    fn slide(&self, id: SessionId, step: Slide) -> BoxFuture<'_, Result<Slid, StoreError>> {
        self.through(move |inside| inside.slide(id, step))
    }

    fn succeed(&self, id: SessionId, step: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>> {
        self.through(move |inside| inside.succeed(id, step))
    }

    fn find_foreign(&self, digest: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        self.through(move |inside| inside.find_foreign(digest))
    }
    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        self.through(move |inside| inside.put_code(id, code))
    }
    fn find_code(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>> {
        self.through(move |inside| inside.find_code(id))
    }
    fn spend_code(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Spent, StoreError>> {
        self.through(move |inside| inside.spend_code(session, most))
    }
    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.through(move |inside| inside.use_once(key, until))
    }
    fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Session>, StoreError>> {
        self.through(move |inside| inside.list(filter, after, most))
    }
    fn records(
        &self,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<crate::session::moving::Records, StoreError>> {
        self.through(move |inside| inside.records(after, most))
    }
    fn restore(
        &self,
        moved: crate::session::moving::Moved,
    ) -> BoxFuture<'_, Result<crate::session::moving::Restored, StoreError>> {
        self.through(move |inside| inside.restore(moved))
    }
    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.through(|inside| inside.count())
    }
    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.through(|inside| inside.purge())
    }
    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.through(move |inside| inside.load(name))
    }
    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.through(move |inside| inside.save(name, expected, content))
    }
}

/// Sessions behind a gate, one of them open.
async fn gated() -> (Arc<Gated>, Arc<Sessions>, SessionId) {
    let gate = tokio::sync::Semaphore::new(1);
    let store = Arc::new(Gated { inside: Memory::new(Time::default()), gate, fails: AtomicBool::new(false) });
    let sessions = Arc::new(Sessions::new(store.clone(), ring(&[1]), Handle::current()).unwrap());
    let opening = Opening { access: Some(access(store.now())), ..opening(10) };
    let id = opening.id;
    sessions.open(opening).await.unwrap();
    (store, sessions, id)
}

#[tokio::test]
async fn a_session_that_ends_between_the_watch_and_the_look_ends_the_verdict() {
    let (store, sessions, id) = gated().await;
    // A verdict is being made: the flag is taken, the store not yet read.
    let live = sessions.watch(id);
    let revoking = tokio::spawn({
        let sessions = sessions.clone();
        async move { sessions.revoke(id, RevocationReason::Client).await }
    });
    store.gate.add_permits(1);
    assert!(revoking.await.unwrap().unwrap());
    assert!(!live.is_alive());
    // Whoever takes a flag after the end is told of it by the store.
    let late = sessions.watch(id);
    store.gate.add_permits(1);
    assert!(late.is_alive() && sessions.find(id).await.unwrap().unwrap().state.revoked.is_some());
}

#[tokio::test]
async fn a_revocation_goes_on_when_the_request_for_it_is_given_up() {
    let (store, sessions, id) = gated().await;
    let live = sessions.watch(id);
    assert!(sessions.revoke(id, RevocationReason::Client).now_or_never().is_none());
    // The request is gone, its step waits in front of the store.
    store.gate.add_permits(1);
    while live.is_alive() {
        tokio::task::yield_now().await;
    }
    store.gate.add_permits(1);
    assert!(sessions.find(id).await.unwrap().unwrap().state.revoked.is_some());
}

#[tokio::test]
async fn a_revocation_whose_outcome_is_not_known_leaves_no_verdict_standing() {
    let (store, sessions, id) = gated().await;
    let live = sessions.watch(id);
    store.fails.store(true, Ordering::Relaxed);
    store.gate.add_permits(1);
    sessions.revoke(id, RevocationReason::Client).await.unwrap_err();
    assert!(!live.is_alive());
}

#[tokio::test]
async fn a_refresh_that_fails_in_the_store_leaves_the_verdict_alone_unless_it_was_a_replay() {
    let (store, sessions, id) = gated().await;
    store.gate.add_permits(1);
    let session = sessions.find(id).await.unwrap().unwrap();
    let live = sessions.watch(id);
    store.fails.store(true, Ordering::Relaxed);
    store.gate.add_permits(2);
    let step = |generation| crate::session::testing::rotate(generation, store.now());
    let family = sessions.ring().family(&session).unwrap();
    sessions.refresh(&session, &family, step(1)).await.unwrap_err();
    assert!(live.is_alive());
    let rotated = Session { state: State { generation: 3, ..session.state.clone() }, ..session };
    sessions.refresh(&rotated, &family, step(1)).await.unwrap_err();
    assert!(!live.is_alive());
}

/// Sessions of two processes that share a store: the clock of the first is 45 seconds ahead of it, that of the second as much
/// behind; with those clocks, and the store's.
fn apart() -> ([(Arc<Sessions>, Time); 2], Time) {
    let time = Time::default();
    let shared = Shared::new(&time);
    let process = |wrong_by| {
        let process = shared.process(wrong_by);
        (Arc::new(Sessions::new(process.clone(), ring(&[1]), Handle::current()).unwrap()), process.ours())
    };
    ([process(45), process(-45)], time)
}

#[tokio::test]
async fn moments_of_the_store_are_told_by_clocks_that_are_wrong() {
    let ([(ahead, ours), (behind, theirs)], time) = apart();
    let now = time.now();
    assert_eq!((ahead.now(), behind.now()), (now, now));
    assert_eq!((ahead.on_our_clock(now), behind.on_our_clock(now)), (now.plus(45), now.minus(45)));
    assert_eq!((ahead.on_its_clock(ours.now()), behind.on_its_clock(theirs.now())), (now, now));
    for never in [ahead.on_our_clock(UnixTime(u64::MAX)), behind.on_our_clock(UnixTime(u64::MAX))] {
        assert!(never > now.plus(1 << 60));
    }
}

#[tokio::test]
async fn the_windows_of_a_refresh_are_the_same_whichever_process_is_asked() {
    let ([(one, _), (other, _)], time) = apart();
    let opening = opening(10);
    let id = opening.id;
    let first = one.open(opening).await.unwrap().unwrap().refresh.unwrap();
    let Refreshed::Good { token: second, .. } = refresh(&one, &first).await else { panic!("refused") };
    // A lost answer, in time for it.
    time.advance(59);
    let retried = refresh(&other, &first).await;
    let Refreshed::Good { token, outcome: Outcome::Retried { generation: 2 } } = retried else { panic!("{retried:?}") };
    assert_eq!(token, second);
    let Refreshed::Good { token: third, .. } = refresh(&other, &second).await else { panic!("refused") };
    // At the idle end, from both sides.
    time.advance(HOUR as i64 - 1);
    let Refreshed::Good { token: fourth, .. } = refresh(&one, &third).await else { panic!("refused") };
    time.advance(HOUR as i64);
    let over = refresh(&other, &fourth).await;
    assert!(matches!(over, Refreshed::Refused(Outcome::Refused(Refused::Expired))), "{over:?}");
    assert!(one.find(id).await.unwrap().is_some_and(|session| !session.is_alive(one.now())));
}

#[tokio::test]
async fn a_use_after_its_time_is_one_whichever_process_sees_it() {
    let ([(one, _), (other, _)], time) = apart();
    let first = one.open(opening(10)).await.unwrap().unwrap().refresh.unwrap();
    refresh(&one, &first).await;
    time.advance(61);
    let reused = refresh(&other, &first).await;
    assert!(matches!(reused, Refreshed::Refused(Outcome::Reused { current: 2, age: 61 })), "{reused:?}");
}

#[tokio::test]
async fn a_stream_ends_with_its_session_whatever_the_clock_of_its_process_says() {
    let (processes, time) = apart();
    for (sessions, ours) in processes {
        let opening = Opening { refresh: None, absolute: 100, ..opening(10) };
        let id = opening.id;
        sessions.open(opening).await.unwrap();
        let (watched, good_until) = (sessions.watch(id), sessions.on_our_clock(time.now().plus(50)));
        let stream = tokio::spawn(async move { sessions.over(&watched, good_until, &ours).await });
        time.advance(99);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!stream.is_finished());
        time.advance(1);
        tokio::time::timeout(Duration::from_secs(10), stream).await.unwrap().unwrap();
    }
}
