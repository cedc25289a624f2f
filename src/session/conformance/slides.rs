//! What stores promise of access tokens that slide.

use super::{
    super::{Slid, Slide},
    *,
};

/// Of a token that ends at `seen`; it lives for five minutes.
fn step(seen: UnixTime) -> Slide {
    Slide { digest: [1; 16], seen, lifetime: 300, grace: 0, idle: None }
}

impl Bench {
    async fn slide(&self, id: SessionId, step: Slide) -> Slid {
        self.store.slide(id, step).await.unwrap()
    }

    /// A session with a token of five minutes.
    async fn open_sliding(&self, change: impl FnOnce(&mut Session)) -> SessionId {
        let now = self.time.now();
        self.open("ada", |session| {
            session.state.access = vec![Access { digest: [1; 16], ..access(now) }];
            change(session);
        })
        .await
    }
}

pub(super) async fn a_token_slides_and_is_good_until_its_new_end(bench: Bench) {
    let now = bench.time.now();
    let id = bench.open_sliding(|_| ()).await;
    bench.time.advance(200);
    assert_eq!(bench.slide(id, step(now.plus(300))).await, Slid::Moved(now.plus(500)));
    assert_eq!(bench.slide(id, step(now.plus(300))).await, Slid::Stands(now.plus(500)));
    let kept = bench.state(id).await.access;
    assert_eq!((kept[0].issued, kept[0].expires), (now.plus(200), now.plus(500)));
    bench.time.advance(300);
    assert_eq!(bench.slide(id, step(now.plus(500))).await, Slid::Gone, "it is over");
    assert_eq!(bench.slide(SessionId::random().unwrap(), step(now)).await, Slid::Gone);
}

pub(super) async fn of_many_who_see_the_same_end_one_moves_it(bench: Bench) {
    let seen = bench.time.now().plus(300);
    let id = bench.open_sliding(|_| ()).await;
    bench.time.advance(200);
    let outcomes = at_once(32, |_| {
        let store = bench.store.clone();
        async move { store.slide(id, step(seen)).await.unwrap() }
    });
    let outcomes = outcomes.await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Slid::Moved(_))).count(), 1);
    assert!(!outcomes.contains(&Slid::Gone));
}

pub(super) async fn a_revoked_token_does_not_slide(bench: Bench) {
    let seen = bench.time.now().plus(300);
    let id = bench.open_sliding(|_| ()).await;
    bench.store.revoke(id, RevocationReason::Client).await.unwrap();
    assert_eq!(bench.slide(id, step(seen)).await, Slid::Gone);
}

pub(super) async fn a_session_without_a_refresh_token_lives_as_long_as_its_token_slides(bench: Bench) {
    let id = bench.open_sliding(|session| session.state.generation = 0).await;
    for _ in 0..100 {
        bench.time.advance(250);
        let seen = bench.state(id).await.access[0].expires;
        assert!(matches!(bench.slide(id, step(seen)).await, Slid::Moved(_)));
        bench.store.purge().await.unwrap();
    }
    bench.time.advance(300);
    bench.store.purge().await.unwrap();
    assert_eq!(bench.store.find(id).await.unwrap(), None);
}
