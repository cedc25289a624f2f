//! The file of a journal as bytes: a header, and then records, of which each can be told from what is left of another. A
//! header: 16 bytes that name the file, format (1 byte). A record: mark (4 bytes) | length (4) | check of both (4) |
//! content | check of it (8). Content: 1 | session (16) | epoch (8) | what was given, sealed; or 2 | session | epoch:
//! the store has said what became of it.

use serde::{Deserialize, Serialize};

use crate::session::{
    record::{Held, SessionId},
    ring::{KeyRing, SealError, digest16},
};

/// What an entry is known by: of any two answers of the authority, session or lease differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub session: SessionId,
    pub epoch: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Given { key: Key, sealed: Vec<u8> },
    Settled { key: Key },
}

/// What the authority gave.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Given {
    pub held: Held,
    /// The generation of the client's refresh token, where its refresh is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed_for: Option<u64>,
}

impl Given {
    pub(super) fn seal(&self, key: Key, ring: &KeyRing) -> Result<Vec<u8>, SealError> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(self).map_err(|_| SealError::Crypto)?);
        ring.seal(&plain, &place(key))
    }

    pub(super) fn open(key: Key, sealed: &[u8], ring: &KeyRing) -> Result<Given, SealError> {
        let plain = zeroize::Zeroizing::new(ring.open(sealed, &place(key))?);
        serde_json::from_slice(&plain).map_err(|_| SealError::Crypto)
    }
}

fn place(key: Key) -> Vec<u8> {
    [&b"sidegate journal"[..], &[0, FORMAT], &key.session.0, &key.epoch.to_be_bytes()].concat()
}

impl Record {
    pub(super) fn given(key: Key, sealed: &[u8]) -> Vec<u8> {
        framed(&[&[GIVEN][..], &key.session.0, &key.epoch.to_be_bytes(), sealed].concat())
    }

    pub(super) fn settled(key: Key) -> Vec<u8> {
        framed(&[&[SETTLED][..], &key.session.0, &key.epoch.to_be_bytes()].concat())
    }

    fn read(content: &[u8]) -> Option<Record> {
        let (kind, rest) = content.split_first()?;
        let (session, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let key = Key { session: SessionId(*session), epoch: u64::from_be_bytes(*epoch) };
        match *kind {
            GIVEN => Some(Record::Given { key, sealed: rest.to_vec() }),
            SETTLED if rest.is_empty() => Some(Record::Settled { key }),
            _ => None,
        }
    }
}

fn framed(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let head = [MARK, length.to_be_bytes()].concat();
    [&head, &digest16(&head)[..4], content, &digest16(content)[..8]].concat()
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub records: Vec<Record>,
    /// Records that are damaged, or say what this version does not know.
    pub unreadable: usize,
    /// What is behind it was being written when the process ended: nobody was told that it is there.
    pub whole: usize,
}

/// Why a file cannot be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    #[error("is not a journal of sidegate, or is damaged: it is left alone; move it away")]
    NotOurs,
    #[error(
        "was written in format {0} by a later sidegate, and this one knows {FORMAT}: it is left alone; have that one \
         read it"
    )]
    Later(u8),
}

pub(super) fn read(bytes: &[u8]) -> Result<Content, Foreign> {
    if bytes.len() < HEADER.len() && HEADER.starts_with(bytes) {
        return Ok(Content::default());
    }
    match bytes.strip_prefix(NAME).and_then(|rest| rest.first()) {
        Some(&FORMAT) => {}
        Some(format) if *format > FORMAT => return Err(Foreign::Later(*format)),
        _ => return Err(Foreign::NotOurs),
    }
    let mut content = Content { whole: HEADER.len(), ..Content::default() };
    while content.whole < bytes.len() {
        match Part::first(&bytes[content.whole..]) {
            Part::Record { record, length } => {
                match record {
                    Some(record) => content.records.push(record),
                    None => content.unreadable += 1,
                }
                content.whole += length;
            }
            Part::Torn => break,
        }
    }
    Ok(content)
}

/// What comes first in what is left.
enum Part {
    /// `None`: it cannot be read.
    Record {
        record: Option<Record>,
        length: usize,
    },
    Torn,
}

impl Part {
    fn first(rest: &[u8]) -> Part {
        if rest.len() < HEAD || rest.iter().all(|byte| *byte == 0) {
            return Part::Torn;
        }
        let Some(length) = length(rest) else {
            // Whatever comes behind the damage is still to be read.
            let marks = rest.windows(MARK.len()).enumerate().skip(1).filter(|(_, window)| *window == MARK);
            let next = marks.map(|(at, _)| at).find(|at| length_at(rest, *at).is_some());
            return Part::Record { record: None, length: next.unwrap_or(rest.len()) };
        };
        let Some(whole) = rest.get(..HEAD + length + CHECK) else { return Part::Torn };
        let (content, check) = whole[HEAD..].split_at(length);
        let good = digest16(content)[..CHECK] == *check;
        Part::Record { record: good.then(|| Record::read(content)).flatten(), length: whole.len() }
    }
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..).and_then(length)
}

/// The length of the record that begins here, if one does.
fn length(bytes: &[u8]) -> Option<usize> {
    let (head, check) = bytes.get(..HEAD)?.split_at(8);
    let (mark, length) = head.split_first_chunk()?;
    let good = *mark == MARK && digest16(head)[..4] == *check;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    good.then(|| usize::try_from(length).ok()).flatten()
}

/// The form that this version writes.
pub(super) const FORMAT: u8 = 1;
const NAME: &[u8; 16] = b"sidegate journal";
pub(super) const HEADER: &[u8; 17] = b"sidegate journal\x01";
const MARK: [u8; 4] = *b"\xf5SgJ";
const HEAD: usize = 12;
const CHECK: usize = 8;
const GIVEN: u8 = 1;
const SETTLED: u8 = 2;

#[cfg(test)]
mod tests;
