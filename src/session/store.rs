//! What keeps sessions: [`super::memory`], and stores that outlive the process. One suite holds them all to the same
//! behaviour.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::sync::broadcast;

use super::{
    family::{Outcome, Rotate},
    lease::{Candidate, Intend, Intended, Left, Renewer},
    moving::{Moved, Records, Restored},
    record::{Code, RevocationReason, Session, SessionId},
    slide::{Slid, Slide},
    succeed::{Succeed, Succeeded},
    vouched::{Exchanged, Renewed},
};
use crate::model::UnixTime;

/// A store of sessions. Each method is one atomic step in the store's own time; when it returns `Ok`, the step is as
/// durable as the store promises. `Err` means that the outcome is not known, and that the step may be taken again.
pub trait SessionStore: Send + Sync {
    /// The store's time.
    fn now(&self) -> UnixTime;

    /// Seconds that the store's time is ahead of this process's clock, as far as that is known.
    fn ahead(&self) -> i64 {
        0
    }

    /// The moment on this process's clock at which the store's says `at`.
    fn on_our_clock(&self, at: UnixTime) -> UnixTime {
        UnixTime(at.0.saturating_add_signed(self.ahead().saturating_neg()))
    }

    /// What the store's clock says when this process's says `at`.
    fn on_its_clock(&self, at: UnixTime) -> UnixTime {
        UnixTime(at.0.saturating_add_signed(self.ahead()))
    }

    /// What other processes do, from now on; `None`: there are none.
    fn news(&self) -> Option<broadcast::Receiver<News>> {
        None
    }

    /// Keeps a new session, unless its id is another's. If its subject (or, for a client on its own behalf, its client)
    /// then has more than `most` live ones, the oldest of them are revoked as superseded.
    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Created, StoreError>>;

    /// The session, also after it was revoked, until its absolute end.
    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>>;

    /// [`super::State::rotate`] on the session.
    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>>;

    /// Ends a session; false if there is none or it had ended before.
    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// [`super::State::acknowledge`] on the session; nothing if there is none.
    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// [`super::State::intend`] on the session: nothing is asked of the authority before this is durable.
    fn intend(&self, id: SessionId, step: Intend) -> BoxFuture<'_, Result<Intended, StoreError>>;

    /// [`super::State::extend`] on the session; false if the lease is lost.
    fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// [`super::State::leave`] on the session; nothing if there is none.
    fn leave(&self, id: SessionId, epoch: u64, left: Left) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What was given for the session and came too late, newest first. It goes when the session has been renewed since, or
    /// ends.
    fn candidates(&self, id: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>>;

    /// Sessions that somebody began to renew and is at no more, in the order of their ids, behind `after`.
    fn lapsed(
        &self,
        owner: Renewer,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>>;

    /// Replaces what the authority outside gave, or ends the session with it, by [`super::State::exchange`]. What comes too
    /// late to take its place is kept as a candidate.
    fn renew(&self, id: SessionId, renewed: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>>;

    /// [`super::State::slide`] on the session.
    fn slide(&self, id: SessionId, step: Slide) -> BoxFuture<'_, Result<Slid, StoreError>>;

    /// [`super::State::succeed`] on the session.
    fn succeed(&self, id: SessionId, step: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>>;

    /// The session that handed out the authority's own access token with this digest, as long as that one is good.
    fn find_foreign(&self, digest: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>>;

    /// Keeps an authorization that waits for its code.
    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The authorization, also after its code was spent, until the code's end.
    fn find_code(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>>;

    /// Spends the code of `session.id` and keeps the session, in one step. Of any number of attempts one is the first.
    fn spend_code(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Spent, StoreError>>;

    /// Notes that `key` was used; false if it had been before. Forgotten at `until`.
    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Live and revoked sessions that match, in the order of their ids, behind `after`. One that cannot be read is left
    /// out.
    fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Session>, StoreError>>;

    /// Everything that is kept of the sessions behind `after`, tombstones among them, for whoever moves it elsewhere. What is
    /// over is left out.
    fn records(&self, after: Option<SessionId>, most: usize) -> BoxFuture<'_, Result<Records, StoreError>>;

    /// Keeps a session that another store kept, as [`Moved::joined`] says where it is there already. It makes no room for
    /// itself: no other session is superseded.
    fn restore(&self, moved: Moved) -> BoxFuture<'_, Result<Restored, StoreError>>;

    /// How many other processes are at this store.
    fn listeners(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        ready(Ok(0)).boxed()
    }

    /// Sessions that are neither revoked nor over, as of the last purge or later.
    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Removes what is over, and says how many sessions that were. Stores also do so on their own.
    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// A small document of the store's owner (the signing keys), sealed; with its version.
    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Document>, StoreError>>;

    /// Replaces it if its version is still `expected` (0: there is none yet); false otherwise.
    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>>;
}

/// What another process did, or perhaps did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It ended this session.
    Ended(SessionId),
    /// It keeps something newer of the authority outside for this session.
    Renewed(SessionId),
    /// It changed a document.
    Document,
    /// What was to be told from now on may not come.
    Deaf,
    /// It comes again, and something may have been missed: what rests on the store must be looked at anew.
    Missed,
}

/// The version of a document, counted from 1, and its content.
pub type Document = (u64, Vec<u8>);

/// What became of an attempt to keep a new session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The session is kept; these were superseded by it. So it is when the same step is taken once more.
    Now(Vec<SessionId>),
    /// Another session has the id, or had it and is remembered: nothing has changed.
    Taken,
}

/// What became of an attempt to spend a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spent {
    /// The session is kept; these were superseded by it.
    Now(Vec<SessionId>),
    /// It was spent before; the session that it gave has the same id.
    Before,
    /// Unknown or over.
    Unknown,
}

/// An id is drawn for one code only: whatever session has it came of the code.
impl From<Created> for Spent {
    fn from(created: Created) -> Spent {
        match created {
            Created::Now(superseded) => Spent::Now(superseded),
            Created::Taken => Spent::Before,
        }
    }
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// `sub` or username.
    pub user: Option<String>,
    pub client: Option<String>,
    /// Only those that are neither revoked nor over.
    pub alive: bool,
}

impl Filter {
    pub fn matches(&self, session: &Session, now: UnixTime) -> bool {
        let granted = &session.granted;
        let of_user =
            self.user.as_ref().is_none_or(|user| granted.username.as_ref() == Some(user) || granted.subject == *user);
        // What is over is not there any more, purged or not.
        now < session.state.absolute
            && of_user
            && self.client.as_ref().is_none_or(|client| session.state.client == *client)
            && (!self.alive || session.is_alive(now))
    }
}

/// The store did not answer, or not in time. Never a reason to refuse a token for good.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Disk full, no connection, a timeout: the text has no secret.
    #[error("the session store is not available: {0}")]
    Unavailable(String),
    /// A record that cannot be read: another version, another key, or damage.
    #[error("a record of the session store cannot be read: {0}")]
    Unreadable(String),
}
