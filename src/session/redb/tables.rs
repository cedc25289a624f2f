//! The tables of the file, and the indexes that are kept with each change of a session.

use std::cell::OnceCell;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction,
};

use super::{Failure, record::Kept};
use crate::{
    model::UnixTime,
    session::{
        lease::Candidate,
        record::{Held, Session, SessionId, State},
        ring::{KeyRing, digest16},
    },
};

type Id = [u8; 16];
/// What an index finds, then the id of the session.
type Pair = ([u8; 16], Id);

pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("sidegate");
pub(super) const SESSIONS: TableDefinition<Id, &[u8]> = TableDefinition::new("sessions");
/// Sessions that were not revoked: owner, when they were created, id.
pub(super) const LIVE: TableDefinition<([u8; 16], u64, Id), ()> = TableDefinition::new("live sessions");
/// How many of those an owner has, to know it without a look at each.
pub(super) const LIVE_OF: TableDefinition<Id, u64> = TableDefinition::new("count of live sessions");
pub(super) const BY_USER: TableDefinition<Pair, ()> = TableDefinition::new("sessions by user");
pub(super) const BY_CLIENT: TableDefinition<Pair, ()> = TableDefinition::new("sessions by client");
/// When to look whether a session is over; it may have been prolonged since.
pub(super) const ENDS: TableDefinition<(u64, Id), ()> = TableDefinition::new("ends of sessions");
pub(super) const CODES: TableDefinition<Id, &[u8]> = TableDefinition::new("codes");
pub(super) const CODE_ENDS: TableDefinition<(u64, Id), ()> = TableDefinition::new("ends of codes");
pub(super) const USED: TableDefinition<[u8; 32], u64> = TableDefinition::new("used");
pub(super) const USED_ENDS: TableDefinition<(u64, [u8; 32]), ()> = TableDefinition::new("ends of used");
/// What the authority outside gave for a session, sealed.
pub(super) const HELD: TableDefinition<Id, &[u8]> = TableDefinition::new("held");
/// Sessions that somebody is renewing, or was and has not come back.
pub(super) const INTENTS: TableDefinition<Id, ()> = TableDefinition::new("intents");
/// What the authority gave too late: by session and epoch, sealed.
pub(super) const CANDIDATES: TableDefinition<(Id, u64), &[u8]> = TableDefinition::new("candidates");
/// Digests of the authority's own access tokens, where clients have those.
pub(super) const FOREIGN: TableDefinition<[u8; 16], Id> = TableDefinition::new("foreign tokens");
pub(super) const DOCUMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("documents");

