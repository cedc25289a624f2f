use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::*;
use crate::session::testing::{Scratch, ring, rotate, session};

fn reopen(path: &Path, time: &Time) -> Redb {
    Redb::open(path, ring(&[1]), time.clone()).unwrap()
}

fn refusal(path: &Path, ring: Arc<KeyRing>) -> String {
    match Redb::open(path, ring, Time::default()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

struct Setup {
    time: Time,
    path: PathBuf,
    _scratch: Scratch,
}

fn setup() -> Setup {
    let scratch = Scratch::new();
    Setup { time: Time::default(), path: scratch.path("sessions.redb"), _scratch: scratch }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let Setup { time, path, .. } = &setup();
    let store = reopen(path, time);
    let session = session("ada", time.now());
    store.create(session.clone(), 10).await.unwrap();
    assert_eq!(store.find(session.id).await.unwrap(), Some(session.clone()));
    let step = rotate(1, time.now());
    assert_eq!(store.rotate(session.id, step).await.unwrap(), Outcome::Rotated { generation: 2 });
    drop(store);
    let store = reopen(path, time);
    let found = store.find(session.id).await.unwrap().unwrap();
    assert_eq!((found.state.generation, found.granted), (2, session.granted));
}

#[tokio::test]
async fn only_the_owner_may_read_the_file_and_it_names_nobody() {
    let Setup { time, path, .. } = &setup();
    let store = reopen(path, time);
    store.create(session("ada-lovelace", time.now()), 10).await.unwrap();
    drop(store);
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let content = fs::read(path).unwrap();
    for secret in ["ada-lovelace", "orders-api", "subject of"] {
        assert!(!content.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}

#[test]
fn a_file_that_cannot_be_the_store_is_named_with_what_to_do() {
    let Setup { time, path, _scratch: scratch } = &setup();
    let folder = scratch.path("folder");
    fs::create_dir(&folder).unwrap();
    let text = scratch.path("text");
    fs::write(&text, "a few words that are no store").unwrap();
    let long_text = scratch.path("long text");
    fs::write(&long_text, "words ".repeat(10_000)).unwrap();
    let foreign = scratch.path("foreign");
    {
        let database = Database::create(&foreign).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(redb::TableDefinition::<u64, u64>::new("something else")).unwrap();
        transaction.commit().unwrap();
    }
    for (path, expected) in [
        (scratch.path("no/folder"), "folder is not there"),
        (folder, "is a folder"),
        (text, "not a session store"),
        (long_text, "not a session store"),
        (foreign, "not a session store"),
    ] {
        let error = refusal(&path, ring(&[1]));
        assert!(error.contains(&*path.to_string_lossy()) && error.contains(expected), "{error}");
    }
    let _open = reopen(path, time);
    let error = refusal(path, ring(&[1]));
    assert!(error.contains("another process has it open") && error.contains("store.redb.path"), "{error}");
}

#[test]
fn a_file_of_a_later_format_or_of_another_ring_is_refused() {
    let Setup { time, path, .. } = &setup();
    drop(reopen(path, time));
    assert!(refusal(path, ring(&[2])).contains("master key 1, which is not in the ring"));
    // A rotation that keeps the old key, and then one that has dropped it.
    drop(Redb::open(path, ring(&[2, 1]), time.clone()).unwrap());
    drop(Redb::open(path, ring(&[2]), time.clone()).unwrap());
    let other = KeyRing::new(&crate::config::MasterRing(vec![(2, crate::model::Secret::new([9; 32]))]));
    assert!(refusal(path, Arc::new(other)).contains("another content"));

    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(tables::META).unwrap().insert("format", &[9_u8][..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refusal(path, ring(&[2]));
    assert!(error.contains("format 9") && error.contains("later sidegate"), "{error}");
}
