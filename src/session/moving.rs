//! Sessions that move from one store to another: what of a session moves, and what becomes of one that is there already.
//!
//! [`export()`] writes everything that a store keeps into a file, [`import()`] brings it into another store. Codes and keys
//! that are good once stay behind: they live for minutes.

mod export;
mod file;
mod import;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{
    lease::{Candidate, MOST_CANDIDATES},
    record::{Access, MOST_ACCESS_TOKENS, MOST_FOREIGN_TOKENS, Session, SessionId, State, Vouched},
    store::{SessionStore, StoreError},
};
use crate::model::{UnixMillis, UnixTime};

pub use self::{
    export::{Export, Exported, export},
    file::{Counts, FileError, Header},
    import::{Import, Imported, Keys, header, import},
};

/// Everything that a store keeps of one session.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    pub session: Session,
    /// What the authority outside gave too late, newest first.
    pub candidates: Vec<Candidate>,
}

/// Some of what a store keeps, in the order of the ids.
#[derive(Debug, Default)]
pub struct Records {
    pub moved: Vec<Moved>,
    /// What cannot be read, and why.
    pub unreadable: Vec<(SessionId, String)>,
    /// Behind it there may be more; `None`: that was all.
    pub last: Option<SessionId>,
}

/// What became of a session that was brought to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It is kept, for the first time or in the newer state that it came in.
    Kept,
    /// It was there already, in the same or a newer state.
    There,
    /// Its id is another session's, or nobody can tell whose: nothing has changed.
    Taken,
}

/// How far it has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub step: Step,
    /// Sessions.
    pub done: u64,
    /// As far as that is known.
    pub of: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// What an interrupted export has left is read.
    Resuming,
    Exporting,
    /// The file is read to its end before anything of it is kept.
    Checking,
    Importing,
}

/// Why nothing, or not everything, was moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is wrong, and what to do.
    #[error("{0}")]
    Refused(String),
}

impl Moved {
    /// Whoever was renewing it is not there where it comes to: so that somebody finishes what was begun.
    pub(super) fn lapse(&mut self) {
        if let Some(intent) = self.session.state.vouched.as_mut().and_then(|vouched| vouched.intent.as_mut()) {
            intent.lapses = UnixMillis(0);
        }
    }

    /// What `self`, as a store keeps it, becomes when `other` is brought to it; `None`: it stays as it is, since it is of
    /// the same age or newer in everything.
    ///
    /// Nothing goes back: neither the generation of a refresh token, nor the end of an access token, nor what the authority
    /// outside gave; and what has ended on one side has ended.
    pub(super) fn joined(&self, other: &Moved, now: UnixTime) -> Option<Moved> {
        // A tombstone needs nothing that a live one may know.
        if self.session.state.revoked.is_some() {
            return None;
        }
        let mut joined = self.clone();
        let (state, theirs) = (&mut joined.session.state, &other.session.state);
        if theirs.revoked.is_some() {
            state.revoked = theirs.revoked;
            state.access.clear();
            if let Some(vouched) = &mut state.vouched {
                vouched.intent = None;
            }
            joined.candidates.clear();
            return Some(joined);
        }
        state.join_family(theirs);
        state.join_access(theirs, now);
        let generation = |state: &State| state.vouched.map_or(0, |vouched| vouched.generation);
        // Of an older generation they have been given up here, or were brought before.
        if generation(theirs) >= generation(&self.session.state) {
            joined.join_candidates(other);
        }
        if joined.session.state.join_vouched(theirs.vouched) {
            joined.session.held = other.session.held.clone();
        }
        (joined != *self).then_some(joined)
    }

    fn join_candidates(&mut self, other: &Moved) {
        for candidate in &other.candidates {
            if !self.candidates.iter().any(|known| known.epoch == candidate.epoch) {
                self.candidates.push(candidate.clone());
            }
        }
        self.candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.epoch));
        self.candidates.truncate(MOST_CANDIDATES);
    }
}

