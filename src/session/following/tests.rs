use super::*;
use crate::{
    model::{Secret, Time},
    session::{
        Answer, Held, Intended, Renewed, Sessions, Vouched, Watched,
        record::RevocationReason,
        testing::{
            processes::{Process, Shared},
            ring, session,
        },
    },
};

/// Processes with a store, and sessions of the first that the second watches.
struct Two {
    store: Arc<Shared>,
    ears: [Arc<Process>; 2],
    one: Sessions,
    other: Sessions,
}

impl Two {
    fn new() -> Two {
        let store = Shared::new(&Time::default());
        let ears = [store.process(0), store.process(0)];
        let [one, other] = ears
            .each_ref()
            .map(|ear| Sessions::new(ear.clone(), ring(&[1]), tokio::runtime::Handle::current()).unwrap());
        Two { store, ears, one, other }
    }

    /// A session that the other process watches, as it is now.
    async fn opened(&self, held: Option<&str>) -> (Session, Arc<Watched>) {
        let now = self.one.now();
        let mut session = session("ada", now);
        session.held = held.map(|token| tokens(token, now));
        session.state.vouched = session.held.as_ref().map(|held| Vouched::first(held.expires));
        self.store.inside.create(session.clone(), 100_000).await.unwrap();
        let watched = self.other.watch(session.id);
        self.other.find(session.id).await.unwrap();
        (session, watched)
    }

