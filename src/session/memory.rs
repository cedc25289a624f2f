//! The store of one process, and of tests.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Unbounded},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::{
    family::{Outcome, Refused, Rotate},
    lease::{Candidate, Intend, Intended, Left, MOST_CANDIDATES, Renewer},
    moving::{Moved, Records, Restored},
    record::{Code, RevocationReason, Session, SessionId},
    slide::{Slid, Slide},
    store::{Created, Document, Filter, SessionStore, Spent, StoreError},
    succeed::{Succeed, Succeeded},
    vouched::{Answer, Exchanged, Renewed},
};
use crate::model::{Time, UnixTime};

/// Everything in one map under one lock, which is never held over an await.
pub struct Memory {
    time: Time,
    /// No other process knows of it.
    alone: bool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions that were not revoked, by owner: when they were created, and their ids.
    live: HashMap<Owner, BTreeSet<(UnixTime, SessionId)>>,
    /// Sessions that somebody is renewing, or was; some may have ended since.
    intents: BTreeSet<SessionId>,
    /// Oldest first, each with the generation that it came too late for.
    candidates: HashMap<SessionId, Vec<(u64, Candidate)>>,
    /// Of the authority's own access tokens; what is over is found out when it is asked for, or goes with its session.
    foreign: HashMap<[u8; 16], SessionId>,
    codes: HashMap<SessionId, (Code, bool)>,
    used: HashMap<[u8; 32], UnixTime>,
    documents: HashMap<&'static str, (u64, Vec<u8>)>,
    /// When what is over is looked for again.
    purge_at: UnixTime,
}

/// Whose sessions are counted together: a user's, or those of a client on its own behalf.
#[derive(PartialEq, Eq, Hash)]
struct Owner {
    subject: String,
    is_user: bool,
}

impl Owner {
    fn of(session: &Session) -> Owner {
        Owner { subject: session.granted.subject.clone(), is_user: session.granted.username.is_some() }
    }
}

impl Memory {
    pub fn new(time: Time) -> Memory {
        Memory { time, alone: true, kept: Mutex::default() }
    }

