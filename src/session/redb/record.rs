//! Records as bytes. What steps compare stays readable; who somebody is and what they may is sealed.
//!
//! A session: format (1 byte) | owner, subject and username as indexes know them (16 bytes each) | length of the state
//! (4 bytes) | state, JSON | what was granted, JSON, sealed. A code: format | expiry (8 bytes) | spent (1 byte) | sealed.
//! A document: format | version (8 bytes) | sealed.

use serde::{Serialize, de::DeserializeOwned};

use super::Failure;
use crate::{
    model::UnixTime,
    session::{
        lease::Candidate,
        record::{Code, Granted, Held, Session, SessionId, State},
        ring::KeyRing,
    },
};

/// A session whose sealed part is still closed.
#[derive(Clone)]
pub(super) struct Kept {
    /// Whose sessions are counted together (see [`owners`]).
    pub owner: [u8; 16],
    /// Subject and username.
    pub users: [[u8; 16]; 2],
    pub state: State,
    sealed: Vec<u8>,
}

impl Kept {
    pub(super) fn new(session: &Session, ring: &KeyRing) -> Result<Kept, Failure> {
        let granted = &session.granted;
        let user = |name: &str| ring.index(USER, name).next().unwrap_or_default();
        let subject = user(&granted.subject);
        Ok(Kept {
            owner: owners(granted, ring).next().unwrap_or_default(),
            users: [subject, granted.username.as_deref().map_or(subject, user)],
            state: session.state.clone(),
            sealed: seal(ring, granted, &place(GRANTED, &session.id.0))?,
        })
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Kept, Failure> {
        let rest = content(bytes, "session")?;
        let parts = || {
            let (owner, rest) = rest.split_first_chunk::<16>()?;
            let (subject, rest) = rest.split_first_chunk::<16>()?;
            let (username, rest) = rest.split_first_chunk::<16>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (state, sealed) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            let state = serde_json::from_slice(state).ok()?;
            Some(Kept { owner: *owner, users: [*subject, *username], state, sealed: sealed.to_vec() })
        };
        parts().ok_or_else(|| damaged("session"))
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let state = serde_json::to_vec(&self.state).map_err(|_| damaged("session"))?;
        let length = u32::try_from(state.len()).map_err(|_| damaged("session"))?;
        let head = [&[FORMAT][..], &self.owner, &self.users[0], &self.users[1], &length.to_be_bytes()];
        Ok([head.concat(), state, self.sealed.clone()].concat())
    }

    pub(super) fn open(self, id: SessionId, ring: &KeyRing) -> Result<Session, Failure> {
        let granted = open(ring, &self.sealed, &place(GRANTED, &id.0), "session")?;
        Ok(Session { id, state: self.state, granted, held: None })
    }
}

/// Under which digests the sessions of the same subject are, or of the same client on its own behalf.
pub(super) fn owners(granted: &Granted, ring: &KeyRing) -> impl Iterator<Item = [u8; 16]> {
    ring.index(if granted.username.is_some() { b"user's" } else { b"client's" }, &granted.subject)
}

/// Under which digests the sessions of a user are, by subject or username.
pub(super) fn users(name: &str, ring: &KeyRing) -> impl Iterator<Item = [u8; 16]> {
    ring.index(USER, name)
}

/// A code; its content is opened apart.
pub(super) struct KeptCode {
    pub expires: UnixTime,
    pub spent: bool,
    sealed: Vec<u8>,
}

impl KeptCode {
    pub(super) fn new(id: SessionId, code: &Code, ring: &KeyRing) -> Result<KeptCode, Failure> {
        Ok(KeptCode { expires: code.expires, spent: false, sealed: seal(ring, code, &place(CODE, &id.0))? })
    }

    pub(super) fn read(bytes: &[u8]) -> Result<KeptCode, Failure> {
        let rest = content(bytes, "code")?;
        let parts = || {
            let (expires, rest) = rest.split_first_chunk::<8>()?;
            let (spent, sealed) = rest.split_first()?;
            let expires = UnixTime(u64::from_be_bytes(*expires));
            Some(KeptCode { expires, spent: *spent != 0, sealed: sealed.to_vec() })
        };
        parts().ok_or_else(|| damaged("code"))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [&[FORMAT][..], &self.expires.0.to_be_bytes(), &[u8::from(self.spent)], &self.sealed].concat()
    }

