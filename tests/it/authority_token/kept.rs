//! What the authority gave while the store was away is not lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use sidegate::{
    app::App,
    authority::remote::Remote,
    model::{Grant, GrantType, RefreshForm, Scope, Secret, Time},
    refresh::{NotRenewed, Outcome, Renewals, Wanted},
    session::{Granted, Held, Opening, SessionId, Sessions, ring::KeyRing},
};
use tokio::runtime::Handle;

use super::house::{Outside, PASSWORD_THERE, yaml};
use crate::{
    oauth::{audited::events, away::Store},
    support::{Upstream, log::written, must, sidegate::parse},
};

/// A session of `ana` whose token is over, in a store of the test's own.
struct Kept {
    outside: Outside,
    store: Arc<Store>,
    away: Arc<AtomicBool>,
    sessions: Arc<Sessions>,
    renewals: Renewals,
    id: SessionId,
}

impl Kept {
    async fn new() -> Kept {
        let (outside, upstream) = (Outside::start().await, Upstream::start().await);
        let (config, time, handle) =
            (parse(&yaml(&outside, &upstream, "", "store: { memory: {} }\n")), Time::default(), Handle::current());
        let (settings, clock) = (config.refresh, time.clone());
        let gate =
            tokio::task::spawn_blocking(move || App::gate_alone(config, &clock, &handle).unwrap()).await.unwrap();
        let own = &gate.endpoints().unwrap().grants;
        let remote = own.outside.as_ref().unwrap().remote().clone();

        let away = Arc::new(AtomicBool::new(false));
        let store = Arc::new(Store::new(time.clone(), away.clone(), 0));
        let ring = Arc::new(KeyRing::ephemeral().unwrap());
        let sessions = Arc::new(Sessions::new(store.clone(), ring, Handle::current()).unwrap());
        let id = open(&remote, &sessions).await;
        time.advance(300);
        let (authority, metrics) = (own.authority.clone(), own.metrics.clone());
        let renewals = Renewals::new(sessions.clone(), remote, authority, settings, metrics, None);
        Kept { outside, store, away, sessions, renewals, id }
    }

    async fn renew(&self) -> Outcome {
        self.renewals.renew(self.id, Wanted::ByTime { need: Duration::ZERO }).await
    }

    /// The store goes away once the authority has been asked, until `back` returns.
    async fn outage(&self, back: impl AsyncFnOnce()) {
        self.outside.hold(true);
        let outage = async {
            while self.outside.refreshes() == 0 {
                tokio::task::yield_now().await;
            }
            self.away.store(true, SeqCst);
            self.outside.hold(false);
            back().await;
            self.away.store(false, SeqCst);
        };
        tokio::join!(outage);
    }

    async fn missed(&self, steps: usize) {
        while self.store.missed.load(SeqCst) < steps {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn generation(&self) -> u64 {
        self.sessions.find(self.id).await.unwrap().unwrap().state.vouched.unwrap().generation
    }

    /// What the audit stream has of the session: event and reason.
    fn audited(&self) -> Vec<(String, String)> {
        let lines = events("app").into_iter().filter(|line| line["session"] == self.id.to_string());
        let text = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap().to_owned();
        lines.map(|line| (text(&line, "event"), text(&line, "reason"))).collect()
    }
}

#[tokio::test]
async fn what_was_given_while_the_store_is_away_is_kept_once_it_is_back() {
    let kept = Kept::new().await;
    let (renewed, ()) = must(async { tokio::join!(kept.renew(), kept.outage(async || kept.missed(3).await)) }).await;
    assert_eq!(renewed.unwrap().held.as_ref().unwrap().access_token.expose(), "canary-at-2");
    assert_eq!(kept.generation().await, 2);
    assert_eq!(kept.outside.refreshes(), 1, "it is asked once");
}

#[tokio::test]
async fn what_was_given_is_kept_also_by_a_store_that_was_away_for_an_hour() {
    written();
    let kept = Kept::new().await;
    let outage = kept.outage(async || {
        kept.missed(1).await;
        // Nothing is under way but pauses.
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(3500)).await;
    });
    let (renewed, ()) = tokio::join!(kept.renew(), outage);
    assert!(renewed.is_err(), "nobody waits so long");
    kept.renewals.quiet().await;
    assert_eq!((kept.generation().await, kept.outside.refreshes()), (2, 1));
    let told = [("authority_not_renewed", "store"), ("authority_renewed", "refreshed")];
    assert_eq!(kept.audited(), told.map(|(event, reason)| (event.to_owned(), reason.to_owned())));
}

#[tokio::test]
async fn a_renewal_that_is_kept_and_of_which_the_store_says_nothing_is_told_once_all_the_same() {
    written();
    let kept = Kept::new().await;
    kept.store.lost.store(2, SeqCst);
    assert!(kept.renew().await.is_ok());
    assert_eq!(kept.audited(), [("authority_renewed".to_owned(), "refreshed".to_owned())]);
}

#[tokio::test]
async fn a_session_that_the_authority_ends_is_told_to_have_ended_though_the_store_was_away_for_a_moment() {
    written();
    for lost in [0, 1] {
        let kept = Kept::new().await;
        kept.outside.forget();
        kept.store.lost.store(lost, SeqCst);
        let (renewed, ()) =
            must(async { tokio::join!(kept.renew(), kept.outage(async || kept.missed(2).await)) }).await;
        assert_eq!(renewed, Err(NotRenewed::Ended));
        assert_eq!(kept.audited(), [("authority_ended".to_owned(), "invalid_grant".to_owned())]);
    }
}

#[tokio::test]
async fn whoever_joins_a_renewal_that_finds_nothing_to_do_has_what_they_want_done_after_it() {
    for wanted in [Wanted::ByTime { need: Duration::ZERO }, Wanted::ByClient { presented: 1 }] {
        let kept = Kept::new().await;
        // Nothing was left undone.
        kept.renewals.renew_beside(kept.id, Wanted::Recovery);
        let renewed = must(kept.renewals.renew(kept.id, wanted)).await.unwrap();
        assert_eq!((renewed.state.vouched.unwrap().generation, kept.outside.refreshes()), (2, 1), "{wanted:?}");
    }
}

/// A session of `ana`, whom `remote` vouches for.
pub(super) async fn open(remote: &Remote, sessions: &Sessions) -> SessionId {
    let password = Secret::new(PASSWORD_THERE.to_owned());
    let grant = Grant::Password { username: "ana".to_owned(), password, company: None };
    let given = remote.ask(grant, None, sessions.now()).await.unwrap();
    let held = Held {
        expires: given.issued.plus(given.expires_in),
        access_token: given.access_token,
        issued: given.issued,
        authority: remote.identity().to_owned(),
        refresh_token: given.refresh_token,
    };
    let id = SessionId::random().unwrap();
    sessions.open(opening(id, held, sessions)).await.unwrap().unwrap();
    id
}

fn opening(id: SessionId, held: Held, sessions: &Sessions) -> Opening {
    let granted = Granted {
        subject: "ana".to_owned(),
        username: Some("ana".to_owned()),
        grant: GrantType::Password,
        scope: Scope::default(),
        audiences: vec!["orders-api".to_owned()],
        claims: serde_json::Map::new(),
        auth_time: sessions.now(),
        credential: None,
        salt: [1; 16],
        master_key: sessions.ring().current(),
        outside: true,
    };
    Opening {
        id,
        client: "app".to_owned(),
        granted,
        held: Some(held),
        idle: 3600,
        absolute: 3600,
        refresh: Some(RefreshForm::Full),
        access: None,
        most: 10,
    }
}