    /// As if several processes shared it, for whom one may be at what another began. Nothing but tests can do that.
    pub fn shared(time: Time) -> Memory {
        Memory { alone: false, ..Memory::new(time) }
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
    fn create(&mut self, session: Session, most: u32, now: UnixTime) -> Created {
        self.purge_if_due(now);
        if self.sessions.get(&session.id).is_some_and(|kept| !kept.is_same(&session)) {
            return Created::Taken;
        }
        let mine = self.live.entry(Owner::of(&session)).or_default();
        mine.insert((session.state.created, session.id));
        let mut superseded = Vec::new();
        while mine.len() > most.max(1) as usize {
            let oldest = mine.iter().copied().find(|(_, id)| *id != session.id);
            let Some(oldest) = oldest else { break };
            mine.remove(&oldest);
            if let Some(other) = self.sessions.get_mut(&oldest.1)
                && other.is_alive(now)
            {
                other.state.revoke(RevocationReason::Superseded, now);
                superseded.push(oldest.1);
            }
        }
        self.index(&session);
        self.sessions.insert(session.id, session);
        Created::Now(superseded)
    }

    fn index(&mut self, session: &Session) {
        let foreign = session.state.access.iter().filter(|access| access.foreign);
        self.foreign.extend(foreign.map(|access| (access.digest, session.id)));
    }

    fn find_foreign(&self, digest: &[u8; 16], now: UnixTime) -> Option<SessionId> {
        let session = self.sessions.get(self.foreign.get(digest)?)?;
        session.state.access(digest, now).filter(|access| access.foreign).map(|_| session.id)
    }

    /// Keeps what came too late for the session as it is now.
    fn put_aside(&mut self, id: SessionId, generation: u64, candidate: Candidate) {
        let candidates = self.candidates.entry(id).or_default();
        candidates.retain(|(_, known)| known.epoch != candidate.epoch);
        candidates.push((generation, candidate));
        if candidates.len() > MOST_CANDIDATES {
            candidates.remove(0);
        }
    }

    fn record(&self, session: &Session) -> Moved {
        let candidates = self.candidates.get(&session.id).into_iter().flatten().rev();
        let candidates = candidates.map(|(_, candidate)| candidate.clone()).collect();
        Moved { session: session.clone(), candidates }
    }

    fn restore(&mut self, moved: Moved, now: UnixTime) -> Restored {
        let id = moved.session.id;
        let moved = match self.sessions.get(&id) {
            Some(kept) if !kept.is_same(&moved.session) => return Restored::Taken,
            Some(kept) => match self.record(kept).joined(&moved, now) {
                Some(joined) => joined,
                None => return Restored::There,
            },
            None => moved,
        };
        let Moved { session, candidates } = moved;
        Kept::ended(&mut self.live, &session);
        self.forget_renewal(id);
        if session.state.revoked.is_none() {
            self.live.entry(Owner::of(&session)).or_default().insert((session.state.created, id));
        }
        if session.state.has_intent() {
            self.intents.insert(id);
        }
        let generation = session.state.vouched.map_or(0, |vouched| vouched.generation);
        candidates.into_iter().rev().for_each(|candidate| self.put_aside(id, generation, candidate));
        self.index(&session);
        self.sessions.insert(id, session);
        Restored::Kept
    }

    /// What is not renewed any more needs neither.
    fn forget_renewal(&mut self, id: SessionId) {
        self.intents.remove(&id);
        self.candidates.remove(&id);
    }

    /// Takes a session that has ended out of those that count.
    fn ended(live: &mut HashMap<Owner, BTreeSet<(UnixTime, SessionId)>>, session: &Session) {
        let owner = Owner::of(session);
        if let Some(mine) = live.get_mut(&owner) {
            mine.remove(&(session.state.created, session.id));
            if mine.is_empty() {
                live.remove(&owner);
            }
        }
    }

    /// Whoever adds something clears away: what nobody adds to does not grow.
    fn purge_if_due(&mut self, now: UnixTime) {
        if now >= self.purge_at {
            self.purge(now);
        }
    }

    fn purge(&mut self, now: UnixTime) -> u64 {
        self.purge_at = now.plus(PURGE_EVERY);
        let before = self.sessions.len();
        let live = &mut self.live;
        self.sessions.retain(|_, session| {
            let stays = now < session.state.over_at();
            if !stays {
                Kept::ended(live, session);
            }
            stays
        });
        let sessions = &self.sessions;
        let lives = |id: &SessionId| sessions.get(id).is_some_and(|session| session.state.revoked.is_none());
        self.intents.retain(lives);
        self.candidates.retain(|id, _| lives(id));
        self.foreign.retain(|digest, id| sessions.get(id).is_some_and(|of| of.state.access(digest, now).is_some()));
        self.codes.retain(|_, (code, _)| now < code.expires);
        self.used.retain(|_, until| now < *until);
        (before - self.sessions.len()) as u64
    }
}

impl SessionStore for Memory {
    fn now(&self) -> UnixTime {
        self.time.now()
    }

    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.step(|kept, now| kept.create(session, most, now))
    }

    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        self.step(|kept, now| kept.sessions.get(&id).filter(|session| now < session.state.absolute).cloned())
    }

    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.step(move |kept, now| match kept.sessions.get_mut(&id) {
            Some(session) => {
                let outcome = session.state.rotate(&step, now);
                if step.access.foreign && session.state.access(&step.access.digest, now).is_some() {
                    kept.foreign.insert(step.access.digest, id);
                }
                if matches!(outcome, Outcome::Reused { .. }) {
                    Kept::ended(&mut kept.live, session);
                }
                outcome
            }
            None => Outcome::Refused(Refused::Unknown),
        })
    }

    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(move |kept, now| {
            let session = kept.sessions.get_mut(&id).filter(|session| session.is_alive(now));
            session.is_some_and(|session| {
                Kept::ended(&mut kept.live, session);
                session.state.revoke(reason, now)
            })
        })
    }

    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(move |kept, now| {
            if let Some(session) = kept.sessions.get_mut(&id) {
                session.state.acknowledge(generation, now);
            }
        })
    }

    fn intend(&self, id: SessionId, step: Intend) -> BoxFuture<'_, Result<Intended, StoreError>> {
        let (alone, at) = (self.alone, self.time.now_millis());
        self.step(move |kept, now| {
            let Some(session) = kept.sessions.get_mut(&id) else { return Intended::Gone };
            let intended = session.state.intend(&step, alone, now, at);
            if session.state.has_intent() {
                kept.intents.insert(id);
            }
            intended
        })
    }

    fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>> {
        let at = self.time.now_millis();
        self.step(move |kept, _| {
            let session = kept.sessions.get_mut(&id);
            session.is_some_and(|session| session.state.extend(epoch, lease, at))
        })
    }

    fn leave(&self, id: SessionId, epoch: u64, left: Left) -> BoxFuture<'_, Result<(), StoreError>> {
        let at = self.time.now_millis();
        self.step(move |kept, _| {
            if let Some(session) = kept.sessions.get_mut(&id) {
                session.state.leave(epoch, left, at);
                if !session.state.has_intent() {
                    kept.intents.remove(&id);
                }
            }
        })
    }

    fn candidates(&self, id: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>> {
        self.step(move |kept, _| {
            let candidates = kept.candidates.get(&id).into_iter().flatten().rev();
            candidates.map(|(_, candidate)| candidate.clone()).collect()
        })
    }

    fn lapsed(
        &self,
        owner: Renewer,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        let (alone, at) = (self.alone, self.time.now_millis());
        self.step(move |kept, _| {
            let sessions = &kept.sessions;
            let has_lapsed =
                |id: &&SessionId| sessions.get(*id).is_some_and(|session| session.state.has_lapsed(owner, alone, at));
            let behind = kept.intents.range((after.map_or(Unbounded, Excluded), Unbounded));
            behind.filter(has_lapsed).take(most).copied().collect()
        })
    }

    fn renew(&self, id: SessionId, renewed: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>> {
        self.step(move |kept, now| {
            let Some(session) = kept.sessions.get_mut(&id) else { return Exchanged::Gone };
            let candidates = kept.candidates.get(&id).into_iter().flatten().map(|(_, candidate)| candidate.epoch);
            if renewed.answer.leaves(candidates) {
                return Exchanged::Untried;
            }
            let exchanged = session.state.exchange(&renewed, now);
            let generation = session.state.vouched.map_or(0, |vouched| vouched.generation);
            match (exchanged, renewed.answer) {
                (Exchanged::Kept { generation }, Answer::Given { held, .. }) => {
                    session.held = Some(held);
                    kept.intents.remove(&id);
                    if let Some(candidates) = kept.candidates.get_mut(&id) {
                        candidates.retain(|(since, _)| since.saturating_add(1) >= generation);
                    }
                }
                (Exchanged::Aside, Answer::Given { held, .. }) => {
                    kept.put_aside(id, generation, Candidate { epoch: renewed.epoch, held });
                }
                (Exchanged::Ended, _) => {
                    Kept::ended(&mut kept.live, session);
                    kept.forget_renewal(id);
                }
                _ => {}
            }
            exchanged
        })
    }

    fn slide(&self, id: SessionId, step: Slide) -> BoxFuture<'_, Result<Slid, StoreError>> {
        self.step(move |kept, now| match kept.sessions.get_mut(&id) {
            Some(session) => session.state.slide(&step, now),
            None => Slid::Gone,
        })
    }

    fn succeed(&self, id: SessionId, step: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>> {
        self.step(move |kept, now| match kept.sessions.get_mut(&id) {
            Some(session) => session.state.succeed(&step, now),
            None => Succeeded::Gone,
        })
    }

    fn find_foreign(&self, digest: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        self.step(move |kept, now| kept.find_foreign(&digest, now))
    }

    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        self.step(move |kept, now| {
            kept.purge_if_due(now);
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
                kept.create(session, most, now).into()
            }
            _ => Spent::Unknown,
        })
    }

    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.step(move |kept, now| {
            kept.purge_if_due(now);
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

    fn records(&self, after: Option<SessionId>, most: usize) -> BoxFuture<'_, Result<Records, StoreError>> {
        self.step(move |kept, now| {
            let behind = kept.sessions.range((after.map_or(Unbounded, Excluded), Unbounded)).take(most);
            let mut records = Records::default();
            for (number, (id, session)) in behind.enumerate() {
                records.last = (number + 1 == most).then_some(*id);
                if now < session.state.over_at() {
                    records.moved.push(kept.record(session));
                }
            }
            records
        })
    }

    fn restore(&self, moved: Moved) -> BoxFuture<'_, Result<Restored, StoreError>> {
        self.step(|kept, now| kept.restore(moved, now))
    }

    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.step(|kept, now| kept.sessions.values().filter(|session| session.is_alive(now)).count() as u64)
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.step(Kept::purge)
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

