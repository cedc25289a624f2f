use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

mod faults;

use redb::{ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};

use super::*;
use crate::{
    model::Secret,
    session::{
        Held, Vouched,
        testing::{Scratch, ring, rotate, session},
    },
};

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

#[tokio::test]
async fn what_the_authority_gave_is_sealed_and_bound_to_its_session() {
    let Setup { time, path, .. } = &setup();
    let (one, other) = (vouched("ada", "canary-one", time), vouched("grace", "canary-other", time));
    let store = reopen(path, time);
    store.create(one.clone(), 10).await.unwrap();
    store.create(other.clone(), 10).await.unwrap();
    drop(store);
    let content = fs::read(path).unwrap();
    assert!(!content.windows(6).any(|window| window == b"canary"));
    // Whoever writes the file cannot give one session what is another's.
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut held = transaction.open_table(tables::HELD).unwrap();
        let sealed = held.get(other.id.0).unwrap().unwrap().value().to_vec();
        held.insert(one.id.0, sealed.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let store = reopen(path, time);
    assert!(matches!(store.find(one.id).await, Err(StoreError::Unreadable(_))));
    assert_eq!(store.find(other.id).await.unwrap(), Some(other));
}

#[tokio::test]
async fn a_file_from_before_there_was_an_authority_outside_goes_on() {
    let Setup { time, path, .. } = &setup();
    let old = session("ada", time.now());
    let store = reopen(path, time);
    store.create(old.clone(), 10).await.unwrap();
    drop(store);
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(transaction.delete_table(tables::HELD).unwrap());
    assert!(transaction.delete_table(tables::FOREIGN).unwrap());
    transaction.commit().unwrap();
    drop(database);
    let store = reopen(path, time);
    assert_eq!(store.find(old.id).await.unwrap(), Some(old.clone()));
    assert_eq!(store.find_foreign([1; 16]).await.unwrap(), None);
    let new = vouched("grace", "one", time);
    store.create(new.clone(), 10).await.unwrap();
    assert_eq!(store.find(new.id).await.unwrap(), Some(new));
}

/// A session that an authority outside has vouched for.
fn vouched(name: &str, token: &str, time: &Time) -> Session {
    let now = time.now();
    let held = Held {
        access_token: Secret::new(token.to_owned()),
        issued: now,
        expires: now.plus(300),
        authority: "an authority".to_owned(),
        refresh_token: Some(Secret::new(token.to_owned())),
    };
    let mut session = session(name, now);
    session.state.vouched = Some(Vouched::first(held.expires));
    session.held = Some(held);
    session
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

#[tokio::test]
async fn a_file_from_before_authorities_outside_were_kept_is_taken_over() {
    let Setup { time, path, .. } = &setup();
    let session = session("ada", time.now());
    let store = reopen(path, time);
    store.create(session.clone(), 10).await.unwrap();
    drop(store);

    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(transaction.delete_table(tables::HELD).unwrap() && transaction.delete_table(tables::FOREIGN).unwrap());
    {
        // What nobody outside vouches for is written as it was.
        let kept = transaction.open_table(tables::SESSIONS).unwrap();
        let bytes = kept.get(session.id.0).unwrap().unwrap().value().to_vec();
        let (length, rest) = bytes[49..].split_first_chunk::<4>().unwrap();
        let state = &rest[..u32::from_be_bytes(*length) as usize];
        let state: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(state).unwrap();
        let mut names: Vec<&str> = state.keys().map(String::as_str).collect();
        names.sort_unstable();
        let known = [
            "absolute",
            "access",
            "acknowledged",
            "client",
            "created",
            "generation",
            "idle_until",
            "retries",
            "revoked",
            "rotated_at",
        ];
        assert_eq!(names, known);
    }
    transaction.commit().unwrap();
    drop(database);

    let store = reopen(path, time);
    assert_eq!(store.find(session.id).await.unwrap(), Some(session.clone()));
    assert_eq!(store.find_foreign([7; 16]).await.unwrap(), None);
    assert_eq!(store.rotate(session.id, rotate(1, time.now())).await.unwrap(), Outcome::Rotated { generation: 2 });
}

#[tokio::test]
async fn a_record_that_cannot_be_read_says_why_and_stands_in_nobodys_way() {
    let Setup { time, path, .. } = &setup();
    let sessions: Vec<Session> = (0..4).map(|_| session("ada", time.now())).collect();
    let store = reopen(path, time);
    for session in &sessions {
        store.create(session.clone(), 10).await.unwrap();
    }
    drop(store);
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(tables::SESSIONS).unwrap();
        let good = table.get(sessions[0].id.0).unwrap().unwrap().value().to_vec();
        let later = [&[9], &good[1..]].concat();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        table.insert(sessions[0].id.0, later.as_slice()).unwrap();
        table.insert(sessions[1].id.0, flipped.as_slice()).unwrap();
        // What was sealed for one session is no good for another.
        table.insert(sessions[2].id.0, good.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);

    let store = reopen(path, time);
    let why = async |at: usize| store.find(sessions[at].id).await.unwrap_err().to_string();
    assert!(why(0).await.contains("format 9 by a later sidegate"), "{}", why(0).await);
    assert!(why(1).await.contains("not sealed by us, or damaged"), "{}", why(1).await);
    assert!(why(2).await.contains("not sealed by us, or damaged"), "{}", why(2).await);
    let error = store.rotate(sessions[0].id, rotate(1, time.now())).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable(_)), "{error}");
    assert_eq!(store.list(Filter::default(), None, 10).await.unwrap(), sessions[3..]);
    store.create(session("ada", time.now()), 1).await.unwrap();
    time.advance(2 * crate::session::testing::DAY as i64);
    store.purge().await.unwrap();
    assert!(why(0).await.contains("format 9"), "what a later version wrote is not for us to remove");
}

