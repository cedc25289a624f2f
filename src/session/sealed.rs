//! What stores seal, each part for its place: nobody can put it into another record, or back where it stood before.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    lease::Candidate,
    record::{Code, Granted, Held, SessionId},
    ring::KeyRing,
    store::StoreError,
};

/// Why a part cannot be sealed or opened; without what is in it.
#[derive(Debug)]
pub(super) struct Unreadable(pub String);

impl From<Unreadable> for StoreError {
    fn from(Unreadable(text): Unreadable) -> StoreError {
        StoreError::Unreadable(text)
    }
}

pub(super) fn granted(id: SessionId, granted: &Granted, ring: &KeyRing) -> Result<Vec<u8>, Unreadable> {
    seal(ring, granted, &place(GRANTED, &id.0))
}

pub(super) fn open_granted(id: SessionId, sealed: &[u8], ring: &KeyRing) -> Result<Granted, Unreadable> {
    open(ring, sealed, &place(GRANTED, &id.0), "session")
}

pub(super) fn held(id: SessionId, held: &Held, ring: &KeyRing) -> Result<Vec<u8>, Unreadable> {
    seal(ring, held, &place(HELD, &id.0))
}

pub(super) fn open_held(id: SessionId, sealed: &[u8], ring: &KeyRing) -> Result<Held, Unreadable> {
    open(ring, sealed, &place(HELD, &id.0), "held")
}

pub(super) fn candidate(id: SessionId, candidate: &Candidate, ring: &KeyRing) -> Result<Vec<u8>, Unreadable> {
    seal(ring, &candidate.held, &candidate_place(id, candidate.epoch))
}

pub(super) fn open_candidate(
    id: SessionId,
    epoch: u64,
    sealed: &[u8],
    ring: &KeyRing,
) -> Result<Candidate, Unreadable> {
    Ok(Candidate { epoch, held: open(ring, sealed, &candidate_place(id, epoch), "candidate")? })
}

fn candidate_place(id: SessionId, epoch: u64) -> Vec<u8> {
    [&place(CANDIDATE, &id.0)[..], &epoch.to_be_bytes()].concat()
}

pub(super) fn code(id: SessionId, code: &Code, ring: &KeyRing) -> Result<Vec<u8>, Unreadable> {
    seal(ring, code, &place(CODE, &id.0))
}

pub(super) fn open_code(id: SessionId, sealed: &[u8], ring: &KeyRing) -> Result<Code, Unreadable> {
    open(ring, sealed, &place(CODE, &id.0), "code")
}

/// A document; its place names the version too, so that an old one cannot be put back under a new number.
pub(super) fn document(name: &str, version: u64, plain: &[u8], ring: &KeyRing) -> Result<Vec<u8>, Unreadable> {
    ring.seal(plain, &document_place(name, version)).map_err(|error| Unreadable(error.to_string()))
}

pub(super) fn open_document(name: &str, version: u64, sealed: &[u8], ring: &KeyRing) -> Result<Vec<u8>, Unreadable> {
    ring.open(sealed, &document_place(name, version)).map_err(|error| Unreadable(format!("document: {error}")))
}

fn document_place(name: &str, version: u64) -> Vec<u8> {
    [&place(DOCUMENT, name.as_bytes())[..], &version.to_be_bytes()].concat()
}

/// Under which digests the sessions of the same subject are, or of the same client on its own behalf.
pub(super) fn owners(granted: &Granted, ring: &KeyRing) -> impl Iterator<Item = [u8; 16]> {
    ring.index(if granted.username.is_some() { b"user's" } else { b"client's" }, &granted.subject)
}

/// Under which digests the sessions of a user are, by subject or username.
pub(super) fn users(name: &str, ring: &KeyRing) -> impl Iterator<Item = [u8; 16]> {
    ring.index(USER, name)
}

/// The digests of subject and username, under the current key.
pub(super) fn users_of(granted: &Granted, ring: &KeyRing) -> [[u8; 16]; 2] {
    let user = |name: &str| users(name, ring).next().unwrap_or_default();
    let subject = user(&granted.subject);
    [subject, granted.username.as_deref().map_or(subject, user)]
}

fn seal(ring: &KeyRing, value: &impl Serialize, place: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(value).map_err(|_| damaged("record"))?);
    ring.seal(&plain, place).map_err(|error| Unreadable(error.to_string()))
}

fn open<T: DeserializeOwned>(ring: &KeyRing, sealed: &[u8], place: &[u8], what: &str) -> Result<T, Unreadable> {
    let plain = ring.open(sealed, place).map_err(|error| Unreadable(format!("{what}: {error}")))?;
    serde_json::from_slice(&zeroize::Zeroizing::new(plain)).map_err(|_| damaged(what))
}

/// What a sealed part belongs to: field, format and key of its record.
fn place(field: &[u8], key: &[u8]) -> Vec<u8> {
    [field, &[0, FORMAT], key].concat()
}

pub(super) fn later(what: &str, format: impl std::fmt::Display) -> Unreadable {
    Unreadable(format!("{what}: written in format {format} by a later sidegate; this one knows {FORMAT}"))
}

pub(super) fn damaged(what: &str) -> Unreadable {
    Unreadable(format!("{what}: damaged"))
}

/// The form of records that this version writes.
pub(super) const FORMAT: u8 = 1;

const GRANTED: &[u8] = b"sidegate session granted";
const HELD: &[u8] = b"sidegate held";
const CANDIDATE: &[u8] = b"sidegate candidate";
const CODE: &[u8] = b"sidegate code";
const DOCUMENT: &[u8] = b"sidegate document";
const USER: &[u8] = b"user";
