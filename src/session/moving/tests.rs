use std::{
    fs,
    io::{Cursor, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{
    file::{Reader, Record},
    *,
};
use crate::{
    jose::rotation::{self, Plan, Ring},
    model::{Secret, Time},
    session::{
        Held, Intend, Renewer,
        memory::Memory,
        record::RevocationReason,
        redb::Redb,
        redis::{
            Redis,
            testing::{Server, metrics},
        },
        ring::KeyRing,
        testing::{HOUR, Scratch, access, ring, rotate, session},
    },
};

/// A folder, a clock, and a ring.
struct Setup {
    scratch: Scratch,
    time: Time,
    ring: Arc<KeyRing>,
}

impl Setup {
    fn new() -> Setup {
        Setup { scratch: Scratch::new(), time: Time::default(), ring: ring(&[1]) }
    }

    fn redb(&self, name: &str) -> Redb {
        Redb::open(&self.scratch.path(name), self.ring.clone(), self.time.clone()).unwrap()
    }

    /// A store with `count` sessions of all kinds, and signing keys.
    async fn filled(&self, count: usize) -> Memory {
        let store = Memory::shared(self.time.clone());
        for number in 0..count {
            store.restore(self.moved(number)).await.unwrap();
        }
        store.save(rotation::DOCUMENT, 0, signing(self.time.now()).write().unwrap()).await.unwrap();
        store
    }

    /// One of many: every third one has ended, every fourth one is being renewed.
    fn moved(&self, number: usize) -> Moved {
        let now = self.time.now();
        let mut session = session(&format!("user {number}"), now);
        session.state.access.push(access(now));
        let mut candidates = Vec::new();
        if number % 4 == 1 {
            let held = |name: &str| Held {
                access_token: Secret::new(format!("access {name}")),
                issued: now,
                expires: now.plus(300),
                authority: "an authority".to_owned(),
                refresh_token: Some(Secret::new(format!("refresh {name}"))),
            };
            session.state.vouched = Some(Vouched { epoch: 3, ..Vouched::first(now.plus(300)) });
            session.held = Some(held("now"));
            let step = Intend { seen: 1, owner: Renewer(7), lease: std::time::Duration::from_secs(3600) };
            session.state.intend(&step, false, now, self.time.now_millis());
            candidates.push(Candidate { epoch: 2, held: held("too late") });
        }
        if number % 3 == 2 {
            session.state.revoke(RevocationReason::Operator, now);
            candidates.clear();
        }
        Moved { session, candidates }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    async fn export(&self, store: &dyn SessionStore, to: &Path) -> Result<Exported, MoveError> {
        let asked = Export { store, ring: &self.ring, from: "a store".to_owned(), to, while_serving: false };
        export(&asked, &mut |_| ()).await
    }

    async fn import(&self, store: &dyn SessionStore, from: &Path) -> Result<Imported, MoveError> {
        import(&Import { store, ring: &self.ring, from, dry_run: false }, &mut |_| ()).await
    }

    async fn try_out(&self, store: &dyn SessionStore, from: &Path) -> Imported {
        import(&Import { store, ring: &self.ring, from, dry_run: true }, &mut |_| ()).await.unwrap()
    }

    /// What a file says behind its header.
    fn content(&self, path: &Path) -> (Vec<Moved>, Counts) {
        let mut reader = Reader::begin(Cursor::new(fs::read(path).unwrap()), &self.ring).unwrap();
        let mut moved = Vec::new();
        loop {
            match reader.next().unwrap() {
                Record::Session(session) => moved.push(*session),
                Record::End(counts) => return (moved, counts),
                Record::Unreadable(..) | Record::Document(_) => {}
            }
        }
    }
}

fn signing(now: UnixTime) -> Ring {
    let mut ring = Ring::default();
    let plan = Plan { algorithm: jsonwebtoken::Algorithm::ES256, rotate_after: None, publish_ahead: 0 };
    ring.advance(&plan, now).unwrap();
    ring
}

async fn all(store: &dyn SessionStore) -> Vec<Moved> {
    store.records(None, usize::MAX).await.unwrap().moved
}

/// As they are where nobody is at anything.
fn lapsed(mut all: Vec<Moved>) -> Vec<Moved> {
    all.iter_mut().for_each(Moved::lapse);
    all
}

fn part(path: &Path) -> PathBuf {
    path.with_extension("part")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_move_from_one_kind_of_store_to_another_and_back_with_everything() {
    let setup = Setup::new();
    let (memory, file, back) = (setup.filled(1203).await, setup.path("moved"), setup.path("moved-back"));
    let mut told = Vec::new();
    let asked =
        Export { store: &memory, ring: &setup.ring, from: "a store".to_owned(), to: &file, while_serving: false };
    let exported = export(&asked, &mut |progress| told.push(progress.done)).await.unwrap();
    let counts = Counts { sessions: 1203, revoked: 401, documents: 1, unreadable: 0 };
    assert_eq!((exported.counts, exported.resumed, told), (counts, 0, vec![500, 1000, 1203]));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!part(&file).exists());
    let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    assert!(!["user 7", "refresh", "too late"].iter().any(|said| text.contains(said)), "it names nobody");

    let redb = setup.redb("other.redb");
    let tried = setup.try_out(&redb, &file).await;
    assert_eq!((tried.kept, tried.there, tried.keys), (1203, 0, Keys::Kept));
    assert!(all(&redb).await.is_empty() && redb.load(rotation::DOCUMENT).await.unwrap().is_none());

    let imported = setup.import(&redb, &file).await.unwrap();
    assert_eq!((imported.kept, imported.revoked, imported.there, imported.over), (1203, 401, 0, 0));
    assert_eq!((imported.counts, imported.keys, imported.header.from.as_str()), (counts, Keys::Kept, "a store"));
    assert_eq!(all(&redb).await, lapsed(all(&memory).await));
    assert_eq!(redb.load(rotation::DOCUMENT).await.unwrap(), memory.load(rotation::DOCUMENT).await.unwrap());
    let renewing = redb.lapsed(Renewer(1), None, 9999).await.unwrap().len();
    assert_eq!(renewing, all(&memory).await.iter().filter(|moved| moved.session.state.has_intent()).count());

    let again = setup.import(&redb, &file).await.unwrap();
    assert_eq!((again.kept, again.there, again.keys), (0, 1203, Keys::There));
    assert_eq!(setup.try_out(&redb, &file).await.there, 1203);

    setup.export(&redb, &back).await.unwrap();
    let third = Memory::new(setup.time.clone());
    setup.import(&third, &back).await.unwrap();
    assert_eq!(all(&third).await, all(&redb).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_move_to_redis_to_another_prefix_and_from_it() {
    let (setup, server) = (Setup::new(), Server::start());
    let open = |prefix: &str| {
        let settings = crate::config::RedisStore { prefix: prefix.to_owned(), ..server.settings() };
        Redis::open(&settings, setup.ring.clone(), setup.time.clone(), &tokio::runtime::Handle::current(), metrics())
            .unwrap()
    };
    let (first, second, redb) = (open("one"), open("two"), setup.redb("new.redb"));
    let old = setup.filled(603).await;
    let stores: [&dyn SessionStore; 4] = [&old, &first, &second, &redb];
    for (number, pair) in stores.windows(2).enumerate() {
        let file = setup.path(&format!("moved-{number}"));
        let asked =
            Export { store: pair[0], ring: &setup.ring, from: number.to_string(), to: &file, while_serving: true };
        assert_eq!(export(&asked, &mut |_| ()).await.unwrap().counts.revoked, 201);
        assert_eq!(setup.import(pair[1], &file).await.unwrap().kept, 603);
        assert_eq!(setup.import(pair[1], &file).await.unwrap().there, 603);
        assert_eq!(setup.try_out(pair[1], &file).await.there, 603);
        assert_eq!(all(pair[1]).await, lapsed(all(&old).await));
        let documents = (pair[1].load(rotation::DOCUMENT).await, old.load(rotation::DOCUMENT).await);
        assert_eq!(documents.0.unwrap(), documents.1.unwrap());
        assert_eq!(pair[1].count().await.unwrap(), 402);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_others_serve_from_is_exported_only_where_that_is_agreed_to() {
    let (setup, server) = (Setup::new(), Server::start());
    let handle = tokio::runtime::Handle::current();
    let open = || Redis::open(&server.settings(), setup.ring.clone(), setup.time.clone(), &handle, metrics()).unwrap();
    let (store, replica, file) = (open(), open(), setup.path("moved"));
    store.restore(setup.moved(0)).await.unwrap();
    let refused = setup.export(&store, &file).await.unwrap_err().to_string();
    assert!(refused.contains("1 process(es) serve from a store") && refused.contains("--while-serving"), "{refused}");
    drop(replica);
    assert_eq!(setup.export(&store, &file).await.unwrap().counts.sessions, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_is_used_while_it_is_brought_to_redis_loses_nothing() {
    let (setup, server) = (Setup::new(), Server::start());
    let handle = tokio::runtime::Handle::current();
    let store = Redis::open(&server.settings(), setup.ring.clone(), setup.time.clone(), &handle, metrics()).unwrap();
    let store = Arc::new(store);
    let moved = setup.moved(0);
    let id = moved.session.id;
    store.restore(moved.clone()).await.unwrap();
    let mut ahead = moved.clone();
    let running = {
        let (store, now) = (store.clone(), setup.time.now());
        tokio::spawn(async move {
            for generation in 1..=40 {
                store.rotate(id, rotate(generation, now)).await.unwrap();
            }
        })
    };
    for _ in 0..40 {
        ahead.session.state.access.push(access(setup.time.now()));
        store.restore(ahead.clone()).await.unwrap();
        store.restore(moved.clone()).await.unwrap();
    }
    running.await.unwrap();
    let state = store.find(id).await.unwrap().unwrap().state;
    assert_eq!((state.generation, state.access.len()), (41, 1 + 40 + 40));
}

#[tokio::test]
async fn what_has_gone_on_in_the_target_stays_and_what_is_over_or_anothers_is_counted() {
    let setup = Setup::new();
    let (old, new, file) = (setup.filled(12).await, Memory::new(setup.time.clone()), setup.path("moved"));
    let brief = session("ada", setup.time.now());
    let brief = Session { state: State { idle_until: setup.time.now().plus(5), ..brief.state.clone() }, ..brief };
    old.create(brief, 10).await.unwrap();
    setup.export(&old, &file).await.unwrap();
    let lasting = all(&old).await.into_iter().filter(|moved| moved.session.granted.username.as_deref() != Some("ada"));
    let taken = lasting.map(|moved| moved.session.id).next().unwrap();
    let mut other = Session { id: taken, ..session("grace", setup.time.now()) };
    other.granted.salt = [9; 16];
    new.create(other.clone(), 10).await.unwrap();
    setup.time.advance(5);
    let imported = setup.import(&new, &file).await.unwrap();
    assert_eq!((imported.kept, imported.over, imported.conflicts), (11, 1, vec![taken]));
    assert_eq!(new.find(taken).await.unwrap(), Some(other));

    let live =
        all(&new).await.into_iter().find(|moved| moved.session.state.revoked.is_none() && moved.session.id != taken);
    let id = live.unwrap().session.id;
    new.rotate(id, rotate(1, setup.time.now())).await.unwrap();
    let before = all(&new).await;
    let again = setup.import(&new, &file).await.unwrap();
    assert_eq!((again.kept, again.there), (0, 11));
    assert_eq!(all(&new).await, before);
}

#[tokio::test]
async fn signing_keys_of_the_target_go_on_signing_beside_those_that_come() {
    let setup = Setup::new();
    let (old, new, file) = (setup.filled(1).await, Memory::new(setup.time.clone()), setup.path("moved"));
    setup.export(&old, &file).await.unwrap();
    let own = signing(setup.time.now());
    new.save(rotation::DOCUMENT, 0, own.write().unwrap()).await.unwrap();
    assert_eq!(setup.try_out(&new, &file).await.keys, Keys::Added(1));
    assert_eq!(setup.import(&new, &file).await.unwrap().keys, Keys::Added(1));
    assert_eq!(setup.import(&new, &file).await.unwrap().keys, Keys::There);
    let (version, content) = new.load(rotation::DOCUMENT).await.unwrap().unwrap();
    let ring = Ring::read(&content).unwrap();
    let kids = |ring: &Ring| ring.keys().iter().map(|key| key.kid().unwrap()).collect::<Vec<_>>();
    let came = Ring::read(&old.load(rotation::DOCUMENT).await.unwrap().unwrap().1).unwrap();
    assert_eq!((version, kids(&ring)), (2, [kids(&came), kids(&own)].concat()));
    assert_eq!(ring.keys().iter().map(|key| key.stage.as_str()).collect::<Vec<_>>(), ["previous", "current"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_named_and_the_rest_moves() {
    let mut setup = Setup::new();
    let path = setup.scratch.path("old.redb");
    let open = |ids: &[u32]| Redb::open(&path, ring(ids), setup.time.clone()).unwrap();
    let (lost, kept) = (session("ada", setup.time.now()), session("grace", setup.time.now()));
    open(&[2]).create(lost.clone(), 10).await.unwrap();
    open(&[1, 2]).create(kept.clone(), 10).await.unwrap();
    let (old, file) = (open(&[1]), setup.path("moved"));
    setup.ring = ring(&[1]);
    let exported = setup.export(&old, &file).await.unwrap();
    assert_eq!((exported.counts.sessions, exported.counts.unreadable), (1, 1));
    assert_eq!(exported.unreadable[0].0, lost.id);
    assert!(exported.unreadable[0].1.contains("master key"), "{:?}", exported.unreadable);
    let new = Memory::new(setup.time.clone());
    let imported = setup.import(&new, &file).await.unwrap();
    assert_eq!((imported.kept, imported.unreadable), (1, exported.unreadable));
    assert_eq!(all(&new).await[0].session, kept);
}

#[tokio::test]
async fn a_ring_without_the_keys_of_the_file_is_refused_before_anything_is_kept() {
    let mut setup = Setup::new();
    setup.ring = ring(&[3, 2]);
    let (old, new, file) = (setup.filled(3).await, Memory::new(setup.time.clone()), setup.path("moved"));
    setup.export(&old, &file).await.unwrap();
    for (ids, expected) in [(&[3][..], Some("master key 2 is not in the ring")), (&[4, 2, 3], None)] {
        setup.ring = ring(ids);
        let refused = setup.import(&new, &file).await.err().map(|error| error.to_string());
        assert_eq!(refused.is_some(), expected.is_some(), "{refused:?}");
        assert!(refused.unwrap_or_default().contains(expected.unwrap_or_default()));
        assert_eq!(all(&new).await.is_empty(), expected.is_some());
    }
    let other = crate::config::MasterRing(vec![(3, Secret::new([9; 32])), (2, Secret::new([2; 32]))]);
    setup.ring = Arc::new(KeyRing::new(&other));
    let refused = setup.import(&new, &file).await.unwrap_err().to_string();
    assert!(refused.contains("master key 3 is another one"), "{refused}");
}

#[tokio::test]
async fn an_export_writes_over_nothing_and_does_not_go_on_with_what_may_have_changed() {
    let setup = Setup::new();
    let (store, file) = (setup.filled(700).await, setup.path("moved"));
    let begin = |bytes: usize| {
        let whole = fs::read(setup.path("moved")).unwrap();
        fs::remove_file(&file).unwrap();
        fs::write(part(&file), &whole[..bytes]).unwrap();
    };
    setup.export(&store, &file).await.unwrap();
    let refused = setup.export(&store, &file).await.unwrap_err().to_string();
    assert!(refused.ends_with("is there already: name another file"), "{refused}");

    begin(60_000);
    note_serving(&store).await.unwrap();
    let exported = setup.export(&store, &file).await.unwrap();
    assert_eq!((exported.anew, exported.resumed, exported.counts.sessions), (true, 0, 700));

    begin(60_000);
    let asked =
        |from: &str| Export { store: &store, ring: &setup.ring, from: from.to_owned(), to: &file, while_serving: true };
    let refused = export(&asked("another store"), &mut |_| ()).await.unwrap_err().to_string();
    assert!(refused.contains("it was begun from a store") && refused.contains("Remove it"), "{refused}");
    note_serving(&store).await.unwrap();
    let exported = export(&asked("a store"), &mut |_| ()).await.unwrap();
    assert!(!exported.anew && exported.resumed > 0, "who serves meanwhile was agreed to");

    let other = setup.path("other");
    fs::write(part(&other), "something else of somebody, that is not to be lost in any case".repeat(4)).unwrap();
    assert!(setup.export(&store, &other).await.unwrap_err().to_string().contains("is not a file of sessions"));
    let locked = fs::File::create(part(&setup.path("third"))).unwrap();
    locked.lock().unwrap();
    let refused = setup.export(&store, &setup.path("third")).await.unwrap_err().to_string();
    assert!(refused.contains("another export is at it"), "{refused}");
}

#[tokio::test]
async fn who_begins_to_serve_during_an_export_spoils_it() {
    let setup = Setup::new();
    let (store, file) = (setup.filled(700).await, setup.path("moved"));
    let asked =
        Export { store: &store, ring: &setup.ring, from: "a store".to_owned(), to: &file, while_serving: false };
    // The store is at hand: it answers at once.
    let mut serve = |_| futures_util::FutureExt::now_or_never(note_serving(&store)).unwrap().unwrap();
    let exported = export(&asked, &mut serve);
    let refused = exported.await.unwrap_err().to_string();
    assert!(refused.contains("has begun to serve") && !file.exists(), "{refused}");
    assert!(setup.export(&store, &file).await.unwrap().anew);
}

/// A file of seven sessions, whole.
fn whole() -> &'static (Setup, Vec<u8>) {
    static WHOLE: std::sync::OnceLock<(Setup, Vec<u8>)> = std::sync::OnceLock::new();
    WHOLE.get_or_init(|| {
        let (setup, runtime) = (Setup::new(), Runtime::new().unwrap());
        let bytes = runtime.block_on(async {
            let file = setup.path("moved");
            setup.export(&setup.filled(7).await, &file).await.unwrap();
            fs::read(file).unwrap()
        });
        (setup, bytes)
    })
}

/// Imports these bytes, which are not a whole file: nothing of them may be kept.
fn refused(bytes: &[u8]) -> FileError {
    let (setup, _) = whole();
    let path = setup.path(&SessionId::random().unwrap().to_string());
    fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    let store = Memory::new(setup.time.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let refused = runtime.block_on(async {
        let refused = setup.import(&store, &path).await.err();
        assert!(all(&store).await.is_empty() && store.load(rotation::DOCUMENT).await.unwrap().is_none());
        refused
    });
    fs::remove_file(&path).unwrap();
    match refused {
        Some(MoveError::File(error)) => error,
        other => panic!("it was taken: {other:?}"),
    }
}

proptest! {
    #[test]
    fn nothing_of_a_file_that_was_cut_short_is_kept(at in any::<prop::sample::Index>()) {
        let (_, bytes) = whole();
        let said = refused(&bytes[..at.index(bytes.len())]).to_string();
        prop_assert!(said.contains("ends too early") || said.contains("not a file of sessions"), "{said}");
    }

    #[test]
    fn nothing_of_a_file_with_another_byte_is_kept(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut bytes = whole().1.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        refused(&bytes);
    }

    #[test]
    fn nothing_of_what_never_was_a_file_is_kept(bytes in prop::collection::vec(any::<u8>(), 0..400), ours: bool) {
        let head: &[u8] = if ours { b"sidegate sessions\n\x01\x01" } else { b"" };
        refused(&[head, &bytes].concat());
    }

    #[test]
    fn an_interrupted_export_goes_on_wherever_it_stood(at in any::<prop::sample::Index>(), torn: bool) {
        let (setup, bytes) = whole();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let file = setup.path(&SessionId::random().unwrap().to_string());
        let mut left = bytes[..at.index(bytes.len())].to_vec();
        if torn && left.len() > 256 {
            // A page that did not come to the disk.
            let from = left.len() - 100;
            left[from..].fill(0);
        }
        fs::write(part(&file), left).unwrap();
        let (moved, counts) = setup.content(&setup.path("moved"));
        runtime.block_on(async {
            let store = Memory::shared(setup.time.clone());
            for moved in &moved {
                store.restore(moved.clone()).await.unwrap();
            }
            let keys = Ring::read(&signing(setup.time.now()).write().unwrap()).unwrap();
            store.save(rotation::DOCUMENT, 0, keys.write().unwrap()).await.unwrap();
            let exported = setup.export(&store, &file).await.unwrap();
            assert_eq!(exported.counts, counts);
        });
        prop_assert_eq!(setup.content(&file), (moved, counts));
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn records_cannot_be_left_out_doubled_exchanged_or_taken_from_another_file() {
    let (setup, bytes) = whole();
    // Where each record begins.
    let mut reader = Reader::begin(Cursor::new(bytes.clone()), &setup.ring).unwrap();
    let mut begins = vec![reader.place().bytes as usize];
    while !matches!(reader.next().unwrap(), Record::End(_)) {
        begins.push(reader.place().bytes as usize);
    }
    let record = |number: usize| &bytes[begins[number]..*begins.get(number + 1).unwrap_or(&bytes.len())];
    let (head, rest) = (&bytes[..begins[0]], &bytes[begins[1]..]);
    refused(&[head, rest].concat());
    refused(&[head, record(0), record(0), rest].concat());
    refused(&[head, record(1), record(0), &bytes[begins[2]..]].concat());
    refused(&[bytes, &[0][..]].concat());
    let said = refused(&[&bytes[..begins[3]], record(2), &bytes[begins[4]..]].concat()).to_string();
    assert!(said.starts_with("record 4 (session "), "{said}");
    let runtime = Runtime::new().unwrap();
    let other = setup.path("another");
    runtime.block_on(async { setup.export(&setup.filled(7).await, &other).await.map(drop) }).unwrap();
    let other = fs::read(other).unwrap();
    refused(&[head, &other[begins[0]..]].concat());
    let mut later = bytes.clone();
    later[18] = 9;
    assert!(refused(&later).to_string().contains("format 9 by a later sidegate"));
}

/// What may happen to a session where it is.
#[derive(Debug, Clone)]
enum Event {
    Refresh { back: u64 },
    Acknowledge,
    Intend,
    Leave { doubtful: bool },
    Renew,
    Revoke,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0..2_u64).prop_map(|back| Event::Refresh { back }),
        2 => Just(Event::Acknowledge),
        3 => Just(Event::Intend),
        2 => any::<bool>().prop_map(|doubtful| Event::Leave { doubtful }),
        3 => Just(Event::Renew),
        1 => Just(Event::Revoke),
    ];
    prop::collection::vec(event, 0..12)
}

/// One second for each.
fn live(moved: &Moved, events: &[Event], mut now: UnixTime) -> Moved {
    let mut moved = moved.clone();
    for event in events {
        now = now.plus(1);
        let (state, at) = (&mut moved.session.state, UnixMillis(now.0 * 1000));
        let vouched = state.vouched.unwrap();
        match event {
            Event::Refresh { back } => drop(state.rotate(&rotate(state.generation.saturating_sub(*back), now), now)),
            Event::Acknowledge => {
                state.acknowledge(state.generation, now);
            }
            Event::Intend => {
                let step =
                    Intend { seen: vouched.generation, owner: Renewer(1), lease: std::time::Duration::from_secs(8) };
                state.intend(&step, true, now, at);
            }
            Event::Leave { doubtful } => {
                let left = if *doubtful { super::super::Left::Doubtful } else { super::super::Left::Untouched };
                state.leave(vouched.epoch, left, at);
            }
            Event::Renew => {
                let held = Held {
                    access_token: Secret::new(format!("at {}", now.0)),
                    issued: now,
                    expires: now.plus(300),
                    authority: "an authority".to_owned(),
                    refresh_token: None,
                };
                let answer = super::super::Answer::Given { held: held.clone(), renewed_for: None };
                let exchanged = state.exchange(&super::super::Renewed { epoch: vouched.epoch, answer }, now);
                if matches!(exchanged, super::super::Exchanged::Kept { .. }) {
                    moved.session.held = Some(held);
                }
            }
            Event::Revoke => {
                state.revoke(RevocationReason::Operator, now);
            }
        }
    }
    moved
}

proptest! {
    #[test]
    fn what_is_joined_is_the_newest_of_both_and_nothing_goes_back(before in events(), here in events(), there in events()) {
        let begun = UnixTime(1_000_000);
        let mut first = session("ada", begun);
        first.state.idle_until = begun.plus(HOUR);
        first.state.vouched = Some(Vouched::first(begun.plus(300)));
        let first = live(&Moved { session: first, candidates: Vec::new() }, &before, begun);
        let (then, now) = (begun.plus(20), begun.plus(40));
        let (here, there) = (live(&first, &here, then), live(&first, &there, then));

        // Of one history the newer state is what stays, whichever was there first.
        prop_assert_eq!(here.joined(&first, now), None);
        let newest = first.joined(&here, now).unwrap_or_else(|| first.clone());
        let told = |moved: &Moved| {
            let mut moved = moved.clone();
            moved.lapse();
            let state = &moved.session.state;
            let (family, revoked) = ((state.generation, state.rotated_at, state.acknowledged), state.revoked);
            // A tombstone tells no more.
            (revoked.is_none().then(|| (family, state.vouched, moved.session.held.clone())), revoked)
        };
        prop_assert_eq!(told(&newest), told(&here));

        // Of two histories nothing of either is lost.
        let both = here.joined(&there, now).unwrap_or_else(|| here.clone());
        prop_assert_eq!((both.joined(&here, now), both.joined(&there, now)), (None, None));
        let (state, mine, theirs) = (&both.session.state, &here.session.state, &there.session.state);
        prop_assert_eq!(state.revoked.is_some(), mine.revoked.is_some() || theirs.revoked.is_some());
        if state.revoked.is_none() {
            prop_assert_eq!(state.generation, mine.generation.max(theirs.generation));
            prop_assert!(mine.access.iter().chain(&theirs.access).all(|access| state.access.contains(access)));
            let renewed = |state: &State| state.vouched.map(|vouched| (vouched.generation, vouched.epoch));
            prop_assert_eq!(renewed(state), renewed(mine).max(renewed(theirs)));
        }
    }
}
