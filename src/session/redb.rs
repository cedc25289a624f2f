//! The store in one file of one process: what was answered has been made durable, and survives a crash.

mod file;
mod lease;
mod moving;
mod readers;
mod record;
mod steps;
mod tables;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc, RwLock,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt};
use redb::Database;
use tokio::sync::oneshot;

use self::{
    file::open,
    readers::Readers,
    tables::{Index, Tables, View},
    writer::{Answer, Failures, Open, Writer},
};
use super::{
    family::{Outcome, Rotate},
    lease::{Candidate, Intend, Intended, Left, Renewer},
    moving::{Moved, Records, Restored},
    record::{Code, RevocationReason, Session, SessionId, State},
    ring::KeyRing,
    sealed,
    slide::{Slid, Slide},
    store::{Created, Document, Filter, SessionStore, Spent, StoreError},
    succeed::{Succeed, Succeeded},
    vouched::{Exchanged, Renewed},
};
use crate::{
    crash::{self, Point},
    model::{BoxError, Time, UnixTime},
};

/// One thread writes, a few read. Dropping it ends them and closes the file.
pub struct Redb {
    time: Time,
    ring: Arc<KeyRing>,
    // `None` only in `drop`.
    steps: Option<SyncSender<writer::Job>>,
    reads: Option<Readers>,
    /// Apart: a list may be long, and no request may wait for an operator.
    lists: Option<Readers>,
    threads: Vec<JoinHandle<()>>,
}

/// Why a step or a look came to nothing.
enum Failure {
    /// The record: everything else goes on.
    Unreadable(String),
    /// The file: nothing of the transaction is kept.
    File(redb::Error),
}

impl Redb {
    /// Opens the store in `path`, or makes it.
    ///
    /// # Errors
    /// Why that cannot be, and what to do.
    pub fn open(path: &Path, ring: Arc<KeyRing>, time: Time) -> Result<Redb, BoxError> {
        let database = open(path, &ring)?;
        let again = {
            let (path, ring) = (path.to_owned(), ring.clone());
            Box::new(move || open(&path, &ring).map_err(|error| error.to_string()))
        };
        Redb::start(database, again, ring, time)
    }

    fn start(database: Database, open: Open, ring: Arc<KeyRing>, time: Time) -> Result<Redb, BoxError> {
        let file = Arc::new(RwLock::new(Some(database)));
        let (reads, mut threads) = Readers::start(&file, "sidegate-read", 2)?;
        let (lists, listing) = Readers::start(&file, "sidegate-list", 1)?;
        threads.extend(listing);
        let (steps, jobs) = sync_channel(MOST_WAITING);
        let writer = Writer { file, open, time: time.clone(), jobs, failures: Failures::default() };
        threads.push(thread::Builder::new().name("sidegate-write".to_owned()).spawn(move || writer.run())?);
        Ok(Redb { time, ring, steps: Some(steps), reads: Some(reads), lists: Some(lists), threads })
    }