    /// Goes on until the other process is at rest and hears well.
    async fn settled(&self) {
        // At first it has not even begun.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        while self.other.heard().unwrap().ear != Ear::Hears {
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn misses(&self, what: impl Future<Output = ()>) {
        self.ears[1].deafen();
        what.await;
        self.ears[1].hear();
        self.settled().await;
    }
}

fn tokens(access_token: &str, now: UnixTime) -> Held {
    Held {
        access_token: Secret::new(access_token.to_owned()),
        issued: now,
        expires: now.plus(300),
        authority: "elsewhere".to_owned(),
        refresh_token: None,
    }
}

fn shown(watched: &Watched) -> String {
    watched.showing().unwrap().authorization.to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_revocation_at_one_process_ends_what_is_cached_at_the_other_at_once() {
    let two = Two::new();
    let ((ada, watched), (_, another)) = (two.opened(None).await, two.opened(None).await);
    two.one.revoke(ada.id, RevocationReason::Operator).await.unwrap();
    two.settled().await;
    assert!(!watched.is_alive());
    assert!(another.is_alive() && another.is_certain());
}

#[tokio::test(start_paused = true)]
async fn what_ended_unheard_is_found_out_once_a_process_hears_again_and_what_lives_goes_on() {
    let two = Two::new();
    let ((ada, watched), (_, another)) = (two.opened(None).await, two.opened(None).await);
    two.misses(async {
        two.one.revoke(ada.id, RevocationReason::Operator).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert!(watched.is_alive(), "nobody has told");
        assert_eq!(two.other.heard().unwrap().ear, Ear::Deaf);
    })
    .await;
    assert!(!watched.is_alive());
    assert!(another.is_alive() && another.is_certain());
    let Heard { kept, ended, doubted, .. } = two.other.heard().unwrap();
    assert_eq!((kept, ended, doubted), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stays_deaf_looks_around_as_far_as_the_store_answers() {
    let two = Two::new();
    let ((ada, watched), (_, another)) = (two.opened(None).await, two.opened(None).await);
    two.ears[1].deafen();
    two.store.away.store(true, Ordering::SeqCst);
    sleep(10 * TRUSTED).await;
    assert!(watched.is_alive() && watched.is_certain(), "a store that is away ends nothing");
    two.store.away.store(false, Ordering::SeqCst);
    two.one.revoke(ada.id, RevocationReason::Operator).await.unwrap();
    sleep(TRUSTED + Duration::from_secs(1)).await;
    assert!(!watched.is_alive());
    assert!(another.is_alive() && another.is_certain());
    assert_eq!(two.other.heard().unwrap().ear, Ear::Deaf);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_at_in_time_is_doubted_until_somebody_has_looked() {
    let two = Two::new();
    let ((ada, watched), (grace, another)) = (two.opened(None).await, two.opened(None).await);
    two.ears[1].deafen();
    two.one.revoke(ada.id, RevocationReason::Operator).await.unwrap();
    two.store.away.store(true, Ordering::SeqCst);
    two.ears[1].hear();
    sleep(TRUSTED - Duration::from_secs(1)).await;
    assert!(watched.is_certain() && another.is_certain());
    sleep(Duration::from_secs(2)).await;
    assert!(!watched.is_certain() && !another.is_certain());
    assert!(watched.is_alive() && another.is_alive(), "streams are not ended by a doubt");
    assert_eq!(two.other.heard().unwrap().doubted, 2);
    two.other.find(grace.id).await.unwrap_err();
    assert!(!another.is_certain());

    two.store.away.store(false, Ordering::SeqCst);
    two.other.find(grace.id).await.unwrap();
    assert!(another.is_alive() && another.is_certain());
    two.settled().await;
    assert!(!watched.is_alive(), "it goes on looking");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_again_and_again_does_not_prolong_the_trust() {
    let two = Two::new();
    let (_, watched) = two.opened(None).await;
    two.store.away.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        assert!(watched.is_certain());
        two.ears[1].hear();
        sleep(TRUSTED / 4 + Duration::from_millis(200)).await;
        two.ears[1].deafen();
        sleep(TRUSTED).await;
    }
    assert!(!watched.is_certain());
}

#[tokio::test(start_paused = true)]
async fn a_doubt_is_not_settled_by_a_look_that_began_before_it() {
    let live = Watchlist::new(true);
    let session = session("ada", UnixTime(1000));
    let watched = live.watch(session.id);
    let before = live.doubts();
    live.doubt(&[session.id]);
    live.show(&session, before);
    assert!(!watched.is_certain());
    live.show(&session, live.doubts());
    assert!(watched.is_certain());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_the_store_has_lost_is_made_once_more_by_whoever_heard_of_it() {
    let two = Two::new();
    let (ada, watched) = two.opened(None).await;
    two.one.revoke(ada.id, RevocationReason::Reuse).await.unwrap();
    two.settled().await;
    two.misses(async {
        // As after a failover to a server that had not got it yet.
        two.store.inside.create(ada.clone(), 100_000).await.unwrap();
    })
    .await;
    let kept = two.store.inside.find(ada.id).await.unwrap().unwrap();
    assert_eq!(kept.state.revoked.unwrap().reason, RevocationReason::Forgotten, "the one that heard knows no more");
    assert_eq!(two.other.heard().unwrap().repeated, 1);
    assert!(!watched.is_alive());

    two.store.inside.create(ada.clone(), 100_000).await.unwrap();
    let found = two.one.find(ada.id).await.unwrap().unwrap();
    assert_eq!(found.state.revoked.unwrap().reason, RevocationReason::Reuse);
    let kept = two.store.inside.find(ada.id).await.unwrap().unwrap();
    assert_eq!(kept.state.revoked.unwrap().reason, RevocationReason::Reuse);
    assert_eq!(two.one.heard().unwrap().repeated, 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_watched_sessions_are_looked_at_a_few_at_once() {
    let two = Two::new();
    let mut all = Vec::new();
    for _ in 0..1000 {
        all.push(two.opened(None).await);
    }
    let before = two.store.looks.load(Ordering::SeqCst);
    two.misses(async {
        for (session, _) in all.iter().step_by(10) {
            two.one.revoke(session.id, RevocationReason::Operator).await.unwrap();
        }
    })
    .await;
    for (number, (_, watched)) in all.iter().enumerate() {
        assert_eq!(watched.is_alive(), number % 10 != 0, "{number}");
    }
    assert_eq!(two.store.looks.load(Ordering::SeqCst) - before, 1000);
    let most = two.store.most_at_once.load(Ordering::SeqCst);
    assert!(most > 1 && most <= AT_ONCE, "{most}");
}

#[tokio::test(start_paused = true)]
async fn what_another_process_has_renewed_is_shown_here() {
    let two = Two::new();
    let (ada, watched) = two.opened(Some("first")).await;
    assert_eq!(shown(&watched), "Bearer first");
    let Intended::Go { epoch, .. } = two.one.intend(ada.id, 1, Duration::from_secs(8)).await.unwrap() else { panic!() };
    let held = tokens("second", two.one.now());
    let answer = Answer::Given { held, renewed_for: None };
    two.one.renew(ada.id, Renewed { epoch, answer }).await.unwrap();
    two.settled().await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(shown(&watched), "Bearer second");
}

#[tokio::test(start_paused = true)]
async fn what_was_told_too_fast_to_be_heard_is_looked_up() {
    let two = Two::new();
    let (ada, watched) = two.opened(None).await;
    two.store.inside.revoke(ada.id, RevocationReason::Operator).await.unwrap();
    for _ in 0..100 {
        two.ears[1].say(News::Ended(SessionId::random().unwrap()));
    }
    two.settled().await;
    assert!(!watched.is_alive());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_has_what_is_cached_judged_anew() {
    let two = Two::new();
    let (ada, watched) = two.opened(None).await;
    let wait = || sleep(2 * A_SECOND);
    wait().await;
    two.ears[1].set(SET as i64);
    wait().await;
    assert!(watched.is_certain(), "so much is no wonder");
    two.ears[1].set(90);
    wait().await;
    assert!(watched.is_alive() && !watched.is_certain());
    two.other.find(ada.id).await.unwrap();
    wait().await;
    assert!(watched.is_certain());
}
