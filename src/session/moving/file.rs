//! The file that sessions travel in.
//!
//! `sidegate sessions\n` | format (1 byte) | records. A record: kind (1) | length of its key (2) | length of its body (4) |
//! key | body. Bodies are sealed under the master ring, each for its kind, its number, its key and this very file, so that
//! none can be altered, left out, doubled or taken from another file. The first record is the header, whose key says in
//! JSON what the file is and whose body proves that; the last one counts the others, so that a file that was cut short is
//! known as such.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::Moved;
use crate::{
    model::UnixTime,
    session::{
        Candidate, Granted, Held, Session, SessionId, State,
        ring::{KeyRing, SealError, digest16},
    },
};

/// Why a file is not one to go on with. `at` names the record.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{at}: {error}")]
    Io { at: String, error: io::Error },
    #[error("it is not a file of sessions: `sidegate sessions export` makes one")]
    NotOurs,
    #[error("it was written in format {0} by a later sidegate, and this one knows {FORMAT}: use that one")]
    Later(u8),
    #[error(
        "master key {0} is not in the ring: tokens of the sessions were made under it, so add its line to the file that \
         keys.master_file names"
    )]
    KeyMissing(u32),
    #[error("master key {0} is another one than where the sessions come from: give it an id of its own")]
    KeyDiffers(u32),
    #[error("{at}: the file ends too early; export again, it goes on where it stood")]
    Cut { at: String },
    #[error("{at}: {why}; nothing of the file is used")]
    Damaged { at: String, why: &'static str },
}

/// What a file says of itself, readable by anybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Makes this file another one than any that was written before or after.
    pub file: SessionId,
    pub made: UnixTime,
    /// The store that it was made from.
    pub from: String,
    /// How often a sidegate had begun to serve from that store.
    pub served: u64,
    /// The master keys that the sessions need, the current one first.
    pub masters: Vec<MasterKey>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MasterKey {
    pub id: u32,
    /// Tells two keys of the same id apart.
    check: [u8; 16],
}

impl MasterKey {
    pub fn all(ring: &KeyRing) -> Vec<MasterKey> {
        ring.checks().map(|(id, check)| MasterKey { id, check }).collect()
    }
}

/// What follows the header.
pub enum Record {
    Session(Box<Moved>),
    /// It was there, and could not be read.
    Unreadable(SessionId, String),
    Document(Kept),
    /// Nothing follows.
    End(Counts),
}

/// A document of the store.
#[derive(Clone)]
pub struct Kept {
    pub name: String,
    pub content: Zeroizing<Vec<u8>>,
}

/// How many records there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub sessions: u64,
    /// Of those.
    pub revoked: u64,
    pub documents: u64,
    pub unreadable: u64,
}

impl Counts {
    fn count(&mut self, record: &Record) {
        match record {
            Record::Session(moved) => {
                self.sessions += 1;
                self.revoked += u64::from(moved.session.state.revoked.is_some());
            }
            Record::Unreadable(..) => self.unreadable += 1,
            Record::Document(_) => self.documents += 1,
            Record::End(_) => {}
        }
    }
}

/// The content of a record of a session.
#[derive(Serialize, Deserialize)]
struct Written {
    state: State,
    granted: Granted,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<(u64, Held)>,
}

/// Where in a file it stands, and what its records are sealed for.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// A digest of the header.
    file: [u8; 16],
    /// Of the next record.
    number: u64,
    /// Bytes before it.
    pub bytes: u64,
    /// The last session before it.
    pub last: Option<SessionId>,
    pub counts: Counts,
}

impl Place {
    fn associated(&self, kind: u8, key: &[u8]) -> Vec<u8> {
        [LABEL, &[0, FORMAT, kind], &self.file, &self.number.to_be_bytes(), key].concat()
    }

    /// Behind `record`, which takes `bytes`.
    fn pass(&mut self, record: &Record, bytes: u64) {
        match record {
            Record::Session(moved) => self.last = Some(moved.session.id),
            Record::Unreadable(id, _) => self.last = Some(*id),
            Record::Document(_) | Record::End(_) => {}
        }
        self.counts.count(record);
        self.number += 1;
        self.bytes += bytes;
    }

    fn begin(&mut self, header: &[u8], bytes: u64) {
        self.file = digest16(header);
        self.number = 1;
        self.bytes = bytes;
    }
}

/// Writes a file, or what is to follow its first part.
pub struct Writer<'r, W> {
    to: W,
    ring: &'r KeyRing,
    place: Place,
}

