use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::Instant,
};

use super::*;
use crate::{
    model::{Secret, UnixTime},
    session::{
        Exchanged, Intend, Intended, Renewed, Renewer, SessionStore, Vouched,
        memory::Memory,
        testing::{Scratch, ring, session},
        vouched::Answer,
    },
};

mod faults;

const OWNER: Renewer = Renewer(1);

fn open_with(scratch: &Scratch, keys: &[u32], kept_for: Duration) -> Journal {
    let (folder, metrics, limits) = (scratch.path("journal"), Arc::new(Metrics::new()), Limits { kept_for, ..LIMITS });
    Journal::start(&folder, Box::new(|_| Ok(())), ring(keys), Time::default(), metrics, limits).unwrap()
}

fn open(scratch: &Scratch) -> Journal {
    open_with(scratch, &[1], Duration::ZERO)
}

fn files(scratch: &Scratch) -> Vec<PathBuf> {
    fs::read_dir(scratch.path("journal")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn held(token: &str) -> Held {
    Held {
        access_token: Secret::new(format!("access {token}")),
        issued: UnixTime(1000),
        expires: UnixTime(1300),
        authority: "an authority".to_owned(),
        refresh_token: Some(Secret::new(token.to_owned())),
    }
}

/// A store with one session, which somebody has the lease on.
async fn store() -> (Memory, SessionId, u64) {
    let store = Memory::shared(Time::default());
    let mut session = session("ada", store.now());
    session.state.vouched = Some(Vouched::first(store.now().plus(300)));
    session.held = Some(held("first"));
    let id = session.id;
    store.create(session, 10).await.unwrap();
    let epoch = lease(&store, id).await;
    (store, id, epoch)
}

async fn lease(store: &Memory, id: SessionId) -> u64 {
    let seen = store.find(id).await.unwrap().unwrap().state.vouched.unwrap().generation;
    let step = Intend { seen, owner: OWNER, lease: Duration::from_secs(8) };
    let Intended::Go { epoch, .. } = store.intend(id, step).await.unwrap() else { panic!() };
    epoch
}

async fn renew(store: &Memory, id: SessionId, epoch: u64, token: &str) -> Exchanged {
    let answer = Answer::Given { held: held(token), renewed_for: None };
    store.renew(id, Renewed { epoch, answer }).await.unwrap()
}

async fn token(store: &Memory, id: SessionId) -> String {
    let held = store.find(id).await.unwrap().unwrap().held.unwrap();
    held.refresh_token.unwrap().expose().clone()
}

/// Waits for the thread that writes.
fn until(journal: &Journal, is_so: impl Fn(&Journal) -> bool) {
    let begun = Instant::now();
    while !is_so(journal) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", journal.standing());
        thread::sleep(Duration::from_millis(2));
    }
}

#[tokio::test]
async fn what_the_store_was_not_told_before_a_crash_is_told_by_the_process_that_comes_next() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    let journal = open(&scratch);
    assert!(journal.keep(id, epoch, &held("second"), Some(3)).await);
    assert_eq!(journal.standing(), Standing { waiting: 1, unreadable: 0, failing: None });
    drop(journal);
    let next = open(&scratch);
    assert_eq!(next.standing().waiting, 1);
    next.replay(&store, OWNER).await;
    assert_eq!(token(&store, id).await, "second");
    assert_eq!(store.find(id).await.unwrap().unwrap().state.vouched.unwrap().renewed_for, 3);
    until(&next, |journal| journal.standing().waiting == 0);
    until(&next, |_| files(&scratch).len() == 1);
    drop(next);
    assert_eq!(files(&scratch).len(), 0, "nothing is left of either");
}

#[tokio::test]
async fn what_was_kept_before_the_crash_is_found_to_be_and_what_is_over_is_forgotten() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    let journal = open(&scratch);
    assert!(journal.keep(id, epoch, &held("second"), None).await);
    let gone = SessionId::random().unwrap();
    assert!(journal.keep(gone, 4, &held("other"), None).await);
    assert_eq!(renew(&store, id, epoch, "second").await, Exchanged::Kept { generation: 2 });
    drop(journal);
    let next = open(&scratch);
    next.replay(&store, OWNER).await;
    until(&next, |journal| journal.standing().waiting == 0);
    assert_eq!(store.find(id).await.unwrap().unwrap().state.vouched.unwrap().generation, 2, "nothing is doubled");
}

#[tokio::test]
async fn what_comes_back_after_somebody_else_has_the_lease_is_kept_aside() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    let journal = open(&scratch);
    assert!(journal.keep(id, epoch, &held("second"), None).await);
    drop(journal);
    let later = lease(&store, id).await;
    assert!(later > epoch);
    open(&scratch).replay(&store, OWNER).await;
    let candidates = store.candidates(id).await.unwrap();
    assert_eq!(candidates[0].held, held("second"));
}