    /// Has `apply` done in the next transaction; what it returns comes once that is durable.
    fn step<T: Send + 'static>(
        &self,
        apply: impl FnOnce(&mut Tables<'_>, &KeyRing, UnixTime) -> Result<T, Failure> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let (sender, receiver) = oneshot::channel();
        let ring = self.ring.clone();
        let apply = move |tables: &mut Tables<'_>, now| {
            let outcome = match apply(tables, &ring, now) {
                Ok(value) => Ok(value),
                Err(Failure::Unreadable(error)) => Err(StoreError::Unreadable(error)),
                Err(Failure::File(error)) => return Err(error),
            };
            let answer: Answer = Box::new(move || {
                // Whoever asked may have gone.
                let _ = sender.send(outcome);
            });
            Ok(answer)
        };
        async move {
            let job = writer::Job { until: Instant::now() + PATIENCE, apply: Box::new(apply) };
            match self.steps.as_ref().map(|steps| steps.try_send(job)) {
                Some(Ok(())) => {}
                Some(Err(TrySendError::Full(_))) => {
                    return Err(StoreError::Unavailable("too much is waiting for the file".to_owned()));
                }
                Some(Err(TrySendError::Disconnected(_))) | None => return Err(closed()),
            }
            answer(receiver).await
        }
        .boxed()
    }

    fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View, &KeyRing, UnixTime) -> Result<T, Failure> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        self.look_on(self.reads.as_ref(), look)
    }

    /// Has `look` done on a thread that may wait for the file.
    fn look_on<'a, T: Send + 'static>(
        &self,
        threads: Option<&'a Readers>,
        look: impl FnOnce(&View, &KeyRing, UnixTime) -> Result<T, Failure> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let (sender, receiver) = oneshot::channel();
        let (ring, time) = (self.ring.clone(), self.time.clone());
        let read = move |view: Result<&View, &redb::Error>| {
            let seen = match view.map(|view| look(view, &ring, time.now())) {
                Ok(Ok(seen)) => Ok(seen),
                Ok(Err(Failure::Unreadable(error))) => Err(StoreError::Unreadable(error)),
                Ok(Err(Failure::File(error))) => Err(StoreError::Unavailable(error.to_string())),
                Err(error) => Err(StoreError::Unavailable(error.to_string())),
            };
            // Whoever asked may have gone.
            let _ = sender.send(seen);
        };
        async move {
            let job = readers::Job { until: Instant::now() + PATIENCE, read: Box::new(read) };
            threads.ok_or_else(closed)?.send(job)?;
            answer(receiver).await
        }
        .boxed()
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

async fn answer<T>(receiver: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(PATIENCE, receiver).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(StoreError::Unavailable("the file cannot be written".to_owned())),
        Err(_) => Err(StoreError::Unavailable("the file did not answer in time".to_owned())),
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.steps = None;
        self.reads = None;
        self.lists = None;
        // Whoever opens the file next must find it closed.
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl SessionStore for Redb {
    fn now(&self) -> UnixTime {
        self.time.now()
    }

    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.step(move |tables, ring, now| steps::create(tables, &session, most, ring, now))
    }

    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        self.look(move |view, ring, now| Ok(view.find(id, ring)?.filter(|session| now < session.state.absolute)))
    }

    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.step(move |tables, _, now| steps::rotate(tables, id, &step, now))
    }

    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(move |tables, _, now| steps::revoke(tables, id, reason, now))
    }

    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(move |tables, _, now| steps::acknowledge(tables, id, generation, now))
    }

    fn intend(&self, id: SessionId, step: Intend) -> BoxFuture<'_, Result<Intended, StoreError>> {
        let time = self.time.clone();
        self.step(move |tables, _, now| lease::intend(tables, id, &step, now, time.now_millis()))
    }

    fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>> {
        let time = self.time.clone();
        self.step(move |tables, _, _| lease::extend(tables, id, epoch, lease, time.now_millis()))
    }

    fn leave(&self, id: SessionId, epoch: u64, left: Left) -> BoxFuture<'_, Result<(), StoreError>> {
        let time = self.time.clone();
        self.step(move |tables, _, _| lease::leave(tables, id, epoch, left, time.now_millis()))
    }

    fn candidates(&self, id: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>> {
        self.look(move |view, ring, _| view.candidates(id, ring))
    }

    fn lapsed(
        &self,
        owner: Renewer,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        let time = self.time.clone();
        let lapsed = move |state: &State| state.has_lapsed(owner, ALONE, time.now_millis());
        self.look_on(self.lists.as_ref(), move |view, _, _| view.intents(after, most, lapsed))
    }

    fn renew(&self, id: SessionId, renewed: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>> {
        let durable = self.step(move |tables, ring, now| lease::renew(tables, id, &renewed, ring, now));
        async move {
            let exchanged = durable.await;
            crash::point(Point::AfterJournal).await;
            exchanged
        }
        .boxed()
    }

    fn slide(&self, id: SessionId, step: Slide) -> BoxFuture<'_, Result<Slid, StoreError>> {
        self.step(move |tables, _, now| steps::slide(tables, id, &step, now))
    }

    fn succeed(&self, id: SessionId, step: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>> {
        self.step(move |tables, _, now| steps::succeed(tables, id, &step, now))
    }

    fn find_foreign(&self, digest: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        self.look(move |view, _, now| view.foreign(digest, now))
    }

    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(move |tables, ring, _| steps::put_code(tables, id, &code, ring))
    }

    fn find_code(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>> {
        self.look(move |view, ring, now| {
            let kept = view.code(id)?.filter(|code| now < code.expires);
            kept.map(|code| code.open(id, ring)).transpose()
        })
    }

    fn spend_code(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Spent, StoreError>> {
        self.step(move |tables, ring, now| steps::spend_code(tables, &session, most, ring, now))
    }

    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(move |tables, _, now| steps::use_once(tables, key, until, now))
    }

    fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Session>, StoreError>> {
        self.look_on(self.lists.as_ref(), move |view, ring, now| list(view, &filter, after, most, ring, now))
    }

    fn records(&self, after: Option<SessionId>, most: usize) -> BoxFuture<'_, Result<Records, StoreError>> {
        self.look_on(self.lists.as_ref(), move |view, ring, now| moving::records(view, after, most, ring, now))
    }

    fn restore(&self, moved: Moved) -> BoxFuture<'_, Result<Restored, StoreError>> {
        self.step(move |tables, ring, now| moving::restore(tables, &moved, ring, now))
    }

    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.look(|view, _, _| view.count())
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            let mut sessions = 0;
            loop {
                let purged = self.step(|tables, _, now| steps::purge(tables, now)).await?;
                sessions += purged.sessions;
                if !purged.more {
                    return Ok(sessions);
                }
            }
        }
        .boxed()
    }

    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.look(move |view, ring, _| view.document(name, ring))
    }

    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(move |tables, ring, _| steps::save(tables, name, expected, &content, ring))
    }
}

/// The index says where to look, the record whether it fits.
fn list(
    view: &View,
    filter: &Filter,
    after: Option<SessionId>,
    most: usize,
    ring: &KeyRing,
    now: UnixTime,
) -> Result<Vec<Session>, Failure> {
    let indexes: Vec<Option<Index>> = match (&filter.user, &filter.client) {
        (Some(user), _) => sealed::users(user, ring).map(|digest| Some(Index::User(digest))).collect(),
        (None, Some(client)) => vec![Some(Index::Client(client.clone()))],
        (None, None) => vec![None],
    };
    let mut found = Vec::new();
    for index in indexes {
        let enough = found.len() + most;
        view.ids(index.as_ref(), after, |id| {
            match view.find(id, ring) {
                Ok(Some(session)) if filter.matches(&session, now) => found.push(session),
                Ok(_) => {}
                // The others must still be seen, by whoever has to clear this up above all.
                Err(Failure::Unreadable(error)) => tracing::warn!(%id, error, "a session cannot be listed"),
                Err(error) => return Err(error),
            }
            Ok(found.len() < enough)
        })?;
    }
    found.sort_unstable_by_key(|session| session.id);
    found.dedup_by_key(|session| session.id);
    found.truncate(most);
    Ok(found)
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::File(error.into())
    }
}

/// The file is locked: no other process can have it open.
const ALONE: bool = true;
/// Steps, and looks, that wait for their turn.
const MOST_WAITING: usize = 4096;
/// How long anybody waits.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
