//! A session store whose steps are counted and timed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::broadcast;

use super::{
    family::{Outcome, Rotate},
    lease::{Candidate, Intend, Intended, Left, Renewer},
    moving::{Moved, Records, Restored},
    record::{Code, RevocationReason, Session, SessionId},
    slide::{Slid, Slide},
    store::{Created, Document, Filter, News, SessionStore, Spent, StoreError},
    succeed::{Succeed, Succeeded},
    vouched::{Exchanged, Renewed},
};
use crate::{
    model::UnixTime,
    telemetry::metrics::{StoreMetrics, StoreOperation, StoreResult},
};

/// Behaves as the store inside.
pub struct Measured {
    inside: Arc<dyn SessionStore>,
    metrics: StoreMetrics,
}

impl Measured {
    pub fn new(inside: Arc<dyn SessionStore>, metrics: StoreMetrics) -> Measured {
        Measured { inside, metrics }
    }

    fn step<'a, T: 'a>(
        &'a self,
        operation: StoreOperation,
        step: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let started = Instant::now();
        async move {
            let outcome = step.await;
            let result = match &outcome {
                Ok(_) => StoreResult::Ok,
                Err(StoreError::Unavailable(_)) => StoreResult::Unavailable,
                Err(StoreError::Unreadable(_)) => StoreResult::Unreadable,
            };
            self.metrics.took(operation, result, started.elapsed());
            outcome
        }
        .boxed()
    }
}

impl SessionStore for Measured {
    fn now(&self) -> UnixTime {
        self.inside.now()
    }

    fn ahead(&self) -> i64 {
        self.inside.ahead()
    }

    fn news(&self) -> Option<broadcast::Receiver<News>> {
        self.inside.news()
    }

    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.step(StoreOperation::Open, self.inside.create(session, most))
    }

    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        self.step(StoreOperation::Find, self.inside.find(id))
    }

    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.step(StoreOperation::Rotate, self.inside.rotate(id, step))
    }

    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(StoreOperation::Revoke, self.inside.revoke(id, reason))
    }

    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(StoreOperation::Note, self.inside.acknowledge(id, generation))
    }

    fn intend(&self, id: SessionId, step: Intend) -> BoxFuture<'_, Result<Intended, StoreError>> {
        self.step(StoreOperation::Lease, self.inside.intend(id, step))
    }

    fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(StoreOperation::Lease, self.inside.extend(id, epoch, lease))
    }

    fn leave(&self, id: SessionId, epoch: u64, left: Left) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(StoreOperation::Lease, self.inside.leave(id, epoch, left))
    }

    fn candidates(&self, id: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>> {
        self.step(StoreOperation::Find, self.inside.candidates(id))
    }

    fn lapsed(
        &self,
        owner: Renewer,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        self.step(StoreOperation::List, self.inside.lapsed(owner, after, most))
    }

    fn renew(&self, id: SessionId, renewed: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>> {
        self.step(StoreOperation::Renew, self.inside.renew(id, renewed))
    }

    fn slide(&self, id: SessionId, step: Slide) -> BoxFuture<'_, Result<Slid, StoreError>> {
        self.step(StoreOperation::Slide, self.inside.slide(id, step))
    }

    fn succeed(&self, id: SessionId, step: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>> {
        self.step(StoreOperation::Succeed, self.inside.succeed(id, step))
    }

    fn find_foreign(&self, digest: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        self.step(StoreOperation::Find, self.inside.find_foreign(digest))
    }

    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(StoreOperation::Note, self.inside.put_code(id, code))
    }

    fn find_code(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>> {
        self.step(StoreOperation::Find, self.inside.find_code(id))
    }

    fn spend_code(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Spent, StoreError>> {
        self.step(StoreOperation::Open, self.inside.spend_code(session, most))
    }

    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(StoreOperation::Note, self.inside.use_once(key, until))
    }

    fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Session>, StoreError>> {
        self.step(StoreOperation::List, self.inside.list(filter, after, most))
    }

    fn records(&self, after: Option<SessionId>, most: usize) -> BoxFuture<'_, Result<Records, StoreError>> {
        self.step(StoreOperation::List, self.inside.records(after, most))
    }

    fn restore(&self, moved: Moved) -> BoxFuture<'_, Result<Restored, StoreError>> {
        self.step(StoreOperation::Open, self.inside.restore(moved))
    }

    /// Not counted: nobody who serves asks.
    fn listeners(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inside.listeners()
    }

    /// Not counted: it is what a scrape of the counters asks.
    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inside.count()
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.step(StoreOperation::Purge, self.inside.purge())
    }

    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.step(StoreOperation::Document, self.inside.load(name))
    }

    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(StoreOperation::Document, self.inside.save(name, expected, content))
    }
}
