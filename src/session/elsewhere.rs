//! The store of a process that only answers a question beside the one that serves: sessions are not there to be read.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::{
    family::{Outcome, Rotate},
    lease::{Candidate, Intend, Intended, Left, Renewer},
    memory::Memory,
    moving::{Moved, Records, Restored},
    record::{Code, RevocationReason, Session, SessionId},
    slide::{Slid, Slide},
    store::{Created, Document, Filter, SessionStore, Spent, StoreError},
    succeed::{Succeed, Succeeded},
    vouched::{Exchanged, Renewed},
};
use crate::model::{Time, UnixTime};

/// Says of every session where it can be asked for. Documents are kept as long as the process lives.
pub struct Elsewhere(Memory);

impl Elsewhere {
    pub fn new(time: Time) -> Elsewhere {
        Elsewhere(Memory::new(time))
    }
}

fn elsewhere<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
    let hint = "it belongs to the process that serves; `sidegate sessions` asks that one";
    ready(Err(StoreError::Unavailable(hint.to_owned()))).boxed()
}

impl SessionStore for Elsewhere {
    fn now(&self) -> UnixTime {
        self.0.now()
    }

    fn create(&self, _: Session, _: u32) -> BoxFuture<'_, Result<Created, StoreError>> {
        elsewhere()
    }

    fn find(&self, _: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        elsewhere()
    }

    fn rotate(&self, _: SessionId, _: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        elsewhere()
    }

    fn revoke(&self, _: SessionId, _: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        elsewhere()
    }

    fn acknowledge(&self, _: SessionId, _: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        elsewhere()
    }

    fn intend(&self, _: SessionId, _: Intend) -> BoxFuture<'_, Result<Intended, StoreError>> {
        elsewhere()
    }

    fn extend(&self, _: SessionId, _: u64, _: Duration) -> BoxFuture<'_, Result<bool, StoreError>> {
        elsewhere()
    }

    fn leave(&self, _: SessionId, _: u64, _: Left) -> BoxFuture<'_, Result<(), StoreError>> {
        elsewhere()
    }

    fn candidates(&self, _: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>> {
        elsewhere()
    }

    fn lapsed(&self, _: Renewer, _: Option<SessionId>, _: usize) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        elsewhere()
    }

    fn renew(&self, _: SessionId, _: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>> {
        elsewhere()
    }

    fn slide(&self, _: SessionId, _: Slide) -> BoxFuture<'_, Result<Slid, StoreError>> {
        elsewhere()
    }

    fn succeed(&self, _: SessionId, _: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>> {
        elsewhere()
    }

    fn find_foreign(&self, _: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        elsewhere()
    }

    fn put_code(&self, _: SessionId, _: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        elsewhere()
    }

    fn find_code(&self, _: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>> {
        elsewhere()
    }

    fn spend_code(&self, _: Session, _: u32) -> BoxFuture<'_, Result<Spent, StoreError>> {
        elsewhere()
    }

    fn use_once(&self, _: [u8; 32], _: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        elsewhere()
    }

    fn list(&self, _: Filter, _: Option<SessionId>, _: usize) -> BoxFuture<'_, Result<Vec<Session>, StoreError>> {
        elsewhere()
    }

    fn records(&self, _: Option<SessionId>, _: usize) -> BoxFuture<'_, Result<Records, StoreError>> {
        elsewhere()
    }

    fn restore(&self, _: Moved) -> BoxFuture<'_, Result<Restored, StoreError>> {
        elsewhere()
    }

    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        elsewhere()
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        elsewhere()
    }

    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.0.load(name)
    }

    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.0.save(name, expected, content)
    }
}