#[tokio::test]
async fn what_was_kept_under_an_older_master_key_is_found_and_counted_after_a_rotation() {
    let Setup { time, path, .. } = &setup();
    let old = session("ada", time.now());
    let store = reopen(path, time);
    store.create(old.clone(), 10).await.unwrap();
    store.save("keys", 0, b"content".to_vec()).await.unwrap();
    drop(store);
    time.advance(2);
    let store = Redb::open(path, ring(&[2, 1]), time.clone()).unwrap();
    let new = session("ada", time.now());
    store.create(new.clone(), 10).await.unwrap();
    let of_ada = Filter { user: Some("ada".to_owned()), ..Filter::default() };
    let listed = store.list(of_ada, None, 10).await.unwrap();
    assert!(listed.len() == 2 && listed.is_sorted_by_key(|session| session.id));
    assert_eq!(store.load("keys").await.unwrap(), Some((1, b"content".to_vec())));
    assert_eq!(store.create(session("ada", time.now()), 2).await.unwrap(), Created::Now(vec![old.id]));
}

/// Has `steps` wait together, so that the same of them share a transaction each time.
async fn together<T>(store: &Redb, mut steps: Vec<BoxFuture<'_, Result<T, StoreError>>>) -> Vec<T> {
    let (begun, held) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut holding = store.step(move |_, _, _| {
        begun.send(()).unwrap();
        // Until it is dropped.
        let _ = released.recv();
        Ok(())
    });
    assert!((&mut holding).now_or_never().is_none());
    held.await.unwrap();
    for step in &mut steps {
        assert!(step.now_or_never().is_none());
    }
    drop(release);
    holding.await.unwrap();
    futures_util::future::try_join_all(steps).await.unwrap()
}

#[tokio::test]
async fn the_file_does_not_grow_with_what_came_and_went() {
    let Setup { time, path, .. } = &setup();
    let store = reopen(path, time);
    let mut sizes = Vec::new();
    for round in 0..24_u8 {
        let until = time.now().plus(60);
        let sessions: Vec<Session> =
            (0..300_u16).map(|number| session(&format!("user {}", number % 40), time.now())).collect();
        let key = |number: usize| {
            let mut key = [round; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        let code = || crate::session::testing::code("ada", until);
        together(&store, sessions.iter().map(|session| store.put_code(session.id, code())).collect()).await;
        together(&store, sessions.iter().map(|session| store.spend_code(session.clone(), 5)).collect()).await;
        together(&store, sessions.iter().map(|session| store.rotate(session.id, rotate(1, until))).collect()).await;
        together(&store, (0..sessions.len()).map(|number| store.use_once(key(number), until)).collect()).await;
        time.advance(2 * crate::session::testing::DAY as i64);
        store.purge().await.unwrap();
        // The writer's own turn may have come in between.
        assert_eq!(store.purge().await.unwrap(), 0, "it goes on after one slice");
        sizes.push(fs::metadata(path).unwrap().len());
    }
    assert!(sizes[23] <= sizes[5] * 3 / 2, "{sizes:?}");
    drop(store);

    let database = Database::create(path).unwrap();
    let transaction = database.begin_read().unwrap();
    let rows = [
        transaction.open_table(tables::SESSIONS).unwrap().len().unwrap(),
        transaction.open_table(tables::LIVE).unwrap().len().unwrap(),
        transaction.open_table(tables::LIVE_OF).unwrap().len().unwrap(),
        transaction.open_table(tables::BY_USER).unwrap().len().unwrap(),
        transaction.open_table(tables::BY_CLIENT).unwrap().len().unwrap(),
        transaction.open_table(tables::ENDS).unwrap().len().unwrap(),
        transaction.open_table(tables::CODES).unwrap().len().unwrap(),
        transaction.open_table(tables::CODE_ENDS).unwrap().len().unwrap(),
        transaction.open_table(tables::USED).unwrap().len().unwrap(),
        transaction.open_table(tables::USED_ENDS).unwrap().len().unwrap(),
    ];
    assert_eq!(rows, [0; 10], "no index keeps what is gone");
}

#[tokio::test]
async fn what_is_over_is_purged_without_being_asked_to() {
    let Setup { time, path, .. } = &setup();
    let store = reopen(path, time);
    store.create(session("ada", time.now()), 10).await.unwrap();
    drop(store);
    time.advance(2 * crate::session::testing::DAY as i64);
    let store = reopen(path, time);
    while store.count().await.unwrap() > 0 {
        tokio::task::yield_now().await;
    }
}
