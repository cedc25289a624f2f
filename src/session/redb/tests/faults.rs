//! What a full disk, a slow one and a failing one do.

use std::{
    fs::OpenOptions,
    io,
    ops::Bound,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use redb::{BackendError, StorageBackend, backends::FileBackend};

use super::*;
use crate::session::testing::Scratch;

/// What a test does to the disk.
#[derive(Debug, Default)]
struct Disk {
    no_write: AtomicBool,
    no_growth: AtomicBool,
    no_sync: AtomicBool,
    no_open: AtomicBool,
    syncs: AtomicUsize,
    /// No sync comes to its end.
    stopped: AtomicBool,
}

impl Disk {
    fn check(switch: &AtomicBool) -> io::Result<()> {
        if switch.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn stop(self: &Arc<Disk>) -> Stopped {
        self.stopped.store(true, Ordering::SeqCst);
        Stopped(self.clone())
    }
}

/// Goes on when it is dropped.
struct Stopped(Arc<Disk>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.stopped.store(false, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Faulty(FileBackend, Arc<Disk>);

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        Disk::check(&self.1.no_growth)?;
        self.0.set_len(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        while self.1.stopped.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        Disk::check(&self.1.no_sync)?;
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Disk::check(&self.1.no_write)?;
        self.0.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

struct Bench {
    store: Arc<Redb>,
    disk: Arc<Disk>,
    time: Time,
    _scratch: Scratch,
}

fn bench() -> Bench {
    let (scratch, disk, time) = (Scratch::new(), Arc::new(Disk::default()), Time::default());
    let (path, ring) = (scratch.path("sessions.redb"), ring(&[1]));
    let open = {
        let (disk, ring) = (disk.clone(), ring.clone());
        move || {
            Disk::check(&disk.no_open).map_err(|error| error.to_string())?;
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            let backend = Faulty(FileBackend::new(file).unwrap(), disk.clone());
            let database = Database::builder().create_with_backend(backend).map_err(|error| error.to_string())?;
            file::prepare(&database, &ring)?;
            Ok(database)
        }
    };
    let store = Redb::start(open().unwrap(), Box::new(open), ring, time.clone()).unwrap();
    Bench { store: Arc::new(store), disk, time, _scratch: scratch }
}

/// Tries until it goes: after a failure the store rests.
async fn once_it_goes<T>(mut attempt: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The disk fails at `fault` while sessions are opened and refreshed; then it is well again.
async fn fails_and_recovers(fault: fn(&Disk) -> &AtomicBool) {
    let Bench { store, disk, time, .. } = &bench();
    let kept: Vec<Session> = (0..20).map(|_| session("ada", time.now())).collect();
    for session in &kept {
        store.create(session.clone(), 100).await.unwrap();
    }
    fault(disk).store(true, Ordering::SeqCst);
    // More than the file has room for without growing.
    let mut large = session("grace", time.now());
    large.granted.claims.insert("much".to_owned(), "x".repeat(4_000_000).into());
    let mut failed = Vec::new();
    for _ in 0..3 {
        failed.push(Session { id: SessionId::random().unwrap(), ..large.clone() });
        let steps = join_all([store.create(failed.last().unwrap().clone(), 100), store.create(large.clone(), 100)]);
        for outcome in steps.await {
            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        }
    }
    fault(disk).store(false, Ordering::SeqCst);
    for session in &kept {
        let step = rotate(1, time.now());
        let outcome = once_it_goes(async || store.rotate(session.id, step.clone()).await).await;
        assert_eq!(outcome, Outcome::Rotated { generation: 2 }, "nothing had changed");
        assert_eq!(store.find(session.id).await.unwrap().unwrap().state.generation, 2);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_steps_and_loses_nothing() {
    fails_and_recovers(|disk| &disk.no_growth).await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_refuses_steps_and_loses_nothing() {
    fails_and_recovers(|disk| &disk.no_write).await;
}

#[tokio::test]
async fn a_step_whose_sync_failed_is_not_answered_as_done_and_can_be_taken_again() {
    let Bench { store, disk, time, .. } = &bench();
    let session = session("ada", time.now());
    store.create(session.clone(), 10).await.unwrap();
    disk.no_sync.store(true, Ordering::SeqCst);
    let step = rotate(1, time.now());
    store.rotate(session.id, step.clone()).await.unwrap_err();
    disk.no_sync.store(false, Ordering::SeqCst);
    // The write may have reached the disk all the same: then this is a retry. The successor is the same.
    let outcome = once_it_goes(async || store.rotate(session.id, step.clone()).await).await;
    assert!(matches!(outcome, Outcome::Rotated { generation: 2 } | Outcome::Retried { generation: 2 }), "{outcome:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_anew_is_tried_until_it_can() {
    let Bench { store, disk, time, .. } = &bench();
    let session = session("ada", time.now());
    store.create(session.clone(), 10).await.unwrap();
    disk.no_open.store(true, Ordering::SeqCst);
    disk.no_write.store(true, Ordering::SeqCst);
    store.revoke(session.id, RevocationReason::Client).await.unwrap_err();
    // The step is given up first, then the file.
    while store.find(session.id).await.is_ok() {
        tokio::task::yield_now().await;
    }
    disk.no_write.store(false, Ordering::SeqCst);
    store.revoke(session.id, RevocationReason::Client).await.unwrap_err();
    disk.no_open.store(false, Ordering::SeqCst);
    assert!(once_it_goes(async || store.revoke(session.id, RevocationReason::Client).await).await);
    assert!(store.find(session.id).await.unwrap().unwrap().state.revoked.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_wait_together_share_a_commit_and_none_is_answered_before_it() {
    let Bench { store, disk, time, .. } = &bench();
    store.count().await.unwrap();
    let stopped = disk.stop();
    let before = disk.syncs.load(Ordering::SeqCst);
    let steps: Vec<_> = (0..200)
        .map(|_| {
            let (store, session) = (store.clone(), session("ada", time.now()));
            tokio::spawn(async move { store.create(session, 1000).await.unwrap() })
        })
        .collect();
    while disk.syncs.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    assert!(steps.iter().all(|step| !step.is_finished()), "nothing is durable yet");
    drop(stopped);
    for step in steps {
        step.await.unwrap();
    }
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs < 50, "200 steps took {syncs} syncs");
    assert_eq!(store.count().await.unwrap(), 200);
}

#[tokio::test]
async fn a_step_that_waits_too_long_and_one_too_many_are_unavailable_and_looks_go_on() {
    let Bench { store, disk, time, .. } = &bench();
    let session = session("ada", time.now());
    store.create(session.clone(), 10).await.unwrap();
    let stopped = disk.stop();
    tokio::time::pause();
    let late = store.revoke(session.id, RevocationReason::Client).await.unwrap_err();
    tokio::time::resume();
    assert!(late.to_string().contains("did not answer in time"), "{late}");
    // Its commit waits for the disk; meanwhile the queue is filled.
    let mut waiting = Vec::new();
    let full = loop {
        let mut step = store.use_once([1; 32], time.now());
        match (&mut step).now_or_never() {
            None => waiting.push(step),
            Some(outcome) => break outcome.unwrap_err(),
        }
        assert!(waiting.len() <= MOST_WAITING + 300);
    };
    assert!(full.to_string().contains("too much is waiting"), "{full}");
    assert!(store.find(session.id).await.unwrap().is_some(), "who only looks waits for nothing");
    drop(stopped);
    for step in waiting {
        step.await.unwrap();
    }
    assert!(store.find(session.id).await.unwrap().unwrap().state.revoked.is_some(), "late, but done");
}
