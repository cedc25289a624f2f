//! What the authority gave while the store was away is not lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use sidegate::{
    app::App,
    model::{Grant, GrantType, RefreshForm, Scope, Secret, Time},
    refresh::{Renewals, Wanted},
    session::{Granted, Held, Opening, SessionId, Sessions, ring::KeyRing},
};
use tokio::runtime::Handle;

use super::house::{Outside, PASSWORD_THERE, yaml};
use crate::{
    oauth::away::Store,
    support::{Upstream, must, sidegate::parse},
};

#[tokio::test]
async fn what_was_given_while_the_store_is_away_is_kept_once_it_is_back() {
    let (outside, upstream) = (Outside::start().await, Upstream::start().await);
    let (config, time, handle) =
        (parse(&yaml(&outside, &upstream, "", "store: { memory: {} }\n")), Time::default(), Handle::current());
    let (settings, clock) = (config.refresh, time.clone());
    let gate = tokio::task::spawn_blocking(move || App::gate_alone(config, &clock, &handle).unwrap()).await.unwrap();
    let own = &gate.endpoints().unwrap().grants;
    let remote = own.outside.as_ref().unwrap().remote().clone();

    let away = Arc::new(AtomicBool::new(false));
    let store = Arc::new(Store::new(time.clone(), away.clone(), 0));
    let ring = Arc::new(KeyRing::ephemeral().unwrap());
    let sessions = Arc::new(Sessions::new(store.clone(), ring, Handle::current()).unwrap());
    let password = Secret::new(PASSWORD_THERE.to_owned());
    let grant = Grant::Password { username: "ana".to_owned(), password, company: None };
    let given = remote.ask(grant, None, time.now()).await.unwrap();
    let held = Held {
        expires: given.issued.plus(given.expires_in),
        access_token: given.access_token,
        issued: given.issued,
        authority: remote.identity().to_owned(),
        refresh_token: given.refresh_token,
    };
    let id = SessionId::random().unwrap();
    sessions.open(opening(id, held, &sessions)).await.unwrap().unwrap();
    time.advance(300);

    let renewals = Renewals::new(sessions.clone(), remote, own.authority.clone(), settings, own.metrics.clone(), None);
    outside.hold(true);
    let renewal = renewals.renew(id, Wanted::ByTime { need: std::time::Duration::ZERO });
    let outage = async {
        while outside.refreshes() == 0 {
            tokio::task::yield_now().await;
        }
        away.store(true, SeqCst);
        outside.hold(false);
        while store.missed.load(SeqCst) < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        away.store(false, SeqCst);
    };
    let (renewed, ()) = must(async { tokio::join!(renewal, outage) }).await;
    assert_eq!(renewed.unwrap().held.as_ref().unwrap().access_token.expose(), "canary-at-2");
    assert_eq!(sessions.find(id).await.unwrap().unwrap().state.vouched.unwrap().generation, 2);
    assert_eq!(outside.refreshes(), 1, "it is asked once");
}

pub(super) fn opening(id: SessionId, held: Held, sessions: &Sessions) -> Opening {
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
