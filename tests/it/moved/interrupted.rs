use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use futures_util::future::join_all;
use sidegate::{
    config::MasterRing,
    model::Time,
    session::{Session, SessionId, SessionStore, moving::Moved, redb::Redb, ring::KeyRing},
};

use super::{Redis, Setup, done};

const SESSIONS: u64 = 6000;

/// Fills a store on disk with sessions of many users.
async fn fill(setup: &Setup, name: &str) {
    let ring = MasterRing::parse(&fs::read_to_string(setup.path("master.keys")).unwrap()).unwrap();
    let (ring, time) = (Arc::new(KeyRing::new(&ring)), Time::default());
    let store = Redb::open(&setup.path(name), ring, time.clone()).unwrap();
    let begin = |number: u64| {
        let now = time.now();
        let state = serde_json::json!({
            "client": "app", "created": now, "absolute": now.plus(86_400), "idle_until": now.plus(3600), "generation": 1,
            "rotated_at": now, "acknowledged": 0, "retries": 0, "revoked": null, "access": [],
        });
        let granted = serde_json::json!({
            "subject": format!("user {number}"), "username": "ana", "grant": "password", "scope": ["orders"],
            "audiences": ["orders-api"], "claims": { "text": "x".repeat(400) }, "auth_time": now, "credential": null,
            "salt": vec![3; 16], "master_key": 1,
        });
        let (state, granted) = (serde_json::from_value(state).unwrap(), serde_json::from_value(granted).unwrap());
        let session = Session { id: SessionId::random().unwrap(), state, granted, held: None };
        store.restore(Moved { session, candidates: Vec::new() })
    };
    for first in (0..SESSIONS).step_by(1000) {
        join_all((first..first + 1000).map(begin)).await.into_iter().for_each(|kept| assert!(kept.is_ok(), "{kept:?}"));
    }
}

/// Kills `command` as soon as `path` has so many bytes; whether it was before its end.
fn kill_at(mut command: Command, path: &Path, bytes: u64) -> bool {
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while fs::metadata(path).map_or(0, |file| file.len()) < bytes && process.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    process.kill().unwrap();
    !process.wait().unwrap().success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_goes_on_and_nothing_is_lost_or_doubled() {
    let setup = Setup::new("http://127.0.0.1:9");
    fill(&setup, "old.redb").await;
    let old = setup.redb("old.redb");
    let part = setup.path("sessions.moved.part");
    let mut killed = 0;
    for kilobytes in [1, 900, 2500] {
        killed += u64::from(kill_at(setup.export(&old, &[]), &part, kilobytes * 1024));
        assert!(!setup.path("sessions.moved").exists());
    }
    let exported = done(setup.export(&old, &[]));
    let resumed = exported["resumed"].as_u64().unwrap();
    assert_eq!((&exported["sessions"], killed), (&SESSIONS.into(), 3));
    assert!((500..SESSIONS).contains(&resumed) && !part.exists(), "{resumed}");

    let target = setup.path("new.redb");
    let new = setup.redb("new.redb");
    // What is made first is empty.
    for megabytes in [3, 5] {
        assert!(kill_at(setup.import(&new, &[]), &target, megabytes * 1024 * 1024));
    }
    let tried = done(setup.import(&new, &["--dry-run"]));
    let imported = done(setup.import(&new, &[]));
    let counts = |name: &str| imported[name].as_u64().unwrap();
    assert_eq!((counts("kept") + counts("there"), counts("over")), (SESSIONS, 0));
    assert!(counts("kept") > 0, "it was killed before its end");
    assert_eq!(
        (&tried["kept"], &tried["there"], &tried["dry_run"]),
        (&imported["kept"], &imported["there"], &true.into())
    );
    let again = done(setup.import(&new, &[]));
    assert_eq!((&again["kept"], &again["there"]), (&0.into(), &SESSIONS.into()));

    let redis = Redis::start(&setup);
    let imported = done(setup.import(&setup.yaml(&redis.store("sidegate")), &[]));
    assert_eq!(imported["kept"], SESSIONS);
}
