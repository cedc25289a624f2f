//! A file of sessions, brought into a store.
//!
//! It is read to its end first, so that nothing of one that is damaged is kept. Each session is one step, which taken again
//! changes nothing: an import that was interrupted is asked for again.

use std::{
    fs::File,
    io::{BufReader, Seek},
    path::Path,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};

use super::{
    MoveError, Moved, Progress, Restored, Step, compare,
    file::{Counts, FileError, Header, Kept, Reader, Record},
    patiently,
};
use crate::{
    jose::rotation::{self, Ring},
    session::{SessionId, SessionStore, StoreError, ring::KeyRing},
};

/// What is to be imported, and where to.
pub struct Import<'a> {
    pub store: &'a dyn SessionStore,
    pub ring: &'a KeyRing,
    pub from: &'a Path,
    /// Only say what would become of it.
    pub dry_run: bool,
}

/// What has become of it.
#[derive(Debug)]
pub struct Imported {
    pub header: Header,
    /// What the file holds.
    pub counts: Counts,
    /// Kept, for the first time or in a newer state.
    pub kept: u64,
    /// Of those, tombstones.
    pub revoked: u64,
    pub there: u64,
    /// Nothing could come of these any more.
    pub over: u64,
    /// Their ids are others'.
    pub conflicts: Vec<SessionId>,
    /// What the export could not read.
    pub unreadable: Vec<(SessionId, String)>,
    pub keys: Keys,
}

/// What has become of the signing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// The old store had none.
    None,
    /// There were none here: they go on signing.
    Kept,
    There,
    /// Beside those of this store, which go on signing: what they have signed stays good.
    Added(usize),
}

/// What the file says of itself.
///
/// # Errors
/// If it is not there, none of ours, or for another ring.
pub fn header(from: &Path, ring: &KeyRing) -> Result<Header, MoveError> {
    let file = File::open(from).map_err(|error| MoveError::Refused(format!("{}: {error}", from.display())))?;
    Ok(Reader::begin(BufReader::new(file), ring)?.header().clone())
}

/// # Errors
/// If the file is not as it was written, or the store fails: then the same import may be asked for again.
pub async fn import(asked: &Import<'_>, tell: &mut dyn FnMut(Progress)) -> Result<Imported, MoveError> {
    let failed = |error: std::io::Error| MoveError::Refused(format!("{}: {error}", asked.from.display()));
    let mut file = File::open(asked.from).map_err(failed)?;
    let (mut imported, documents) = check(&file, asked.ring, tell)?;
    // Before the sessions whose tokens they have signed.
    for document in &documents {
        imported.keys = signing_keys(asked, document).await?;
    }
    file.rewind().map_err(failed)?;
    let mut reader = Reader::begin(BufReader::new(&file), asked.ring)?;
    let of = Some(imported.counts.sessions);
    let mut done = 0;
    let mut running = FuturesUnordered::new();
    loop {
        let record = reader.next()?;
        let at_end = matches!(record, Record::End(_));
        if let Record::Session(mut moved) = record {
            if moved.session.state.over_at() <= asked.store.now() {
                imported.over += 1;
                done += 1;
            } else {
                moved.lapse();
                running.push(restore(asked, *moved));
            }
        }
        while !running.is_empty() && (at_end || running.len() >= AT_ONCE) {
            let Some(settled) = running.next().await else { break };
            imported.count(settled?);
            done += 1;
            if done % TELL_EVERY == 0 {
                tell(Progress { step: Step::Importing, done, of });
            }
        }
        if at_end {
            break;
        }
    }
    tell(Progress { step: Step::Importing, done, of });
    Ok(imported)
}

/// Reads the whole file: what it holds, and its documents.
fn check(file: &File, ring: &KeyRing, tell: &mut dyn FnMut(Progress)) -> Result<(Imported, Vec<Kept>), MoveError> {
    let mut reader = Reader::begin(BufReader::new(file), ring)?;
    let (mut unreadable, mut documents) = (Vec::new(), Vec::new());
    let counts = loop {
        match reader.next()? {
            Record::Session(_) => {
                let done = reader.place().counts.sessions;
                if done % TELL_EVERY == 0 {
                    tell(Progress { step: Step::Checking, done, of: None });
                }
            }
            Record::Unreadable(id, why) => unreadable.push((id, why)),
            Record::Document(kept) if kept.name == rotation::DOCUMENT && Ring::read(&kept.content).is_some() => {
                documents.push(kept);
            }
            Record::Document(_) => {
                let at = "the documents behind the sessions".to_owned();
                return Err(FileError::Damaged { at, why: "this sidegate does not know what one of them says" }.into());
            }
            Record::End(counts) => break counts,
        }
    };
    let imported = Imported {
        header: reader.header().clone(),
        counts,
        kept: 0,
        revoked: 0,
        there: 0,
        over: 0,
        conflicts: Vec::new(),
        unreadable,
        keys: Keys::None,
    };
    Ok((imported, documents))
}

struct Settled {
    id: SessionId,
    revoked: bool,
    restored: Restored,
}

async fn restore(asked: &Import<'_>, moved: Moved) -> Result<Settled, StoreError> {
    let (id, revoked) = (moved.session.id, moved.session.state.revoked.is_some());
    let restored = match asked.dry_run {
        true => patiently(|| compare(asked.store, &moved).boxed()).await?,
        false => patiently(|| asked.store.restore(moved.clone())).await?,
    };
    Ok(Settled { id, revoked, restored })
}

impl Imported {
    fn count(&mut self, settled: Settled) {
        match settled.restored {
            Restored::Kept => {
                self.kept += 1;
                self.revoked += u64::from(settled.revoked);
            }
            Restored::There => self.there += 1,
            Restored::Taken => self.conflicts.push(settled.id),
        }
    }
}

/// Adds the keys of the old store to those of this one, by compare-and-swap: a process that serves may rotate them.
async fn signing_keys(asked: &Import<'_>, document: &Kept) -> Result<Keys, MoveError> {
    let unreadable = || StoreError::Unreadable("the signing keys".to_owned());
    let moved = Ring::read(&document.content).ok_or_else(unreadable)?;
    for _ in 0..ATTEMPTS {
        let (version, content, keys) = match asked.store.load(rotation::DOCUMENT).await? {
            None => (0, document.content.to_vec(), Keys::Kept),
            Some((version, content)) => {
                let mut ring = Ring::read(&content).ok_or_else(unreadable)?;
                let added = ring.adopt(&moved, asked.store.now());
                let added = added.map_err(|error| MoveError::Refused(format!("the signing keys: {error}")))?;
                if added == 0 {
                    return Ok(Keys::There);
                }
                (version, ring.write().map_err(|_| unreadable())?, Keys::Added(added))
            }
        };
        if asked.dry_run || asked.store.save(rotation::DOCUMENT, version, content).await? {
            return Ok(keys);
        }
    }
    Err(StoreError::Unavailable("other processes change the signing keys at the same time".to_owned()).into())
}

/// Steps that wait for the store together.
const AT_ONCE: usize = 128;
const TELL_EVERY: u64 = 500;
const ATTEMPTS: usize = 8;