impl<'r, W: Write> Writer<'r, W> {
    /// # Errors
    /// If it cannot be written.
    pub fn begin(to: W, header: &Header, ring: &'r KeyRing) -> Result<Writer<'r, W>, FileError> {
        let mut writer = Writer { to, ring, place: Place::default() };
        let key = serde_json::to_vec(header).map_err(|error| writer.failed(error.into()))?;
        writer.to.write_all(MAGIC).map_err(|error| writer.failed(error))?;
        writer.to.write_all(&[FORMAT]).map_err(|error| writer.failed(error))?;
        let bytes = writer.write(HEADER, &key, b"")?;
        writer.place.begin(&key, MAGIC.len() as u64 + 1 + bytes);
        Ok(writer)
    }

    /// Behind what was read up to `place`.
    pub fn go_on(to: W, place: Place, ring: &'r KeyRing) -> Writer<'r, W> {
        Writer { to, ring, place }
    }

    /// # Errors
    /// If it cannot be written, or is too large.
    pub fn put(&mut self, record: Record) -> Result<(), FileError> {
        let bytes = match &record {
            Record::Session(moved) => {
                let Moved { session, candidates } = &**moved;
                let Session { id, state, granted, held } = session.clone();
                let candidates = candidates.iter().map(|late| (late.epoch, late.held.clone())).collect();
                self.write_json(SESSION, &id.0, &Written { state, granted, held, candidates })?
            }
            Record::Unreadable(id, why) => self.write_json(UNREADABLE, &id.0, why)?,
            Record::Document(kept) => self.write(DOCUMENT, kept.name.as_bytes(), &kept.content)?,
            Record::End(counts) => self.write_json(END, b"", counts)?,
        };
        self.place.pass(&record, bytes);
        Ok(())
    }

    pub fn counts(&self) -> Counts {
        self.place.counts
    }

    /// # Errors
    /// If what is still in memory cannot be written.
    pub fn flush(&mut self) -> Result<&mut W, FileError> {
        self.to.flush().map_err(|error| self.failed(error))?;
        Ok(&mut self.to)
    }

    fn write_json(&mut self, kind: u8, key: &[u8], content: &impl Serialize) -> Result<u64, FileError> {
        let plain = Zeroizing::new(serde_json::to_vec(content).map_err(|error| self.failed(error.into()))?);
        self.write(kind, key, &plain)
    }

    fn write(&mut self, kind: u8, key: &[u8], plain: &[u8]) -> Result<u64, FileError> {
        let associated = self.place.associated(kind, key);
        let sealed = self.ring.seal(plain, &associated).map_err(|error| self.failed(io::Error::other(error)))?;
        let lengths = u16::try_from(key.len()).ok().zip(u32::try_from(sealed.len()).ok());
        let Some((key_length, length)) = lengths.filter(|(_, length)| *length <= LONGEST) else {
            return Err(self.failed(io::Error::other(format!("a record of {} bytes is too long", sealed.len()))));
        };
        let head = [&[kind][..], &key_length.to_be_bytes(), &length.to_be_bytes()].concat();
        for part in [&head[..], key, &sealed] {
            self.to.write_all(part).map_err(|error| self.failed(error))?;
        }
        Ok((head.len() + key.len() + sealed.len()) as u64)
    }

    fn failed(&self, error: io::Error) -> FileError {
        FileError::Io { at: numbered(self.place.number), error }
    }
}

/// Reads a file record by record. What it gives out was written by somebody who has the ring.
pub struct Reader<'r, R> {
    from: R,
    ring: &'r KeyRing,
    header: Header,
    place: Place,
}

struct Frame {
    kind: u8,
    key: Vec<u8>,
    body: Vec<u8>,
}

impl Frame {
    fn bytes(&self) -> u64 {
        (HEAD + self.key.len() + self.body.len()) as u64
    }
}

impl<'r, R: Read> Reader<'r, R> {
    /// # Errors
    /// If it is not a file of ours, whole in its beginning, for this ring.
    pub fn begin(mut from: R, ring: &'r KeyRing) -> Result<Reader<'r, R>, FileError> {
        let at = || numbered(0);
        let mut magic = [0; MAGIC.len() + 1];
        match from.read_exact(&mut magic) {
            Ok(()) if magic.starts_with(MAGIC) => {}
            Ok(()) => return Err(FileError::NotOurs),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(FileError::NotOurs),
            Err(error) => return Err(FileError::Io { at: at(), error }),
        }
        match magic.last() {
            Some(&FORMAT) => {}
            Some(later) if *later > FORMAT => return Err(FileError::Later(*later)),
            _ => return Err(FileError::NotOurs),
        }
        let mut place = Place::default();
        let frame = read(&mut from, 0)?;
        let damaged = |why| FileError::Damaged { at: at(), why };
        let header: Option<Header> = serde_json::from_slice(&frame.key).ok().filter(|_| frame.kind == HEADER);
        let header = header.ok_or_else(|| damaged(NOT_AS_WRITTEN))?;
        for key in &header.masters {
            match ring.checks().find(|(id, _)| *id == key.id) {
                Some((_, check)) if check == key.check => {}
                Some(_) => return Err(FileError::KeyDiffers(key.id)),
                None => return Err(FileError::KeyMissing(key.id)),
            }
        }
        open(ring, &place, &frame).map_err(|_| damaged(NOT_AS_WRITTEN))?;
        place.begin(&frame.key, magic.len() as u64 + frame.bytes());
        Ok(Reader { from, ring, header, place })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Behind what was read so far.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The next record; after [`Record::End`] there is none.
    ///
    /// # Errors
    /// What is wrong with it, and which one it is.
    pub fn next(&mut self) -> Result<Record, FileError> {
        let frame = read(&mut self.from, self.place.number)?;
        let id = <[u8; 16]>::try_from(&frame.key[..]).ok().map(SessionId);
        let named = id.map_or(String::new(), |id| format!(" (session {id})"));
        let damaged = |why| FileError::Damaged { at: format!("{}{named}", numbered(self.place.number)), why };
        let plain = open(self.ring, &self.place, &frame).map_err(|error| match error {
            SealError::UnknownKey(_) => damaged("it is sealed under a master key that the header does not name"),
            SealError::Crypto => damaged(NOT_AS_WRITTEN),
        })?;
        let record = match (frame.kind, id) {
            (SESSION, Some(id)) => {
                let Written { state, granted, held, candidates } = json(&plain).ok_or_else(|| damaged(UNKNOWN))?;
                let candidates = candidates.into_iter().map(|(epoch, held)| Candidate { epoch, held }).collect();
                Record::Session(Box::new(Moved { session: Session { id, state, granted, held }, candidates }))
            }
            (UNREADABLE, Some(id)) => Record::Unreadable(id, json(&plain).ok_or_else(|| damaged(UNKNOWN))?),
            (DOCUMENT, _) => {
                let name = String::from_utf8(frame.key.clone()).map_err(|_| damaged(UNKNOWN))?;
                Record::Document(Kept { name, content: plain })
            }
            (END, _) => Record::End(json(&plain).ok_or_else(|| damaged(UNKNOWN))?),
            _ => return Err(damaged(UNKNOWN)),
        };
        if matches!(record, Record::Session(_) | Record::Unreadable(..)) && id <= self.place.last {
            return Err(damaged("it is not in the order of the ids"));
        }
        if let Record::End(counts) = &record {
            if *counts != self.place.counts {
                return Err(damaged("it counts other records than there are"));
            }
            match self.from.read(&mut [0]) {
                Ok(0) => {}
                Ok(_) => return Err(damaged("something follows the end")),
                Err(error) => return Err(FileError::Io { at: numbered(self.place.number), error }),
            }
        }
        self.place.pass(&record, frame.bytes());
        Ok(record)
    }
}

fn read(from: &mut impl Read, number: u64) -> Result<Frame, FileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FileError::Cut { at: numbered(number) },
        _ => FileError::Io { at: numbered(number), error },
    };
    let mut head = [0; HEAD];
    from.read_exact(&mut head).map_err(failed)?;
    let [kind, k1, k2, b1, b2, b3, b4] = head;
    let (key, body) = (u16::from_be_bytes([k1, k2]), u32::from_be_bytes([b1, b2, b3, b4]));
    if body > LONGEST {
        return Err(FileError::Damaged { at: numbered(number), why: NOT_AS_WRITTEN });
    }
    let mut part = |length: u64| {
        // Grows with what is there, whatever the lengths say.
        let mut bytes = Vec::new();
        match from.by_ref().take(length).read_to_end(&mut bytes) {
            Ok(read) if read as u64 == length => Ok(bytes),
            Ok(_) => Err(FileError::Cut { at: numbered(number) }),
            Err(error) => Err(FileError::Io { at: numbered(number), error }),
        }
    };
    Ok(Frame { kind, key: part(key.into())?, body: part(body.into())? })
}

fn open(ring: &KeyRing, place: &Place, frame: &Frame) -> Result<Zeroizing<Vec<u8>>, SealError> {
    ring.open(&frame.body, &place.associated(frame.kind, &frame.key)).map(Zeroizing::new)
}

fn json<T: DeserializeOwned>(plain: &[u8]) -> Option<T> {
    serde_json::from_slice(plain).ok()
}

/// As people count; the header is not counted.
fn numbered(number: u64) -> String {
    if number == 0 { "the header".to_owned() } else { format!("record {number}") }
}

const MAGIC: &[u8] = b"sidegate sessions\n";
/// The form that this version writes.
const FORMAT: u8 = 1;
const LABEL: &[u8] = b"sidegate moved sessions";
/// Bytes before the key of a record.
const HEAD: usize = 7;
/// Bytes of a body: far more than the largest session that tests could make.
const LONGEST: u32 = 8 * 1024 * 1024;

const HEADER: u8 = 1;
const SESSION: u8 = 2;
const UNREADABLE: u8 = 3;
const DOCUMENT: u8 = 4;
const END: u8 = 5;

const NOT_AS_WRITTEN: &str = "it is not as it was written";
const UNKNOWN: &str = "this sidegate does not know what it says";
