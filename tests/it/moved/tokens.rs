use std::net::SocketAddr;

use super::{Redis, Setup, done};
use crate::{
    binary::Process,
    oauth::house::{PASSWORD, SECRET, form, text},
    support::{Reply, Upstream, get, send},
};

/// What a client holds.
#[derive(Clone)]
struct Held {
    client: &'static str,
    access: String,
    refresh: String,
}

async fn ask(public: SocketAddr, client: &str, body: &str) -> Reply {
    let body = format!("{body}&client_id={client}&client_secret={SECRET}");
    send(public, form("/oauth20/token", &body, &[])).await
}

async fn sign_in(public: SocketAddr, client: &'static str) -> Held {
    let given = ask(public, client, &format!("grant_type=password&username=ana&password={PASSWORD}")).await;
    Held { client, access: text(&given, "access_token"), refresh: text(&given, "refresh_token") }
}

impl Held {
    async fn refreshed(&self, public: SocketAddr) -> Reply {
        ask(public, self.client, &format!("grant_type=refresh_token&refresh_token={}", self.refresh)).await
    }

    async fn refresh(&mut self, public: SocketAddr) {
        let given = self.refreshed(public).await;
        assert_eq!(given.status, 200, "{}", given.text());
        (self.access, self.refresh) = (text(&given, "access_token"), text(&given, "refresh_token"));
    }

    async fn is_good(&self, public: SocketAddr) -> bool {
        get(public, "/orders/7", &self.access).await.status == 200
    }
}

async fn stop(mut process: Process) {
    process.signal("TERM");
    assert!(process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_file_are_good_at_redis_and_back_and_what_was_revoked_stays_so() {
    let upstream = Upstream::start().await;
    let setup = Setup::new(&format!("http://{}", upstream.address));
    let redis = Redis::start(&setup);
    let (file, shared) = (setup.redb("old.redb"), setup.yaml(&redis.store("one")));
    let (other, last) = (setup.yaml(&redis.store("two")), setup.redb("new.redb"));

    let process = Process::start(&file);
    let public = process.address("main").await;
    let (mut opaque, mut jwt) = (sign_in(public, "app").await, sign_in(public, "app-jwt").await);
    let revoked = sign_in(public, "app-jwt").await;
    let lost_answer = opaque.clone();
    opaque.refresh(public).await;
    let body = format!("token={}&client_id=app-jwt&client_secret={SECRET}", revoked.refresh);
    assert_eq!(send(public, form("/oauth20/revoke", &body, &[])).await.status, 200);
    stop(process).await;

    for (from, to) in [(&file, &shared), (&shared, &other), (&other, &last)] {
        let exported = done(setup.export(from, &[]));
        assert_eq!((&exported["sessions"], &exported["revoked"]), (&3.into(), &1.into()), "{exported}");
        let imported = done(setup.import(to, &[]));
        assert_eq!((&imported["kept"], &imported["signing_keys"]), (&3.into(), &"kept".into()), "{imported}");
        std::fs::remove_file(setup.path("sessions.moved")).unwrap();

        let process = Process::start(to);
        let public = process.address("main").await;
        assert!(opaque.is_good(public).await && jwt.is_good(public).await);
        assert!(!revoked.is_good(public).await);
        assert_eq!(text(&revoked.refreshed(public).await, "error"), "invalid_grant");
        opaque.refresh(public).await;
        jwt.refresh(public).await;
        assert!(opaque.is_good(public).await && jwt.is_good(public).await);
        stop(process).await;
    }
    // Theft is still found: the family knows which generation it has come to.
    let process = Process::start(&last);
    let public = process.address("main").await;
    assert_eq!(text(&lost_answer.refreshed(public).await, "error"), "invalid_grant");
    assert!(!opaque.is_good(public).await);
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_has_served_already_keeps_its_own_keys_and_believes_the_old_ones() {
    let upstream = Upstream::start().await;
    let setup = Setup::new(&format!("http://{}", upstream.address));
    let (old, new) = (setup.redb("old.redb"), setup.redb("new.redb"));
    let process = Process::start(&old);
    let before = sign_in(process.address("main").await, "app-jwt").await;
    stop(process).await;
    let process = Process::start(&new);
    let there = sign_in(process.address("main").await, "app-jwt").await;
    stop(process).await;
    done(setup.export(&old, &[]));
    let imported = done(setup.import(&new, &[]));
    assert_eq!((&imported["kept"], &imported["signing_keys"]), (&1.into(), &"added".into()), "{imported}");
    let process = Process::start(&new);
    let public = process.address("main").await;
    assert!(before.is_good(public).await && there.is_good(public).await);
    stop(process).await;
}
