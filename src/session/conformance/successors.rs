//! What stores promise of successors of access tokens.

use super::{
    super::{Succeed, Succeeded},
    *,
};

/// For the token of [`Bench::open_succeeded`]: a successor of five minutes from `now` on.
fn step(now: UnixTime) -> Succeed {
    Succeed { presented: [1; 16], access: access(now), idle: None }
}

impl Bench {
    async fn succeed(&self, id: SessionId) -> Succeeded {
        self.store.succeed(id, step(self.time.now())).await.unwrap()
    }

    /// A session with a token of five minutes.
    async fn open_succeeded(&self, change: impl FnOnce(&mut Session)) -> SessionId {
        let now = self.time.now();
        self.open("ada", |session| {
            session.state.access = vec![Access { digest: [1; 16], ..access(now) }];
            change(session);
        })
        .await
    }
}

pub(super) async fn a_successor_is_known_beside_what_it_succeeds(bench: Bench) {
    let now = bench.time.now();
    let id = bench.open_succeeded(|_| ()).await;
    assert_eq!(bench.succeed(id).await, Succeeded::NoLonger);
    bench.time.advance(200);
    let step = step(bench.time.now());
    for _ in 0..2 {
        assert_eq!(bench.store.succeed(id, step.clone()).await.unwrap(), Succeeded::Kept);
    }
    let state = bench.state(id).await;
    let kept: Vec<_> = state.access.iter().map(|access| (access.digest, access.expires)).collect();
    assert_eq!(kept, [([1; 16], now.plus(300)), (step.access.digest, now.plus(500))]);
    bench.time.advance(100);
    assert_eq!(bench.succeed(id).await, Succeeded::Gone, "what is presented is over");
    assert_eq!(bench.succeed(SessionId::random().unwrap()).await, Succeeded::Gone);
}

pub(super) async fn a_revoked_token_has_no_successor_and_a_revocation_ends_that_too(bench: Bench) {
    let id = bench.open_succeeded(|_| ()).await;
    bench.time.advance(200);
    assert_eq!(bench.succeed(id).await, Succeeded::Kept);
    bench.store.revoke(id, RevocationReason::Client).await.unwrap();
    assert_eq!(bench.succeed(id).await, Succeeded::Gone);
    assert_eq!(bench.state(id).await.access, []);
}

pub(super) async fn of_a_revocation_and_many_successors_at_once_nothing_is_left(bench: Bench) {
    let id = bench.open_succeeded(|_| ()).await;
    bench.time.advance(200);
    let now = bench.time.now();
    let outcomes = at_once(32, |number| {
        let store = bench.store.clone();
        async move {
            if number == 16 {
                store.revoke(id, RevocationReason::Client).await.unwrap();
                return None;
            }
            Some(store.succeed(id, step(now)).await.unwrap())
        }
    });
    assert!(outcomes.await.iter().flatten().all(|outcome| *outcome != Succeeded::NoLonger));
    assert_eq!(bench.state(id).await.access, []);
}

pub(super) async fn a_session_without_a_refresh_token_lives_as_long_as_it_gets_successors(bench: Bench) {
    let id = bench.open_succeeded(|session| session.state.generation = 0).await;
    for _ in 0..100 {
        bench.time.advance(250);
        let presented = bench.state(id).await.access.last().unwrap().digest;
        let step = Succeed { presented, ..step(bench.time.now()) };
        assert_eq!(bench.store.succeed(id, step).await.unwrap(), Succeeded::Kept);
        bench.store.purge().await.unwrap();
        assert!(bench.state(id).await.access.len() <= 2);
    }
    bench.time.advance(300);
    bench.store.purge().await.unwrap();
    assert_eq!(bench.store.find(id).await.unwrap(), None);
}
