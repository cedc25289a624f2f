//! The threads that hash passwords: few, so that the proxy keeps the rest of the machine, and with a bounded line.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use tokio::sync::oneshot;

use super::line::{Full, Line};

/// Dedicated threads: the queue of a runtime's blocking pool has no bound, and each worker's runtime has its own.
pub(super) struct Pool {
    line: Line,
    jobs: mpsc::Sender<Job>,
}

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotDone {
    Full,
    Panicked,
}

type Job = Box<dyn FnOnce() + Send>;

impl Pool {
    /// # Errors
    /// If the system gives no thread.
    pub fn new(size: usize) -> io::Result<Pool> {
        let (jobs, list) = mpsc::channel::<Job>();
        let list = Arc::new(Mutex::new(list));
        for number in 0..size {
            let list = list.clone();
            thread::Builder::new().name(format!("sidegate-password-{number}")).spawn(move || work(&list))?;
        }
        Ok(Pool { line: Line::new(size), jobs })
    }

    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Does `job` on one of the threads, once one is free.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, NotDone> {
        let place = self.line.enter().await.map_err(|Full| NotDone::Full)?;
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            // Held until the work is done, also if the one who asked has gone: a thread is busy for that long.
            let _place = place;
            let _ = answer.send(job());
        });
        self.jobs.send(job).map_err(|_| NotDone::Panicked)?;
        answered.await.map_err(|_| NotDone::Panicked)
    }
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>) {
    // Requests come first where there are fewer CPUs than work. On Linux this is about the calling thread alone.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "passwords are checked at the priority of requests");
    }
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // One check that fails in a way nobody foresaw must not end the thread, and with it all later checks.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a password check failed unexpectedly");
        }
    }
}

/// As `nice` has it: 0 is like the rest of the process, 19 takes only what nobody else wants.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_the_thread_goes_on() {
        let pool = Pool::new(1).unwrap();
        for _ in 0..3 {
            assert_eq!(pool.run(|| panic!("by the test")).await, Err::<(), _>(NotDone::Panicked));
        }
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn only_so_many_run_at_once_and_the_rest_is_refused() {
        let pool = Arc::new(Pool::new(1).unwrap());
        let (release, held) = mpsc::channel::<()>();
        let (started, begun) = oneshot::channel();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run(move || {
                    let _ = started.send(());
                    let _ = held.recv();
                })
                .await
            }
        });
        begun.await.unwrap();
        let more: Vec<_> = (0..20)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.run(|| ()).await })
            })
            .collect();
        // The runtime has one thread: every one of them has entered or was refused once this one goes on.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(()));
        let mut done = 0;
        for one in more {
            done += usize::from(one.await.unwrap().is_ok());
        }
        assert_eq!(done, 4);
    }
}
