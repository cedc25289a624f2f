//! What an authority outside gave, on a disk of this machine, before a store that many replicas share is told: it may be
//! the only copy, the old token is spent, and that store may be away, or forget what it was told last. What the store
//! has not spoken of when the process ends, the next one that opens the folder tells it.

mod folder;
mod live;
mod record;
mod replay;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

pub use self::live::Failing;
pub(super) use self::replay::tend;
use self::{
    folder::{Before, Folder},
    live::Shared,
    record::{Given, Key},
    writer::{Job, Limits, Writer},
};
use super::{
    record::{Held, SessionId},
    ring::KeyRing,
};
use crate::{
    model::{BoxError, Time},
    telemetry::metrics::Metrics,
};

/// One thread writes. Dropping it ends that one.
pub struct Journal {
    ring: Arc<KeyRing>,
    time: Time,
    shared: Arc<Shared>,
    // `None` only in `drop`.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Entries of which the store has not said what became.
    pub waiting: usize,
    /// Entries and files that are kept and that this process cannot read.
    pub unreadable: usize,
    /// `None`: what is given is durable here before the store is told.
    pub failing: Option<Failing>,
}

impl Journal {
    /// Takes over what processes that are gone have left in `folder`, and begins a file of its own there.
    ///
    /// # Errors
    /// What is wrong with the folder, and what to do. A disk that is full is no error: it may have room later.
    pub fn open(folder: &Path, ring: Arc<KeyRing>, time: Time, metrics: Arc<Metrics>) -> Result<Journal, BoxError> {
        Journal::start(folder, Box::new(|_| Ok(())), ring, time, metrics, LIMITS)
    }

    fn start(
        folder: &Path,
        before: Before,
        ring: Arc<KeyRing>,
        time: Time,
        metrics: Arc<Metrics>,
        limits: Limits,
    ) -> Result<Journal, BoxError> {
        let shared = Arc::new(Shared::new(metrics));
        let folder = Folder::new(folder, before);
        let writer = Writer::open(folder, ring.clone(), time.clone(), shared.clone(), limits)?;
        let (jobs, waiting) = sync_channel(MOST_WAITING);
        let thread = thread::Builder::new().name("sidegate-journal".to_owned());
        let thread = thread.spawn(move || writer.run(&waiting))?;
        Ok(Journal { ring, time, shared, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Makes durable what was given for session `id` under lease `epoch`; false if that could not be done, which is told
    /// and counted, and is no reason to wait.
    pub(super) async fn keep(&self, id: SessionId, epoch: u64, held: &Held, renewed_for: Option<u64>) -> bool {
        let kept = self.try_keep(id, epoch, held, renewed_for).await;
        if let Err(problem) = &kept {
            self.shared.metrics.journal.failed();
            if let Some(problem) = problem {
                self.shared.fails((*problem).to_owned(), self.time.now());
            }
        }
        kept.is_ok()
    }

    /// What is wrong is said if the thread that writes does not say it.
    async fn try_keep(
        &self,
        id: SessionId,
        epoch: u64,
        held: &Held,
        renewed_for: Option<u64>,
    ) -> Result<(), Option<&'static str>> {
        let key = Key { session: id, epoch };
        let given = Given { held: held.clone(), renewed_for };
        let sealed = given.seal(key, &self.ring).map_err(|_| Some("an entry could not be sealed"))?;
        let (durable, told) = oneshot::channel();
        let stuck = self.shared.stuck.load(Ordering::Relaxed);
        self.send(Job::Keep { key, sealed, durable })?;
        if stuck {
            // It gets there when the disk goes on; nobody waits for that once more.
            return Err(None);
        }
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(None),
            Err(_) => {
                self.shared.stuck.store(true, Ordering::Relaxed);
                Err(Some("the disk of the journal did not answer in time"))
            }
        }
    }

    /// The store has said what became of it.
    pub(super) fn settle(&self, id: SessionId, epoch: u64) {
        // Unheard, it is replayed, and that is when the store says so once more.
        let _ = self.send(Job::Settle(Key { session: id, epoch }));
    }

    fn send(&self, job: Job) -> Result<(), Option<&'static str>> {
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(job));
        if sent.is_some_and(|sent| sent.is_ok()) { Ok(()) } else { Err(Some("too much waits for the disk")) }
    }

    pub fn standing(&self) -> Standing {
        let live = self.shared.live();
        Standing { waiting: live.waiting(), unreadable: live.unreadable, failing: live.failing.clone() }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Whoever opens the folder next must find the file unlocked.
            let _ = thread.join();
        }
    }
}

/// Jobs that wait for their turn.
const MOST_WAITING: usize = 4096;
/// How long anybody waits for the disk. A lease is longer, and is made longer meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// A replica that takes the place of a lost primary may not know of what was acknowledged last.
const LIMITS: Limits = Limits { bytes: 64 * 1024 * 1024, kept_for: Duration::from_secs(60) };