#[tokio::test]
async fn what_a_store_forgets_after_it_has_said_that_it_is_kept_is_told_again() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    // A replica that takes its place, and has the intent and no more.
    let replica = Memory::shared(Time::default());
    replica.create(store.find(id).await.unwrap().unwrap(), 10).await.unwrap();
    let journal = open_with(&scratch, &[1], Duration::from_secs(60));
    assert!(journal.keep(id, epoch, &held("second"), None).await);
    renew(&store, id, epoch, "second").await;
    journal.settle(id, epoch);
    until(&journal, |journal| journal.standing().waiting == 0);
    journal.replay(&replica, OWNER).await;
    assert_eq!(token(&replica, id).await, "first", "nobody has told of a failover");
    journal.shared.live().doubt();
    for store in [&store, &replica] {
        journal.replay(store, OWNER).await;
        assert_eq!(token(store, id).await, "second");
        journal.shared.live().doubt();
    }
    assert_eq!(store.find(id).await.unwrap().unwrap().state.vouched.unwrap().generation, 2);
    // Neither does a crash at that moment lose it, nor is something newer touched.
    drop(journal);
    let newer = lease(&replica, id).await;
    renew(&replica, id, newer, "third").await;
    let next = open_with(&scratch, &[1], Duration::from_secs(60));
    next.replay(&replica, OWNER).await;
    assert_eq!(token(&replica, id).await, "third");
    assert!(replica.candidates(id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_that_somebody_else_took_from_a_store_that_went_back_is_theirs() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    let journal = open_with(&scratch, &[1], Duration::from_secs(60));
    assert!(journal.keep(id, epoch, &held("second"), None).await);
    journal.settle(id, epoch);
    until(&journal, |journal| journal.standing().waiting == 0);
    journal.shared.live().doubt();
    journal.replay(&store, Renewer(2)).await;
    assert_eq!(token(&store, id).await, "first");
    assert_eq!(store.candidates(id).await.unwrap()[0].held, held("second"));
    assert_eq!(renew(&store, id, epoch, "third").await, Exchanged::Kept { generation: 2 }, "nor is theirs lost");
}

#[tokio::test]
async fn what_a_store_forgets_is_told_again_also_where_somebody_has_begun_anew_since() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    let replica = Memory::shared(Time::default());
    replica.create(store.find(id).await.unwrap().unwrap(), 10).await.unwrap();
    let journal = open_with(&scratch, &[1], Duration::from_secs(60));
    let second = Held { issued: UnixTime(1200), ..held("second") };
    assert!(journal.keep(id, epoch, &second, None).await);
    let answer = Answer::Given { held: second.clone(), renewed_for: None };
    store.renew(id, Renewed { epoch, answer }).await.unwrap();
    journal.settle(id, epoch);
    until(&journal, |journal| journal.standing().waiting == 0);
    // Another process is about to redeem what is spent.
    let newer = lease(&replica, id).await;
    assert!(newer > epoch);
    journal.shared.live().doubt();
    journal.replay(&replica, Renewer(2)).await;
    assert_eq!(replica.candidates(id).await.unwrap()[0].held, second);
    let over = Answer::Ended { tried: Vec::new() };
    assert_eq!(replica.renew(id, Renewed { epoch: newer, answer: over }).await.unwrap(), Exchanged::Untried);
}

#[tokio::test]
async fn processes_that_share_a_folder_leave_each_others_files_alone_while_they_live() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    let (one, two) = (open(&scratch), open(&scratch));
    assert!(one.keep(id, epoch, &held("second"), None).await);
    assert_eq!((files(&scratch).len(), two.standing().waiting), (2, 0));
    let three = open(&scratch);
    assert_eq!(three.standing().waiting, 0);
    drop((one, two));
    let four = open(&scratch);
    assert_eq!(four.standing().waiting, 1);
    four.replay(&store, OWNER).await;
    assert_eq!(token(&store, id).await, "second");
}

#[tokio::test]
async fn only_its_owner_may_read_a_file_and_no_token_can_be_read_in_it() {
    let (scratch, (_, id, epoch)) = (Scratch::new(), store().await);
    let journal = open(&scratch);
    assert!(journal.keep(id, epoch, &held("a secret token"), None).await);
    let files = files(&scratch);
    let bytes = fs::read(&files[0]).unwrap();
    assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(scratch.path("journal")).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(bytes.len() > 200 && !bytes.windows(6).any(|window| window == b"secret"));
}