impl State {
    /// What is newer of the family of refresh tokens.
    fn join_family(&mut self, other: &State) {
        let age = |state: &State| (state.generation, state.rotated_at);
        match age(other).cmp(&age(self)) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => {
                self.retries = self.retries.max(other.retries);
                self.idle_until = self.idle_until.max(other.idle_until);
            }
            std::cmp::Ordering::Greater => {
                (self.generation, self.rotated_at) = age(other);
                self.retries = other.retries;
                self.idle_until = other.idle_until;
            }
        }
        self.acknowledged = self.acknowledged.max(other.acknowledged);
    }

    /// The access tokens of both that are good, the newest of them where there are too many.
    fn join_access(&mut self, other: &State, now: UnixTime) {
        for access in other.access.iter().filter(|access| now < access.over_at()) {
            match self.access.iter_mut().find(|known| known.digest == access.digest) {
                Some(known) => {
                    known.issued = known.issued.max(access.issued);
                    known.expires = known.expires.max(access.expires);
                    known.grace = known.grace.max(access.grace);
                }
                None => self.access.push(access.clone()),
            }
        }
        for (foreign, most) in [(false, MOST_ACCESS_TOKENS), (true, MOST_FOREIGN_TOKENS)] {
            let of_kind = |access: &&Access| access.foreign == foreign;
            while self.access.iter().filter(of_kind).count() > most {
                let issued = self.access.iter().filter(of_kind).map(|access| access.issued).min();
                // Of the same age those that were here stay.
                let oldest = self.access.iter().rposition(|access| of_kind(&access) && Some(access.issued) == issued);
                let Some(oldest) = oldest else { break };
                self.access.remove(oldest);
            }
        }
    }

    /// What is newer of the renewals; true if that is the other's, and with it what the authority gave.
    fn join_vouched(&mut self, other: Option<Vouched>) -> bool {
        let (Some(mine), Some(mut theirs)) = (&mut self.vouched, other) else { return false };
        let doubtful = mine.generation == theirs.generation && (mine.doubtful || theirs.doubtful);
        // Of one lease, what was given back is newer than what is held.
        let age = |vouched: &Vouched| (vouched.generation, vouched.epoch, vouched.intent.is_none());
        let newer = age(&theirs) > age(mine);
        if newer {
            theirs.doubtful |= doubtful;
            *mine = theirs;
        } else {
            mine.doubtful |= doubtful;
        }
        newer
    }
}

/// Notes that a process begins to serve from `store`.
///
/// # Errors
/// If the store fails.
pub async fn note_serving(store: &dyn SessionStore) -> Result<(), StoreError> {
    // Of several that begin at once it is enough that one is noted.
    let before = served(store).await?;
    store.save(SERVED, before, Vec::new()).await.map(drop)
}

/// How often a process has begun to serve from `store`.
async fn served(store: &dyn SessionStore) -> Result<u64, StoreError> {
    Ok(store.load(SERVED).await?.map_or(0, |(version, _)| version))
}

/// Takes a step that can be taken again, until the store answers: for a little while.
async fn patiently<'a, T>(step: impl Fn() -> BoxFuture<'a, Result<T, StoreError>>) -> Result<T, StoreError> {
    for attempt in 0..RETRIES {
        match step().await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(FIRST_PAUSE * (1 << attempt)).await,
            answered => return answered,
        }
    }
    step().await
}

/// What becomes of `moved` in `store`, without changing anything there.
async fn compare(store: &dyn SessionStore, moved: &Moved) -> Result<Restored, StoreError> {
    let id = moved.session.id;
    let session = match store.find(id).await {
        Ok(Some(session)) => session,
        Ok(None) => return Ok(Restored::Kept),
        Err(StoreError::Unreadable(_)) => return Ok(Restored::Taken),
        Err(error) => return Err(error),
    };
    if !session.is_same(&moved.session) {
        return Ok(Restored::Taken);
    }
    let candidates = store.candidates(id).await?;
    let joined = Moved { session, candidates }.joined(moved, store.now());
    Ok(if joined.is_some() { Restored::Kept } else { Restored::There })
}

const RETRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The document whose version counts who has served.
const SERVED: &str = "served";
