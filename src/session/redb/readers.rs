//! The threads that read: the file may be slow, and no request's runtime may wait for it.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use redb::ReadableDatabase;

use super::{tables::View, writer::File};

/// A look at the file that waits for a thread.
pub(super) struct Job {
    /// From then on nobody waits for it any more.
    pub until: Instant,
    pub read: Box<dyn FnOnce(Result<View, redb::Error>) + Send>,
}

/// Starts so many threads of this name.
pub(super) fn start(file: &File, name: &str, threads: usize) -> io::Result<(SyncSender<Job>, Vec<JoinHandle<()>>)> {
    let (sender, receiver) = sync_channel(MOST_WAITING);
    let receiver = Arc::new(Mutex::new(receiver));
    let reader = |at| {
        let (file, receiver) = (file.clone(), receiver.clone());
        thread::Builder::new().name(format!("{name}-{at}")).spawn(move || run(&file, &receiver))
    };
    Ok((sender, (0..threads).map(reader).collect::<io::Result<_>>()?))
}

fn run(file: &File, jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: whoever has it takes the next job.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if job.until <= Instant::now() {
            continue;
        }
        let file = file.read().unwrap_or_else(PoisonError::into_inner);
        // A damaged file may make the library panic; that must cost one answer, not the thread.
        let _ = catch_unwind(AssertUnwindSafe(|| match file.as_ref() {
            Some(database) => (job.read)(database.begin_read().map(View::new).map_err(Into::into)),
            // Dropped unanswered.
            None => drop(job.read),
        }));
    }
}

const MOST_WAITING: usize = 4096;
