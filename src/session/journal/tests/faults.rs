//! What a full disk, a slow one and a failing one do.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize},
};

use futures_util::future::join_all;

use super::{super::folder::Doing, *};

/// What a test does to the disk.
#[derive(Default)]
struct Disk {
    fails: Mutex<Vec<Doing>>,
    syncs: AtomicUsize,
    /// No sync comes to its end.
    stopped: AtomicBool,
}

impl Disk {
    fn fail(&self, doing: &[Doing]) {
        *self.fails.lock().unwrap() = doing.to_vec();
    }

    fn open(self: &Arc<Disk>, scratch: &Scratch) -> Journal {
        self.open_within(scratch, LIMITS.bytes)
    }

    fn open_within(self: &Arc<Disk>, scratch: &Scratch, bytes: usize) -> Journal {
        let disk = self.clone();
        let before = move |doing| {
            if doing == Doing::Sync {
                disk.syncs.fetch_add(1, Ordering::SeqCst);
                while disk.stopped.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            let fails = disk.fails.lock().unwrap().contains(&doing);
            if fails { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        let (folder, metrics) = (scratch.path("journal"), Arc::new(Metrics::new()));
        let limits = Limits { bytes, kept_for: Duration::ZERO };
        Journal::start(&folder, Box::new(before), ring(&[1]), Time::default(), metrics, limits).unwrap()
    }
}

/// The disk fails at `doing` while something is given; then it is well again.
async fn fails_and_recovers(doing: &[Doing]) {
    let (scratch, disk, (store, id, epoch)) = (Scratch::new(), Arc::new(Disk::default()), store().await);
    let journal = disk.open(&scratch);
    assert!(journal.keep(id, epoch, &held("second"), None).await);
    disk.fail(doing);
    for epoch in 10..13 {
        assert!(!journal.keep(id, epoch, &held("never"), None).await);
    }
    let failing = journal.standing().failing.unwrap();
    assert!(failing.error.contains("look at the disk"), "{failing:?}");
    assert_eq!(journal.standing().waiting, 1);
    let failed = String::from_utf8(journal.shared.metrics.render()).unwrap();
    assert!(failed.contains("sidegate_journal_failures_total 3"), "{failed}");
    disk.fail(&[]);
    // Nobody has to come for that.
    until(&journal, |journal| journal.standing().failing.is_none());
    assert!(journal.keep(SessionId([8; 16]), 1, &held("other"), None).await);
    drop(journal);
    let next = disk.open(&scratch);
    assert_eq!(next.standing(), Standing { waiting: 2, unreadable: 0, failing: None });
    next.replay(&store, OWNER).await;
    assert_eq!(token(&store, id).await, "second", "what was durable before is there");
}

#[tokio::test]
async fn a_full_disk_stops_no_renewal_and_loses_nothing_that_was_durable() {
    fails_and_recovers(&[Doing::Write]).await;
}

#[tokio::test]
async fn a_disk_that_cannot_sync_is_not_believed() {
    fails_and_recovers(&[Doing::Sync]).await;
}

#[tokio::test]
async fn a_disk_that_refuses_everything_is_tried_until_it_does_not() {
    fails_and_recovers(&[Doing::Create, Doing::Write, Doing::Sync, Doing::Truncate, Doing::Remove]).await;
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_used_once_it_has_room() {
    let (scratch, disk, (_, id, epoch)) = (Scratch::new(), Arc::new(Disk::default()), store().await);
    disk.fail(&[Doing::Write]);
    let journal = disk.open(&scratch);
    assert!(journal.standing().failing.is_some());
    assert!(!journal.keep(id, epoch, &held("second"), None).await);
    disk.fail(&[]);
    until(&journal, |journal| journal.standing().failing.is_none());
    assert!(journal.keep(id, epoch, &held("second"), None).await);
    assert_eq!(files(&scratch).len(), 1, "what could not be written is not left lying about");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_wait_together_share_a_sync_and_none_is_durable_before_it() {
    let (scratch, disk) = (Scratch::new(), Arc::new(Disk::default()));
    let journal = Arc::new(disk.open(&scratch));
    disk.stopped.store(true, Ordering::SeqCst);
    let before = disk.syncs.load(Ordering::SeqCst);
    let kept: Vec<_> = (0..200)
        .map(|epoch| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.keep(SessionId([1; 16]), epoch, &held("token"), None).await })
        })
        .collect();
    while disk.syncs.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    assert!(kept.iter().all(|kept| !kept.is_finished()), "nothing is durable yet");
    disk.stopped.store(false, Ordering::SeqCst);
    assert!(join_all(kept).await.into_iter().all(Result::unwrap));
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs < 50, "200 entries took {syncs} syncs");
    assert_eq!(journal.standing().waiting, 200);
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_waited_for_once_and_what_it_was_given_gets_there() {
    let (scratch, disk) = (Scratch::new(), Arc::new(Disk::default()));
    let journal = disk.open(&scratch);
    disk.stopped.store(true, Ordering::SeqCst);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    for epoch in 1..4 {
        assert!(!journal.keep(SessionId([1; 16]), epoch, &held("token"), None).await);
    }
    assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    let failing = journal.standing().failing.unwrap();
    assert!(failing.error.contains("did not answer in time"), "{failing:?}");
    disk.stopped.store(false, Ordering::SeqCst);
    until(&journal, |journal| journal.standing().waiting == 3);
    assert_eq!(journal.standing().failing, None);
}

#[tokio::test]
async fn a_journal_has_a_size_and_says_so_and_has_room_again_when_the_store_is_back() {
    let (scratch, disk) = (Scratch::new(), Arc::new(Disk::default()));
    let journal = disk.open_within(&scratch, 100_000);
    let large = held(&"x".repeat(20_000));
    let id = SessionId([1; 16]);
    for epoch in 1..3 {
        assert!(journal.keep(id, epoch, &large, None).await);
    }
    assert!(!journal.keep(id, 3, &large, None).await);
    let failing = journal.standing().failing.unwrap();
    assert!(failing.error.contains("the journal is full: 2 entries"), "{failing:?}");
    journal.settle(id, 1);
    journal.settle(id, 2);
    until(&journal, |journal| journal.standing().failing.is_none());
    assert!(journal.keep(id, 3, &large, None).await);
    assert_eq!(journal.standing().waiting, 1);
}