/// Seconds.
const PURGE_EVERY: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testing::{DAY, HOUR, code, session};

    #[tokio::test]
    async fn what_is_over_goes_by_itself_so_that_memory_does_not_grow_without_bound() {
        let time = Time::default();
        let store = Memory::new(time.clone());
        for number in 0..1000_u32 {
            let now = time.now();
            let name = format!("user {}", number % 10);
            store.create(session(&name, now), 100).await.unwrap();
            store.put_code(SessionId::random().unwrap(), code(&name, now.plus(60))).await.unwrap();
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            assert!(store.use_once(key, now.plus(60)).await.unwrap());
            time.advance(HOUR as i64 / 10);
        }
        let sizes = |kept: &Kept| {
            let live = kept.live.values().map(BTreeSet::len).sum::<usize>();
            (kept.sessions.len(), live, kept.codes.len(), kept.used.len())
        };
        let (sessions, live, codes, used) = sizes(&store.kept());
        assert!(sessions <= 12 && live == sessions && codes <= 2 && used <= 2, "{sessions} {live} {codes} {used}");
        time.advance(2 * DAY as i64);
        store.purge().await.unwrap();
        assert_eq!(sizes(&store.kept()), (0, 0, 0, 0));
        assert!(store.kept().live.is_empty());
    }
}