    pub(super) fn open(&self, id: SessionId, ring: &KeyRing) -> Result<Code, Failure> {
        open(ring, &self.sealed, &place(CODE, &id.0), "code")
    }
}

/// What the authority outside gave, sealed for its session.
pub(super) fn held(id: SessionId, held: &Held, ring: &KeyRing) -> Result<Vec<u8>, Failure> {
    Ok([&[FORMAT][..], &seal(ring, held, &place(HELD, &id.0))?].concat())
}

pub(super) fn read_held(id: SessionId, bytes: &[u8], ring: &KeyRing) -> Result<Held, Failure> {
    open(ring, content(bytes, "held")?, &place(HELD, &id.0), "held")
}

/// What was given too late for the session as it was at generation `since`.
pub(super) fn candidate(id: SessionId, since: u64, candidate: &Candidate, ring: &KeyRing) -> Result<Vec<u8>, Failure> {
    let sealed = seal(ring, &candidate.held, &candidate_place(id, candidate.epoch))?;
    Ok([&[FORMAT][..], &since.to_be_bytes(), &sealed].concat())
}

pub(super) fn candidate_since(bytes: &[u8]) -> Result<u64, Failure> {
    let (since, _) = content(bytes, "candidate")?.split_first_chunk::<8>().ok_or_else(|| damaged("candidate"))?;
    Ok(u64::from_be_bytes(*since))
}

pub(super) fn read_candidate(id: SessionId, epoch: u64, bytes: &[u8], ring: &KeyRing) -> Result<Candidate, Failure> {
    candidate_since(bytes)?;
    Ok(Candidate { epoch, held: open(ring, &bytes[9..], &candidate_place(id, epoch), "candidate")? })
}

fn candidate_place(id: SessionId, epoch: u64) -> Vec<u8> {
    [&place(CANDIDATE, &id.0)[..], &epoch.to_be_bytes()].concat()
}

/// A document; its place names the version too, so that an old one cannot be put back under a new number.
pub(super) fn document(name: &str, version: u64, plain: &[u8], ring: &KeyRing) -> Result<Vec<u8>, Failure> {
    let place = [&place(DOCUMENT, name.as_bytes())[..], &version.to_be_bytes()].concat();
    let sealed = ring.seal(plain, &place).map_err(|error| Failure::Unreadable(error.to_string()))?;
    Ok([&[FORMAT][..], &version.to_be_bytes(), &sealed].concat())
}

pub(super) fn document_version(bytes: &[u8]) -> Result<u64, Failure> {
    let (version, _) = content(bytes, "document")?.split_first_chunk::<8>().ok_or_else(|| damaged("document"))?;
    Ok(u64::from_be_bytes(*version))
}

pub(super) fn read_document(name: &str, bytes: &[u8], ring: &KeyRing) -> Result<(u64, Vec<u8>), Failure> {
    let version = document_version(bytes)?;
    let place = [&place(DOCUMENT, name.as_bytes())[..], &version.to_be_bytes()].concat();
    let plain = ring.open(&bytes[9..], &place).map_err(|error| Failure::Unreadable(format!("document: {error}")))?;
    Ok((version, plain))
}

fn seal(ring: &KeyRing, value: &impl Serialize, place: &[u8]) -> Result<Vec<u8>, Failure> {
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(value).map_err(|_| damaged("record"))?);
    ring.seal(&plain, place).map_err(|error| Failure::Unreadable(error.to_string()))
}

fn open<T: DeserializeOwned>(ring: &KeyRing, sealed: &[u8], place: &[u8], what: &str) -> Result<T, Failure> {
    let plain = ring.open(sealed, place).map_err(|error| Failure::Unreadable(format!("{what}: {error}")))?;
    serde_json::from_slice(&zeroize::Zeroizing::new(plain)).map_err(|_| damaged(what))
}

/// What a sealed part belongs to: field, format and key of its record.
fn place(field: &[u8], key: &[u8]) -> Vec<u8> {
    [field, &[0, FORMAT], key].concat()
}

fn content<'b>(bytes: &'b [u8], what: &str) -> Result<&'b [u8], Failure> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => Ok(rest),
        Some((format, _)) if *format > FORMAT => Err(Failure::Unreadable(format!(
            "{what}: written in format {format} by a later sidegate; this one knows {FORMAT}"
        ))),
        _ => Err(damaged(what)),
    }
}

fn damaged(what: &str) -> Failure {
    Failure::Unreadable(format!("{what}: damaged"))
}

/// The form of records that this version writes.
pub(super) const FORMAT: u8 = 1;

const GRANTED: &[u8] = b"sidegate session granted";
const HELD: &[u8] = b"sidegate held";
const CANDIDATE: &[u8] = b"sidegate candidate";
const CODE: &[u8] = b"sidegate code";
const DOCUMENT: &[u8] = b"sidegate document";
const USER: &[u8] = b"user";
