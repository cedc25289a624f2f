//! The one thread that writes. Steps that wait together are applied to one transaction and made durable by one commit;
//! each is answered only after it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use redb::Database;

use super::{Failure, steps, tables::Tables};
use crate::model::{Time, UnixTime};

/// The open file; `None` while it is not usable.
pub(super) type File = Arc<RwLock<Option<Database>>>;

/// Opens the file anew.
pub(super) type Open = Box<dyn Fn() -> Result<Database, String> + Send>;

/// Sends a step's answer. Dropped unsent, it says that the store is not available.
pub(super) type Answer = Box<dyn FnOnce() + Send>;

type Apply = Box<dyn FnOnce(&mut Tables<'_>, UnixTime) -> Result<Answer, redb::Error> + Send>;

/// A step that waits for its turn.
pub(super) struct Job {
    /// From then on nobody waits for it any more.
    pub until: Instant,
    pub apply: Apply,
}

pub(super) struct Writer {
    pub file: File,
    pub open: Open,
    pub time: Time,
    pub jobs: Receiver<Job>,
    pub failures: Failures,
}

/// A full disk is not full for a moment only, and each attempt ends with opening the file anew: they become rarer.
#[derive(Default)]
pub(super) struct Failures {
    in_a_row: u32,
    rest_until: Option<Instant>,
}

impl Writer {
    /// Until nobody can send a step any more.
    pub(super) fn run(mut self) {
        let mut purge_at = Instant::now();
        let mut batch = Vec::with_capacity(MOST_STEPS);
        loop {
            match self.jobs.recv_timeout(purge_at.saturating_duration_since(Instant::now())) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            batch.extend(self.jobs.try_iter().take(MOST_STEPS - batch.len()));
            let purge = purge_at <= Instant::now();
            let more = self.turn(&mut batch, purge);
            // Dropped unanswered, all that were not applied and committed.
            batch.clear();
            if purge && !more {
                purge_at = Instant::now() + PURGE_EVERY;
            }
        }
    }

    /// Applies and commits one batch. Says whether the purge is to go on at once.
    fn turn(&mut self, batch: &mut Vec<Job>, purge: bool) -> bool {
        if self.failures.rest_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        match self.attempt(batch, purge) {
            Ok(more) => {
                if std::mem::take(&mut self.failures).in_a_row > 0 {
                    tracing::info!("the session store can be written again");
                }
                more
            }
            Err(error) => {
                if self.failures.in_a_row == 0 {
                    tracing::error!(error, "the session store cannot be written; it is tried again");
                } else {
                    tracing::debug!(error, "the session store still cannot be written");
                }
                let rest = FIRST_REST.saturating_mul(1 << self.failures.in_a_row.min(4));
                self.failures.in_a_row = self.failures.in_a_row.saturating_add(1);
                self.failures.rest_until = Some(Instant::now() + rest);
                false
            }
        }
    }

    fn attempt(&self, batch: &mut Vec<Job>, purge: bool) -> Result<bool, String> {
        self.reopen_if_closed()?;
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = file.as_ref() else { return Err("it is closed".to_owned()) };
        // A damaged file may make the library panic; that must cost one batch, not the store.
        let done = catch_unwind(AssertUnwindSafe(|| self.transaction(database, batch, purge)));
        let error = match done {
            Ok(Ok(more)) => return Ok(more),
            Ok(Err(error)) => error.to_string(),
            Err(_) => PANIC.to_owned(),
        };
        drop(file);
        // After an I/O error nothing more can be done with what is open. Those who read need it open again.
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = None;
        match self.reopen_if_closed() {
            Ok(()) => Err(error),
            Err(reason) => Err(format!("{error}; then, opening it anew: {reason}")),
        }
    }

    fn transaction(&self, database: &Database, batch: &mut Vec<Job>, purge: bool) -> Result<bool, redb::Error> {
        let transaction = database.begin_write()?;
        let mut answers = Vec::with_capacity(batch.len());
        let mut more = false;
        let changed = {
            let mut tables = Tables::open(&transaction)?;
            let begun = Instant::now();
            for job in batch.drain(..).filter(|job| begun < job.until) {
                answers.push((job.apply)(&mut tables, self.time.now())?);
            }
            if purge {
                match steps::purge(&mut tables, self.time.now()) {
                    Ok(purged) => more = purged.more,
                    Err(Failure::File(error)) => return Err(error),
                    Err(Failure::Unreadable(error)) => tracing::warn!(error, "what is over could not be purged"),
                }
            }
            tables.changed
        };
        if changed {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        answers.into_iter().for_each(|answer| answer());
        Ok(more)
    }

    fn reopen_if_closed(&self) -> Result<(), String> {
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            let opened = catch_unwind(AssertUnwindSafe(|| (self.open)()));
            *file = Some(opened.unwrap_or_else(|_| Err(PANIC.to_owned()))?);
        }
        Ok(())
    }
}

/// Steps that one commit carries.
const MOST_STEPS: usize = 256;
/// Between two looks at what is over.
const PURGE_EVERY: Duration = Duration::from_secs(10);
/// After the first failure; twice as long after each further one, at most 16 times as long.
const FIRST_REST: Duration = Duration::from_millis(250);
const PANIC: &str = "a panic; the file may be damaged";