/// All tables, open to be changed by the steps of one transaction.
pub(super) struct Tables<'t> {
    pub sessions: Table<'t, Id, &'static [u8]>,
    pub live: Table<'t, ([u8; 16], u64, Id), ()>,
    live_of: Table<'t, Id, u64>,
    by_user: Table<'t, Pair, ()>,
    by_client: Table<'t, Pair, ()>,
    pub ends: Table<'t, (u64, Id), ()>,
    pub codes: Table<'t, Id, &'static [u8]>,
    pub code_ends: Table<'t, (u64, Id), ()>,
    pub used: Table<'t, [u8; 32], u64>,
    pub used_ends: Table<'t, (u64, [u8; 32]), ()>,
    pub held: Table<'t, Id, &'static [u8]>,
    intents: Table<'t, Id, ()>,
    pub candidates: Table<'t, (Id, u64), &'static [u8]>,
    foreign: Table<'t, [u8; 16], Id>,
    pub documents: Table<'t, &'static str, &'static [u8]>,
    /// Whether there is anything to commit.
    pub changed: bool,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::TableError> {
        Ok(Tables {
            sessions: transaction.open_table(SESSIONS)?,
            live: transaction.open_table(LIVE)?,
            live_of: transaction.open_table(LIVE_OF)?,
            by_user: transaction.open_table(BY_USER)?,
            by_client: transaction.open_table(BY_CLIENT)?,
            ends: transaction.open_table(ENDS)?,
            codes: transaction.open_table(CODES)?,
            code_ends: transaction.open_table(CODE_ENDS)?,
            used: transaction.open_table(USED)?,
            used_ends: transaction.open_table(USED_ENDS)?,
            held: transaction.open_table(HELD)?,
            intents: transaction.open_table(INTENTS)?,
            candidates: transaction.open_table(CANDIDATES)?,
            foreign: transaction.open_table(FOREIGN)?,
            documents: transaction.open_table(DOCUMENTS)?,
            changed: false,
        })
    }

    pub(super) fn find(&self, id: SessionId) -> Result<Option<Kept>, Failure> {
        self.sessions.get(id.0)?.map(|bytes| Kept::read(bytes.value())).transpose()
    }

    /// Keeps a session for the first time, in all indexes.
    pub(super) fn insert(&mut self, id: SessionId, kept: &Kept) -> Result<(), Failure> {
        let bytes = kept.bytes()?;
        if let Some(old) = self.find(id)? {
            // The same step once more: its first outcome was not known.
            self.remove(id, &old)?;
        }
        self.changed = true;
        self.sessions.insert(id.0, bytes.as_slice())?;
        if kept.state.revoked.is_none() {
            self.set_live(id, kept, true)?;
        }
        for user in kept.users {
            self.by_user.insert((user, id.0), ())?;
        }
        self.by_client.insert((digest16(kept.state.client.as_bytes()), id.0), ())?;
        self.ends.insert((kept.state.over_at().0, id.0), ())?;
        self.index_foreign(id, None, kept)
    }

    /// Writes a session back whose state has changed.
    pub(super) fn update(&mut self, id: SessionId, kept: &Kept) -> Result<(), Failure> {
        let bytes = kept.bytes()?;
        self.changed = true;
        if kept.state.vouched.is_some() {
            let old = self.find(id)?;
            self.index_foreign(id, old.as_ref(), kept)?;
            self.index_renewal(id, kept)?;
        }
        self.sessions.insert(id.0, bytes.as_slice())?;
        if kept.state.revoked.is_some() {
            self.set_live(id, kept, false)?;
        }
        Ok(())
    }

    /// Forgets a session. Its place among the ends is found and removed when its time comes.
    pub(super) fn remove(&mut self, id: SessionId, kept: &Kept) -> Result<(), Failure> {
        self.changed = true;
        self.sessions.remove(id.0)?;
        self.set_live(id, kept, false)?;
        for user in kept.users {
            self.by_user.remove((user, id.0))?;
        }
        self.by_client.remove((digest16(kept.state.client.as_bytes()), id.0))?;
        self.held.remove(id.0)?;
        if kept.state.vouched.is_some() {
            self.intents.remove(id.0)?;
            self.forget_candidates(id)?;
        }
        for access in kept.state.access.iter().filter(|access| access.foreign) {
            self.foreign.remove(access.digest)?;
        }
        Ok(())
    }

    /// Makes a session findable that is being renewed. What is not renewed any more needs no candidates.
    pub(super) fn index_renewal(&mut self, id: SessionId, kept: &Kept) -> Result<(), Failure> {
        if kept.state.has_intent() && kept.state.revoked.is_none() {
            self.intents.insert(id.0, ())?;
        } else {
            self.intents.remove(id.0)?;
        }
        if kept.state.revoked.is_some() { self.forget_candidates(id) } else { Ok(()) }
    }

    /// Epochs of the candidates of a session, oldest first, each with the generation that it came too late for.
    pub(super) fn candidates_of(&self, id: SessionId) -> Result<Vec<(u64, u64)>, Failure> {
        let mut found = Vec::new();
        for entry in self.candidates.range((id.0, 0)..=(id.0, u64::MAX))? {
            let (key, bytes) = entry?;
            found.push((key.value().1, super::record::candidate_since(bytes.value())?));
        }
        Ok(found)
    }

    pub(super) fn drop_candidates(
        &mut self,
        id: SessionId,
        epochs: impl IntoIterator<Item = u64>,
    ) -> Result<(), Failure> {
        for epoch in epochs {
            self.changed = true;
            self.candidates.remove((id.0, epoch))?;
        }
        Ok(())
    }

    fn forget_candidates(&mut self, id: SessionId) -> Result<(), Failure> {
        let known = self.candidates_of(id)?;
        self.drop_candidates(id, known.into_iter().map(|(epoch, _)| epoch))
    }

    /// Makes the authority's own tokens of a session findable, and those that it has no more of not.
    fn index_foreign(&mut self, id: SessionId, old: Option<&Kept>, new: &Kept) -> Result<(), Failure> {
        let foreign = |kept: &Kept| -> Vec<[u8; 16]> {
            kept.state.access.iter().filter(|access| access.foreign).map(|access| access.digest).collect()
        };
        let (before, now) = (old.map(foreign).unwrap_or_default(), foreign(new));
        for gone in before.iter().filter(|digest| !now.contains(digest)) {
            self.foreign.remove(gone)?;
        }
        for fresh in now.iter().filter(|digest| !before.contains(digest)) {
            self.foreign.insert(fresh, id.0)?;
        }
        Ok(())
    }

    /// How many sessions of this owner were not revoked.
    pub(super) fn live_of(&self, owner: [u8; 16]) -> Result<u64, Failure> {
        Ok(self.live_of.get(owner)?.map_or(0, |count| count.value()))
    }

    fn set_live(&mut self, id: SessionId, kept: &Kept, live: bool) -> Result<(), Failure> {
        let key = (kept.owner, kept.state.created.0, id.0);
        let was = if live { self.live.insert(key, ())?.is_some() } else { self.live.remove(key)?.is_some() };
        if was == live {
            return Ok(());
        }
        let before = self.live_of(kept.owner)?;
        match if live { before.saturating_add(1) } else { before.saturating_sub(1) } {
            0 => self.live_of.remove(kept.owner)?.map(drop),
            count => self.live_of.insert(kept.owner, count)?.map(drop),
        };
        Ok(())
    }
}

