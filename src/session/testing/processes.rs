//! A store that several processes share, each with a clock of its own, and what they hear of each other.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::broadcast;

use crate::{
    model::{Time, UnixTime},
    session::{
        Candidate, Code, Created, Exchanged, Filter, Intend, Intended, Left, News, Outcome, Renewed, Renewer, Rotate,
        Session, SessionId, SessionStore, Slid, Slide, Spent, StoreError, Succeed, Succeeded, memory::Memory,
        record::RevocationReason, store::Document,
    },
};

/// The store itself.
pub struct Shared {
    pub inside: Memory,
    time: Time,
    ears: Mutex<Vec<(broadcast::Sender<News>, Arc<AtomicBool>)>>,
    pub away: AtomicBool,
    /// Looks so far, those under way, and the most of those.
    pub looks: AtomicUsize,
    under_way: AtomicUsize,
    pub most_at_once: AtomicUsize,
}

/// The same as one process has it.
pub struct Process {
    pub shared: Arc<Shared>,
    wrong_by: AtomicI64,
    news: broadcast::Sender<News>,
    deaf: Arc<AtomicBool>,
}

impl Shared {
    pub fn new(time: &Time) -> Arc<Shared> {
        Arc::new(Shared {
            inside: Memory::shared(time.clone()),
            time: time.clone(),
            ears: Mutex::default(),
            away: AtomicBool::new(false),
            looks: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        })
    }

    /// For a process whose clock is wrong by so many seconds.
    pub fn process(self: &Arc<Shared>, wrong_by: i64) -> Arc<Process> {
        let (news, deaf) = (broadcast::Sender::new(64), Arc::new(AtomicBool::new(false)));
        self.ears.lock().unwrap().push((news.clone(), deaf.clone()));
        Arc::new(Process { shared: self.clone(), wrong_by: wrong_by.into(), news, deaf })
    }

    fn tell(&self, what: News) {
        for (ear, deaf) in self.ears.lock().unwrap().iter() {
            if !deaf.load(Ordering::SeqCst) {
                let _ = ear.send(what);
            }
        }
    }
}

impl Process {
    /// The clock of the process.
    pub fn ours(&self) -> Time {
        self.shared.time.wrong_by(self.wrong_by.load(Ordering::SeqCst))
    }

    /// Sets it.
    pub fn set(&self, wrong_by: i64) {
        self.wrong_by.store(wrong_by, Ordering::SeqCst);
    }

    /// Nothing is heard from now on.
    pub fn deafen(&self) {
        self.deaf.store(true, Ordering::SeqCst);
        let _ = self.news.send(News::Deaf);
    }

    /// And now it is again.
    pub fn hear(&self) {
        self.deaf.store(false, Ordering::SeqCst);
        let _ = self.news.send(News::Missed);
    }

    /// What somebody says, to this process alone.
    pub fn say(&self, what: News) {
        let _ = self.news.send(what);
    }

    fn step<'a, T: Send + 'a>(
        &'a self,
        step: BoxFuture<'a, Result<T, StoreError>>,
        told: impl FnOnce(&T) -> Vec<News> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        async move {
            if self.shared.away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("test".to_owned()));
            }
            let outcome = step.await?;
            told(&outcome).into_iter().for_each(|news| self.shared.tell(news));
            Ok(outcome)
        }
        .boxed()
    }

    fn quietly<'a, T: Send + 'a>(
        &'a self,
        step: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.step(step, |_| Vec::new())
    }
}

fn ended(ids: &[SessionId]) -> Vec<News> {
    ids.iter().map(|id| News::Ended(*id)).collect()
}

impl SessionStore for Process {
    fn now(&self) -> UnixTime {
        self.shared.time.now()
    }
    fn ahead(&self) -> i64 {
        -self.wrong_by.load(Ordering::SeqCst)
    }
    fn news(&self) -> Option<broadcast::Receiver<News>> {
        Some(self.news.subscribe())
    }
    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.step(self.shared.inside.create(session, most), |created| match created {
            Created::Now(superseded) => ended(superseded),
            Created::Taken => Vec::new(),
        })
    }
    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        async move {
            let shared = &self.shared;
            shared.looks.fetch_add(1, Ordering::SeqCst);
            let now = shared.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            shared.most_at_once.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let found = self.quietly(shared.inside.find(id)).await;
            shared.under_way.fetch_sub(1, Ordering::SeqCst);
            found
        }
        .boxed()
    }
    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.step(self.shared.inside.rotate(id, step), move |outcome| match outcome {
            Outcome::Reused { .. } => ended(&[id]),
            _ => Vec::new(),
        })
    }
    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(self.shared.inside.revoke(id, reason), move |revoked| if *revoked { ended(&[id]) } else { vec![] })
    }
    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.quietly(self.shared.inside.acknowledge(id, generation))
    }
    fn intend(&self, id: SessionId, step: Intend) -> BoxFuture<'_, Result<Intended, StoreError>> {
        self.quietly(self.shared.inside.intend(id, step))
    }
    fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.quietly(self.shared.inside.extend(id, epoch, lease))
    }
    fn leave(&self, id: SessionId, epoch: u64, left: Left) -> BoxFuture<'_, Result<(), StoreError>> {
        self.quietly(self.shared.inside.leave(id, epoch, left))
    }
    fn candidates(&self, id: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>> {
        self.quietly(self.shared.inside.candidates(id))
    }
    fn lapsed(
        &self,
        owner: Renewer,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        self.quietly(self.shared.inside.lapsed(owner, after, most))
    }
    fn renew(&self, id: SessionId, renewed: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>> {
        self.step(self.shared.inside.renew(id, renewed), move |exchanged| match exchanged {
            Exchanged::Kept { .. } => vec![News::Renewed(id)],
            Exchanged::Ended => ended(&[id]),
            _ => Vec::new(),
        })
    }
    fn slide(&self, id: SessionId, step: Slide) -> BoxFuture<'_, Result<Slid, StoreError>> {
        self.quietly(self.shared.inside.slide(id, step))
    }
    fn succeed(&self, id: SessionId, step: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>> {
        self.quietly(self.shared.inside.succeed(id, step))
    }
    fn find_foreign(&self, digest: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        self.quietly(self.shared.inside.find_foreign(digest))
    }
    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        self.quietly(self.shared.inside.put_code(id, code))
    }
    fn find_code(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>> {
        self.quietly(self.shared.inside.find_code(id))
    }
    fn spend_code(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Spent, StoreError>> {
        self.step(self.shared.inside.spend_code(session, most), |spent| match spent {
            Spent::Now(superseded) => ended(superseded),
            Spent::Before | Spent::Unknown => Vec::new(),
        })
    }
    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.quietly(self.shared.inside.use_once(key, until))
    }
    fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Session>, StoreError>> {
        self.quietly(self.shared.inside.list(filter, after, most))
    }
    fn records(
        &self,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<crate::session::moving::Records, StoreError>> {
        self.quietly(self.shared.inside.records(after, most))
    }
    fn restore(
        &self,
        moved: crate::session::moving::Moved,
    ) -> BoxFuture<'_, Result<crate::session::moving::Restored, StoreError>> {
        self.quietly(self.shared.inside.restore(moved))
    }
    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.quietly(self.shared.inside.count())
    }
    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.quietly(self.shared.inside.purge())
    }
    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.quietly(self.shared.inside.load(name))
    }
    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        let saved = self.shared.inside.save(name, expected, content);
        self.step(saved, |saved| if *saved { vec![News::Document] } else { Vec::new() })
    }
}
