//! The threads that read: the file may be slow, and no request's runtime may wait for it.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use redb::ReadableDatabase;

use super::{tables::View, writer::File};
use crate::session::StoreError;

type Read = Box<dyn FnOnce(Result<&View, &redb::Error>) + Send>;

/// A look at the file that waits for a thread.
pub(super) struct Job {
    /// From then on nobody waits for it any more.
    pub until: Instant,
    pub read: Read,
}

/// Who looks. Dropped, they end with what waits.
pub(super) struct Readers(Arc<Queue>);

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    there: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    over: bool,
}

impl Readers {
    /// Starts so many threads of this name.
    pub(super) fn start(file: &File, name: &str, threads: usize) -> io::Result<(Readers, Vec<JoinHandle<()>>)> {
        let readers = Readers(Arc::default());
        let reader = |at| {
            let (file, queue) = (file.clone(), readers.0.clone());
            thread::Builder::new().name(format!("{name}-{at}")).spawn(move || run(&file, &queue))
        };
        let threads = (0..threads).map(reader).collect::<io::Result<_>>()?;
        Ok((readers, threads))
    }

    pub(super) fn send(&self, job: Job) -> Result<(), StoreError> {
        let mut jobs = self.0.lock();
        if jobs.waiting.len() >= MOST_WAITING {
            return Err(StoreError::Unavailable("too much is waiting for the file".to_owned()));
        }
        jobs.waiting.push_back(job);
        drop(jobs);
        self.0.there.notify_one();
        Ok(())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.there.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next few jobs; none: there will be no more.
    fn next(&self) -> Vec<Job> {
        let waits = |jobs: &mut Jobs| jobs.waiting.is_empty() && !jobs.over;
        let mut jobs = self.there.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        let few = jobs.waiting.len().min(MOST_AT_ONCE);
        jobs.waiting.drain(..few).collect()
    }
}

fn run(file: &File, queue: &Queue) {
    loop {
        let mut jobs = queue.next();
        if jobs.is_empty() {
            return;
        }
        let begun = Instant::now();
        jobs.retain(|job| begun < job.until);
        let file = file.read().unwrap_or_else(PoisonError::into_inner);
        // Dropped unanswered.
        let Some(database) = file.as_ref() else { continue };
        // One view for all: each was asked for before it was taken. A damaged file may make the library panic; that must
        // cost an answer, not the thread.
        let Ok(view) = catch_unwind(AssertUnwindSafe(|| database.begin_read().map(View::new).map_err(Into::into)))
        else {
            continue;
        };
        for job in jobs {
            let _ = catch_unwind(AssertUnwindSafe(|| (job.read)(view.as_ref())));
        }
    }
}

const MOST_WAITING: usize = 4096;
/// Looks that share a view of the file.
const MOST_AT_ONCE: usize = 16;
