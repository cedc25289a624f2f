//! Several processes that share one store of sessions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use sidegate::{
    app::App,
    model::Time,
    refresh::{NotRenewed, Renewals, Wanted},
    session::{Session, SessionId, Sessions, memory::Memory, ring::KeyRing},
};
use tokio::{runtime::Handle, sync::broadcast};

use super::{
    house::{Outside, yaml},
    kept::open,
};
use crate::{
    oauth::away::Store,
    support::{Upstream, must, sidegate::parse},
};

/// Two of them, a session that one has opened, and an authority that forgives a second use of a refresh token.
struct Two {
    outside: Outside,
    time: Time,
    one: Arc<Renewals>,
    other: Arc<Renewals>,
    sessions: Arc<Sessions>,
    /// The first one has no way to the store while this is up.
    away: Arc<AtomicBool>,
    store: Arc<Store>,
    id: SessionId,
}

impl Two {
    async fn new() -> Two {
        let (outside, upstream) = (Outside::start().await, Upstream::start().await);
        let (config, time) = (parse(&yaml(&outside, &upstream, "", "store: { memory: {} }\n")), Time::default());
        let (settings, clock, handle) = (config.refresh, time.clone(), Handle::current());
        let gate =
            tokio::task::spawn_blocking(move || App::gate_alone(config, &clock, &handle).unwrap()).await.unwrap();
        let own = &gate.endpoints().unwrap().grants;
        let remote = own.outside.as_ref().unwrap().remote().clone();
        let (inside, (news, _)) = (Arc::new(Memory::shared(time.clone())), broadcast::channel(16));
        let ring = Arc::new(KeyRing::ephemeral().unwrap());
        let away = Arc::new(AtomicBool::new(false));
        let reached = |away| Arc::new(Store::shared(inside.clone(), away, news.clone()));
        let process = |store: &Arc<Store>| {
            let sessions = Arc::new(Sessions::new(store.clone(), ring.clone(), Handle::current()).unwrap());
            let (authority, metrics) = (own.authority.clone(), own.metrics.clone());
            (Arc::new(Renewals::new(sessions.clone(), remote.clone(), authority, settings, metrics, None)), sessions)
        };
        let store = reached(away.clone());
        let ((one, _), (other, sessions)) = (process(&store), process(&reached(Arc::default())));
        let id = open(&remote, &sessions).await;
        outside.forgive();
        time.advance(300);
        Two { outside, time, one, other, sessions, away, store, id }
    }

    /// Has `process` renew, as a request would whose token is over.
    fn renews(&self, process: &Arc<Renewals>) -> tokio::task::JoinHandle<Result<Arc<Session>, NotRenewed>> {
        let (process, id) = (process.clone(), self.id);
        tokio::spawn(async move { process.renew(id, Wanted::ByTime { need: Duration::ZERO }).await })
    }

    async fn asked(&self, times: usize) {
        must(async {
            while self.outside.refreshes() < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

fn access(session: &Session) -> &str {
    session.held.as_ref().unwrap().access_token.expose()
}

#[tokio::test]
async fn of_two_processes_one_asks_the_authority_and_both_have_the_answer() {
    let two = Two::new().await;
    two.outside.hold(true);
    let one = two.renews(&two.one);
    two.asked(1).await;
    let other = two.renews(&two.other);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(two.outside.refreshes(), 1, "it waits for the lease");
    two.outside.hold(false);
    for renewed in [one, other] {
        assert_eq!(access(&must(renewed).await.unwrap().unwrap()), "canary-at-2");
    }
    assert_eq!(two.outside.refreshes(), 1);
}

#[tokio::test]
async fn what_a_process_gets_after_its_lease_is_kept_aside_and_saves_the_session() {
    let two = Two::new().await;
    two.outside.hold(true);
    let one = two.renews(&two.one);
    two.asked(1).await;
    two.time.advance(9);
    let other = two.renews(&two.other);
    two.asked(2).await;
    two.outside.hold(false);
    let (one, other) = (must(one).await.unwrap().unwrap(), must(other).await.unwrap().unwrap());
    let kept = access(&other).to_owned();
    assert_eq!(access(&one), kept, "both show what was kept");
    must(async {
        while two.sessions.candidates(two.id).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let aside = two.sessions.candidates(two.id).await.unwrap().swap_remove(0).held;
    assert_ne!(aside.access_token.expose(), &kept);

    let number = aside.access_token.expose().rsplit('-').next().unwrap().parse().unwrap();
    two.outside.forget_all_but(number);
    two.time.advance(300);
    let saved = must(two.renews(&two.one)).await.unwrap().unwrap();
    assert_eq!(access(&saved), "canary-at-4");
    assert_eq!(two.outside.refreshes(), 4, "what was kept is refused, what was aside is not");
}

#[tokio::test]
async fn what_a_process_that_is_gone_had_begun_is_finished_by_another() {
    let two = Two::new().await;
    two.sessions.intend(two.id, 1, Duration::from_secs(8)).await.unwrap();
    two.other.sweep();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(two.outside.refreshes(), 0, "it may still be at it");
    two.time.advance(9);
    two.other.sweep();
    two.asked(1).await;
    must(async {
        while two.sessions.find(two.id).await.unwrap().unwrap().state.vouched.unwrap().generation < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(two.outside.refreshes(), 1);
}

#[tokio::test]
async fn a_process_that_stops_with_the_answer_in_its_hands_does_not_lose_the_session_to_one_that_is_refused() {
    let two = Two::new().await;
    two.outside.forgive_no_more();
    two.outside.hold(true);
    let one = two.renews(&two.one);
    two.asked(1).await;
    two.away.store(true, SeqCst);
    two.outside.hold(false);
    must(async {
        while two.store.missed.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    two.time.advance(9);
    let other = two.renews(&two.other);
    two.asked(2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waits = two.sessions.find(two.id).await.unwrap().unwrap();
    assert_eq!(waits.state.revoked, None, "the token that is good may come yet");
    assert!(!other.is_finished(), "{:?}", other.await);
    two.away.store(false, SeqCst);
    for renewed in [one, other] {
        assert_eq!(access(&must(renewed).await.unwrap().unwrap()), "canary-at-3");
    }
    assert_eq!(two.outside.refreshes(), 3, "once with what came late");
}

#[tokio::test]
async fn a_session_whose_token_nobody_has_ends_after_the_wait_for_it() {
    let two = Two::new().await;
    two.outside.forget();
    two.sessions.intend(two.id, 1, Duration::from_millis(1)).await.unwrap();
    two.time.advance(1);
    let one = two.renews(&two.one);
    two.asked(1).await;
    // Nothing is under way but the wait.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert!(one.await.unwrap().is_err());
    two.one.quiet().await;
    assert!((7..=8).contains(&begun.elapsed().as_secs()), "a lease: {:?}", begun.elapsed());
    assert!(two.sessions.find(two.id).await.unwrap().unwrap().state.revoked.is_some());
}

#[tokio::test]
async fn nothing_is_sent_under_a_lease_that_may_be_over_before_the_answer_comes() {
    let two = Two::new().await;
    two.store.vanishes.store(true, SeqCst);
    tokio::time::pause();
    assert!(two.renews(&two.one).await.unwrap().is_err());
    two.one.quiet().await;
    tokio::time::resume();
    assert_eq!(two.outside.refreshes(), 0);
    two.away.store(false, SeqCst);
    two.time.advance(60);
    assert_eq!(access(&must(two.renews(&two.other)).await.unwrap().unwrap()), "canary-at-2");
}
