//! Records as bytes. What steps compare stays readable; who somebody is and what they may is sealed.
//!
//! A session: format (1 byte) | owner, subject and username as indexes know them (16 bytes each) | length of the state
//! (4 bytes) | state, JSON | what was granted, JSON, sealed. A code: format | expiry (8 bytes) | spent (1 byte) | sealed.
//! A document: format | version (8 bytes) | sealed.

use super::Failure;
use crate::{
    model::UnixTime,
    session::{
        lease::Candidate,
        record::{Code, Held, Session, SessionId, State},
        ring::KeyRing,
        sealed::{self, FORMAT, Unreadable, damaged},
    },
};

/// A session whose sealed part is still closed.
#[derive(Clone)]
pub(super) struct Kept {
    /// Whose sessions are counted together (see [`sealed::owners`]).
    pub owner: [u8; 16],
    /// Subject and username.
    pub users: [[u8; 16]; 2],
    pub state: State,
    sealed: Vec<u8>,
}

impl Kept {
    pub(super) fn new(session: &Session, ring: &KeyRing) -> Result<Kept, Failure> {
        let granted = &session.granted;
        Ok(Kept {
            owner: sealed::owners(granted, ring).next().unwrap_or_default(),
            users: sealed::users_of(granted, ring),
            state: session.state.clone(),
            sealed: sealed::granted(session.id, granted, ring).map_err(failed)?,
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
        parts().ok_or_else(|| failed(damaged("session")))
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::with_capacity(512 + 128 * self.state.access.len() + self.sealed.len());
        bytes.push(FORMAT);
        for index in [&self.owner, &self.users[0], &self.users[1]] {
            bytes.extend_from_slice(index);
        }
        let at = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        serde_json::to_writer(&mut bytes, &self.state).map_err(|_| failed(damaged("session")))?;
        let length = u32::try_from(bytes.len() - at - 4).map_err(|_| failed(damaged("session")))?;
        bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&self.sealed);
        Ok(bytes)
    }

    pub(super) fn open(self, id: SessionId, ring: &KeyRing) -> Result<Session, Failure> {
        let granted = sealed::open_granted(id, &self.sealed, ring).map_err(failed)?;
        Ok(Session { id, state: self.state, granted, held: None })
    }
}

/// A code; its content is opened apart.
pub(super) struct KeptCode {
    pub expires: UnixTime,
    pub spent: bool,
    sealed: Vec<u8>,
}

impl KeptCode {
    pub(super) fn new(id: SessionId, code: &Code, ring: &KeyRing) -> Result<KeptCode, Failure> {
        Ok(KeptCode { expires: code.expires, spent: false, sealed: sealed::code(id, code, ring).map_err(failed)? })
    }

    pub(super) fn read(bytes: &[u8]) -> Result<KeptCode, Failure> {
        let rest = content(bytes, "code")?;
        let parts = || {
            let (expires, rest) = rest.split_first_chunk::<8>()?;
            let (spent, sealed) = rest.split_first()?;
            let expires = UnixTime(u64::from_be_bytes(*expires));
            Some(KeptCode { expires, spent: *spent != 0, sealed: sealed.to_vec() })
        };
        parts().ok_or_else(|| failed(damaged("code")))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [&[FORMAT][..], &self.expires.0.to_be_bytes(), &[u8::from(self.spent)], &self.sealed].concat()
    }

    pub(super) fn open(&self, id: SessionId, ring: &KeyRing) -> Result<Code, Failure> {
        sealed::open_code(id, &self.sealed, ring).map_err(failed)
    }
}

/// What the authority outside gave, sealed for its session.
pub(super) fn held(id: SessionId, held: &Held, ring: &KeyRing) -> Result<Vec<u8>, Failure> {
    Ok([&[FORMAT][..], &sealed::held(id, held, ring).map_err(failed)?].concat())
}

pub(super) fn read_held(id: SessionId, bytes: &[u8], ring: &KeyRing) -> Result<Held, Failure> {
    sealed::open_held(id, content(bytes, "held")?, ring).map_err(failed)
}

/// What was given too late for the session as it was at generation `since`.
pub(super) fn candidate(id: SessionId, since: u64, candidate: &Candidate, ring: &KeyRing) -> Result<Vec<u8>, Failure> {
    Ok([&[FORMAT][..], &since.to_be_bytes(), &sealed::candidate(id, candidate, ring).map_err(failed)?].concat())
}

pub(super) fn candidate_since(bytes: &[u8]) -> Result<u64, Failure> {
    let (since, _) =
        content(bytes, "candidate")?.split_first_chunk::<8>().ok_or_else(|| failed(damaged("candidate")))?;
    Ok(u64::from_be_bytes(*since))
}

pub(super) fn read_candidate(id: SessionId, epoch: u64, bytes: &[u8], ring: &KeyRing) -> Result<Candidate, Failure> {
    candidate_since(bytes)?;
    sealed::open_candidate(id, epoch, &bytes[9..], ring).map_err(failed)
}

pub(super) fn document(name: &str, version: u64, plain: &[u8], ring: &KeyRing) -> Result<Vec<u8>, Failure> {
    Ok([&[FORMAT][..], &version.to_be_bytes(), &sealed::document(name, version, plain, ring).map_err(failed)?].concat())
}

pub(super) fn document_version(bytes: &[u8]) -> Result<u64, Failure> {
    let (version, _) =
        content(bytes, "document")?.split_first_chunk::<8>().ok_or_else(|| failed(damaged("document")))?;
    Ok(u64::from_be_bytes(*version))
}

pub(super) fn read_document(name: &str, bytes: &[u8], ring: &KeyRing) -> Result<(u64, Vec<u8>), Failure> {
    let version = document_version(bytes)?;
    Ok((version, sealed::open_document(name, version, &bytes[9..], ring).map_err(failed)?))
}

fn content<'b>(bytes: &'b [u8], what: &str) -> Result<&'b [u8], Failure> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => Ok(rest),
        Some((format, _)) if *format > FORMAT => Err(failed(sealed::later(what, format))),
        _ => Err(failed(damaged(what))),
    }
}

/// Not by `?`: that is for failures of the file.
fn failed(Unreadable(text): Unreadable) -> Failure {
    Failure::Unreadable(text)
}
