//! The store of one process, and of tests.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::{
    family::{Outcome, Refused, Rotate},
    record::{Code, RevocationReason, Session, SessionId},
    store::{Document, Filter, SessionStore, Spent, StoreError},
};
use crate::model::{Time, UnixTime};

/// Everything in one map under one lock, which is never held over an await.
pub struct Memory {
    time: Time,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: BTreeMap<SessionId, Session>,
    codes: HashMap<SessionId, (Code, bool)>,
    used: HashMap<[u8; 32], UnixTime>,
    documents: HashMap<&'static str, (u64, Vec<u8>)>,
}

impl Memory {
    pub fn new(time: Time) -> Memory {
        Memory { time, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Kept, UnixTime) -> T,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let now = self.time.now();
        ready(Ok(step(&mut self.kept(), now))).boxed()
    }
}

impl Kept {
    fn create(&mut self, session: Session, most: u32, now: UnixTime) -> Vec<SessionId> {
        let same = |other: &Session| {
            other.is_alive(now)
                && other.granted.subject == session.granted.subject
                && other.granted.username.is_some() == session.granted.username.is_some()
        };
        let mut others: Vec<(UnixTime, SessionId)> =
            self.sessions.values().filter(|other| same(other)).map(|other| (other.state.created, other.id)).collect();
        others.sort_unstable();
        let most = most.max(1) as usize;
        let superseded: Vec<SessionId> =
            others.iter().take((others.len() + 1).saturating_sub(most)).map(|(_, id)| *id).collect();
        for id in &superseded {
            if let Some(other) = self.sessions.get_mut(id) {
                other.state.revoke(RevocationReason::Superseded, now);
            }
        }
        self.sessions.insert(session.id, session);
        superseded
    }
}

impl SessionStore for Memory {
    fn now(&self) -> UnixTime {
        self.time.now()
    }

    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        self.step(|kept, now| kept.create(session, most, now))
    }

    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        self.step(|kept, now| kept.sessions.get(&id).filter(|session| now < session.state.absolute).cloned())
    }

    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.step(move |kept, now| match kept.sessions.get_mut(&id) {
            Some(session) => session.state.rotate(&step, now),
            None => Outcome::Refused(Refused::Unknown),
        })
    }

    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(move |kept, now| {
            kept.sessions.get_mut(&id).is_some_and(|session| session.is_alive(now) && session.state.revoke(reason, now))
        })
    }

    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(move |kept, now| {
            if let Some(session) = kept.sessions.get_mut(&id) {
                session.state.acknowledge(generation, now);
            }
        })
    }

    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(move |kept, _| {
            kept.codes.insert(id, (code, false));
        })
    }

    fn find_code(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>> {
        self.step(move |kept, now| kept.codes.get(&id).map(|(code, _)| code).filter(|code| now < code.expires).cloned())
    }

    fn spend_code(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Spent, StoreError>> {
        self.step(move |kept, now| match kept.codes.get_mut(&session.id) {
            Some((code, spent)) if now < code.expires => {
                if std::mem::replace(spent, true) {
                    return Spent::Before;
                }
                Spent::Now(kept.create(session, most, now))
            }
            _ => Spent::Unknown,
        })
    }

    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(move |kept, now| {
            let fresh = kept.used.get(&key).is_none_or(|until| now >= *until);
            if fresh {
                kept.used.insert(key, until);
            }
            fresh
        })
    }

    fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Session>, StoreError>> {
        self.step(move |kept, now| {
            let behind = kept.sessions.values().filter(|session| after.is_none_or(|after| session.id > after));
            behind.filter(|session| filter.matches(session, now)).take(most).cloned().collect()
        })
    }

    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.step(|kept, now| kept.sessions.values().filter(|session| session.is_alive(now)).count() as u64)
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.step(|kept, now| {
            let before = kept.sessions.len();
            kept.sessions.retain(|_, session| now < session.state.over_at());
            kept.codes.retain(|_, (code, _)| now < code.expires);
            kept.used.retain(|_, until| now < *until);
            (before - kept.sessions.len()) as u64
        })
    }

    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.step(move |kept, _| kept.documents.get(name).cloned())
    }

    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(move |kept, _| {
            let version = kept.documents.get(name).map_or(0, |(version, _)| *version);
            if version != expected {
                return false;
            }
            kept.documents.insert(name, (version + 1, content));
            true
        })
    }
}