/// One consistent view of the file.
pub(super) struct View(ReadTransaction, OnceCell<ReadOnlyTable<Id, &'static [u8]>>);

impl View {
    pub(super) fn new(transaction: ReadTransaction) -> View {
        View(transaction, OnceCell::new())
    }

    /// Opened once for all who look.
    fn sessions(&self) -> Result<&ReadOnlyTable<Id, &'static [u8]>, Failure> {
        match self.1.get() {
            Some(sessions) => Ok(sessions),
            None => {
                let opened = self.0.open_table(SESSIONS)?;
                Ok(self.1.get_or_init(|| opened))
            }
        }
    }

    pub(super) fn find(&self, id: SessionId, ring: &KeyRing) -> Result<Option<Session>, Failure> {
        let Some(bytes) = self.sessions()?.get(id.0)? else { return Ok(None) };
        let session = Kept::read(bytes.value())?.open(id, ring)?;
        let held = match session.state.vouched {
            Some(_) => self.held(id, ring)?,
            None => None,
        };
        Ok(Some(Session { held, ..session }))
    }

    fn held(&self, id: SessionId, ring: &KeyRing) -> Result<Option<Held>, Failure> {
        let held = self.0.open_table(HELD)?;
        held.get(id.0)?.map(|bytes| super::record::read_held(id, bytes.value(), ring)).transpose()
    }

    pub(super) fn candidates(&self, id: SessionId, ring: &KeyRing) -> Result<Vec<Candidate>, Failure> {
        let mut found = Vec::new();
        if let Some(candidates) = self.table(CANDIDATES)? {
            for entry in candidates.range((id.0, 0)..=(id.0, u64::MAX))?.rev() {
                let (key, bytes) = entry?;
                found.push(super::record::read_candidate(id, key.value().1, bytes.value(), ring)?);
            }
        }
        Ok(found)
    }

    /// Of the sessions that somebody is renewing, or was, those whose state is `wanted`.
    pub(super) fn intents(
        &self,
        after: Option<SessionId>,
        most: usize,
        wanted: impl Fn(&State) -> bool,
    ) -> Result<Vec<SessionId>, Failure> {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut found = Vec::new();
        let Some(intents) = self.table(INTENTS)? else { return Ok(found) };
        let sessions = self.0.open_table(SESSIONS)?;
        for entry in intents.range::<Id>((after.map_or(Unbounded, |after| Excluded(after.0)), Unbounded))? {
            let id = entry?.0.value();
            let Some(bytes) = sessions.get(id)? else { continue };
            match Kept::read(bytes.value()) {
                Ok(kept) if wanted(&kept.state) => found.push(SessionId(id)),
                Ok(_) => {}
                Err(Failure::Unreadable(error)) => {
                    // Told where it is looked for: this look comes every few seconds.
                    tracing::debug!(id = %SessionId(id), error, "a session cannot be renewed");
                }
                Err(error) => return Err(error),
            }
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }

    /// `None`: in a file that an older version made, and nothing was written since.
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        table: TableDefinition<K, V>,
    ) -> Result<Option<redb::ReadOnlyTable<K, V>>, Failure> {
        match self.0.open_table(table) {
            Ok(table) => Ok(Some(table)),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The session that handed out the authority's own token with this digest.
    pub(super) fn foreign(&self, digest: [u8; 16], now: UnixTime) -> Result<Option<SessionId>, Failure> {
        let Some(foreign) = self.table(FOREIGN)? else { return Ok(None) };
        let Some(id) = foreign.get(digest)?.map(|id| id.value()) else { return Ok(None) };
        let Some(bytes) = self.0.open_table(SESSIONS)?.get(id)?.map(|bytes| bytes.value().to_vec()) else {
            return Ok(None);
        };
        let state = Kept::read(&bytes)?.state;
        Ok(state.access(&digest, now).filter(|access| access.foreign).map(|_| SessionId(id)))
    }

    pub(super) fn code(&self, id: SessionId) -> Result<Option<super::record::KeptCode>, Failure> {
        let codes = self.0.open_table(CODES)?;
        codes.get(id.0)?.map(|bytes| super::record::KeptCode::read(bytes.value())).transpose()
    }

    pub(super) fn document(&self, name: &str, ring: &KeyRing) -> Result<Option<(u64, Vec<u8>)>, Failure> {
        let documents = self.0.open_table(DOCUMENTS)?;
        documents.get(name)?.map(|bytes| super::record::read_document(name, bytes.value(), ring)).transpose()
    }

    /// Sessions that are not revoked, those that are over but not yet purged among them.
    pub(super) fn count(&self) -> Result<u64, Failure> {
        Ok(self.0.open_table(LIVE)?.len()?)
    }

    /// Ids behind `after`, in their order, until `take` has enough.
    pub(super) fn ids(
        &self,
        index: Option<&Index>,
        after: Option<SessionId>,
        mut take: impl FnMut(SessionId) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let first = after.map_or(Included([0; 16]), |after| Excluded(after.0));
        match index {
            None => {
                let sessions = self.0.open_table(SESSIONS)?;
                for entry in sessions.range::<Id>((first, Unbounded))? {
                    if !take(SessionId(entry?.0.value()))? {
                        break;
                    }
                }
            }
            Some(index) => {
                let (table, digest) = match index {
                    Index::User(digest) => (self.0.open_table(BY_USER)?, *digest),
                    Index::Client(client) => (self.0.open_table(BY_CLIENT)?, digest16(client.as_bytes())),
                };
                let range = (first.map(|id| (digest, id)), Included((digest, [u8::MAX; 16])));
                for entry in table.range::<Pair>(range)? {
                    if !take(SessionId(entry?.0.value().1))? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Where to look for sessions.
pub(super) enum Index {
    User([u8; 16]),
    Client(String),
}