#[tokio::test]
async fn a_file_whose_entries_are_settled_is_emptied_and_one_that_has_grown_is_written_anew() {
    let (scratch, (_, id, _)) = (Scratch::new(), store().await);
    let journal = open_with(&scratch, &[1], Duration::ZERO);
    let large = held(&"x".repeat(1_000_000));
    for epoch in 1..4 {
        assert!(journal.keep(id, epoch, &large, None).await);
    }
    assert!(journal.keep(id, 4, &held("small"), None).await);
    let before = files(&scratch);
    for epoch in 1..4 {
        journal.settle(id, epoch);
    }
    until(&journal, |_| files(&scratch) != before && files(&scratch).len() == 1);
    assert!(fs::metadata(&files(&scratch)[0]).unwrap().len() < 2000);
    journal.settle(id, 4);
    until(&journal, |_| fs::metadata(&files(&scratch)[0]).unwrap().len() == record::HEADER.len() as u64);
    assert_eq!(journal.standing().waiting, 0);
}

#[tokio::test]
async fn a_tail_that_was_never_whole_is_cut_and_what_is_in_front_of_it_replayed() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    let journal = open(&scratch);
    assert!(journal.keep(id, epoch, &held("second"), None).await);
    drop(journal);
    let torn = &record::Record::given(Key { session: id, epoch: 9 }, &[7; 100])[..60];
    OpenOptions::new().append(true).open(&files(&scratch)[0]).unwrap().write_all(torn).unwrap();
    let next = open(&scratch);
    assert_eq!(next.standing(), Standing { waiting: 1, unreadable: 0, failing: None });
    next.replay(&store, OWNER).await;
    assert_eq!(token(&store, id).await, "second");
    until(&next, |_| files(&scratch).len() == 1);
}

#[tokio::test]
async fn an_entry_under_a_key_that_is_not_in_the_ring_is_kept_until_somebody_has_that_key() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    let journal = open(&scratch);
    assert!(journal.keep(id, epoch, &held("second"), None).await);
    drop(journal);
    let stranger = open_with(&scratch, &[2], Duration::ZERO);
    assert_eq!(stranger.standing(), Standing { waiting: 0, unreadable: 1, failing: None });
    stranger.replay(&store, OWNER).await;
    drop(stranger);
    assert_eq!((files(&scratch).len(), token(&store, id).await.as_str()), (1, "first"));
    let friend = open_with(&scratch, &[2, 1], Duration::ZERO);
    friend.replay(&store, OWNER).await;
    assert_eq!(token(&store, id).await, "second");
    until(&friend, |_| files(&scratch).len() == 1);
}

#[tokio::test]
async fn a_damaged_entry_is_kept_with_its_file_and_the_others_are_replayed_once() {
    let (scratch, (store, id, epoch)) = (Scratch::new(), store().await);
    let journal = open(&scratch);
    assert!(journal.keep(SessionId([1; 16]), 1, &held("damaged"), None).await);
    assert!(journal.keep(id, epoch, &held("second"), None).await);
    drop(journal);
    let path = files(&scratch)[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[80] ^= 1;
    fs::write(&path, bytes).unwrap();
    let next = open(&scratch);
    assert_eq!(next.standing(), Standing { waiting: 1, unreadable: 1, failing: None });
    next.replay(&store, OWNER).await;
    until(&next, |journal| journal.standing().waiting == 0);
    drop(next);
    assert_eq!(files(&scratch), [path]);
    assert_eq!(open(&scratch).standing(), Standing { waiting: 0, unreadable: 1, failing: None });
}

#[test]
fn a_file_of_a_later_sidegate_and_one_of_nobody_are_left_alone() {
    let scratch = Scratch::new();
    drop(open(&scratch));
    let (later, nobodys) = (scratch.path("journal/sidegate-a.journal"), scratch.path("journal/sidegate-b.journal"));
    fs::write(&later, b"sidegate journal\x02and more").unwrap();
    fs::write(&nobodys, b"something else").unwrap();
    fs::write(scratch.path("journal/notes.txt"), b"sidegate journal\x01").unwrap();
    let journal = open(&scratch);
    assert_eq!(journal.standing(), Standing { waiting: 0, unreadable: 2, failing: None });
    drop(journal);
    assert_eq!(files(&scratch).len(), 3);
    assert_eq!(fs::read(&later).unwrap(), b"sidegate journal\x02and more");
}

#[test]
fn a_folder_that_cannot_be_one_is_refused_with_what_to_do() {
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), b"").unwrap();
    let open = |path: &str| {
        let opened = Journal::open(&scratch.path(path), ring(&[1]), Time::default(), Arc::new(Metrics::new()));
        opened.err().unwrap().to_string()
    };
    let error = open("nowhere/journal");
    assert!(error.contains("nowhere/journal") && error.contains("make the folder that it is in"), "{error}");
    let error = open("file");
    assert!(error.contains("is no folder: name one in store.redis.journal"), "{error}");
    let error = open("file/journal");
    assert!(error.contains("name a folder in store.redis.journal"), "{error}");
}
