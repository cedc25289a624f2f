//! The names of everything that is kept.
//!
//! Sessions lie in 256 buckets, by the first byte of their random ids. What a step on a session touches lies in its
//! bucket, and a bucket in one hash slot, since its number is in braces (Redis Cluster specification, "Hash tags"). What
//! is found by a user, a client or a token lies wherever it may, and is verified when it is read.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

use crate::{model::UnixTime, session::record::SessionId};

/// Names under one prefix.
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Keys {
        Keys { prefix: prefix.to_owned() }
    }

    /// Of channels, too.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What every step on a session is given: the session, and the ends and the intents of its bucket.
    pub(super) fn of_session(&self, id: SessionId) -> [String; 3] {
        let bucket = Bucket::of(id);
        [self.session(id), self.ends(bucket), self.intents(bucket)]
    }

    pub(super) fn session(&self, id: SessionId) -> String {
        self.in_bucket(Bucket::of(id), &format!("session:{id}"))
    }

    /// Ids by when they are over; those of tombstones below zero.
    pub(super) fn ends(&self, bucket: Bucket) -> String {
        self.in_bucket(bucket, "ends")
    }

    /// Ids of sessions that somebody is renewing, or was, by when the lease lapses, in milliseconds.
    pub(super) fn intents(&self, bucket: Bucket) -> String {
        self.in_bucket(bucket, "intents")
    }

    pub(super) fn code(&self, id: SessionId) -> String {
        self.in_bucket(Bucket::of(id), &format!("code:{id}"))
    }

    /// Ids of sessions that were not revoked, by when they were created.
    pub(super) fn live_of(&self, owner: &[u8; 16]) -> String {
        self.anywhere("live", owner)
    }

    /// [`Named`] sessions, in the order of their ids.
    pub(super) fn user(&self, user: &[u8; 16]) -> String {
        self.anywhere("user", user)
    }

    /// The same.
    pub(super) fn client(&self, client: &[u8; 16]) -> String {
        self.anywhere("client", client)
    }

    /// The session that handed out the authority's own token with this digest.
    pub(super) fn foreign(&self, digest: &[u8; 16]) -> String {
        self.anywhere("foreign", digest)
    }

    /// Wrong ones of somebody, somewhere.
    pub(super) fn guesses(&self, count: &[u8; 16]) -> String {
        self.anywhere("guesses", count)
    }

    pub(super) fn used(&self, key: &[u8; 32]) -> String {
        self.anywhere("used", key)
    }

    pub(super) fn document(&self, name: &str) -> String {
        format!("{}:document:{name}", self.prefix)
    }

    /// Held by who clears away what is over.
    pub(super) fn purging(&self) -> String {
        format!("{}:purging", self.prefix)
    }

    fn in_bucket(&self, Bucket(number): Bucket, rest: &str) -> String {
        format!("{}:{{{number:02x}}}:{rest}", self.prefix)
    }

    fn anywhere(&self, what: &str, digest: &[u8]) -> String {
        format!("{}:{what}:{}", self.prefix, text(digest))
    }
}

/// Bytes as they stand in keys and records.
pub(super) fn text(digest: &[u8]) -> String {
    BASE64URL.encode(digest)
}

/// A session in an index that is read in the order of ids: base64 has another one than the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub id: SessionId,
    /// An index is written first: what is not there yet may still come.
    pub created: UnixTime,
}

impl Named {
    pub(super) fn read(text: &str) -> Option<Named> {
        let (id, created) = text.split_at_checked(ID)?;
        let id = u128::from_str_radix(id, 16).ok()?;
        Some(Named { id: SessionId(id.to_be_bytes()), created: UnixTime(u64::from_str_radix(created, 16).ok()?) })
    }

    /// Of everything behind `id`, as `ZRANGEBYLEX` is told it.
    pub(super) fn behind(id: Option<SessionId>) -> String {
        // No digit comes behind this letter.
        id.map_or("-".to_owned(), |id| format!("({:032x}g", u128::from_be_bytes(id.0)))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{:x}", u128::from_be_bytes(self.id.0), self.created.0)
    }
}

/// Digits of an id.
const ID: usize = 32;

/// Sessions that share a hash slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket(u8);

impl Bucket {
    pub(super) fn of(id: SessionId) -> Bucket {
        Bucket(id.0[0])
    }

    /// All of them, in the order of ids, from the one of `id` on.
    pub(super) fn from(id: Option<SessionId>) -> impl Iterator<Item = Bucket> {
        (id.map_or(0, |id| id.0[0])..=u8::MAX).map(Bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_touches_is_in_one_hash_slot_and_names_nobody() {
        let keys = Keys::new("sidegate");
        let id = SessionId([0xa7; 16]);
        let named = keys.of_session(id);
        assert_eq!(named[0], "sidegate:{a7}:session:p6enp6enp6enp6enp6enpw");
        assert!(named.iter().chain([&keys.code(id)]).all(|key| key.starts_with("sidegate:{a7}:")));
        assert_eq!(Bucket::from(None).count(), 256);
        assert_eq!(Bucket::from(Some(SessionId([0xfe; 16]))).collect::<Vec<_>>(), [Bucket(0xfe), Bucket(0xff)]);
    }

    #[test]
    fn names_in_an_index_lie_in_the_order_of_ids_and_what_is_none_is_left_out() {
        let named = |byte: u8| Named { id: SessionId([byte; 16]), created: UnixTime(1_700_000_000) };
        let names: Vec<String> = [0, 0x3e, 0x7f, 0xfb, 0xff].map(|byte| named(byte).to_string()).into();
        assert!(names.is_sorted());
        assert_eq!(Named::read(&names[3]), Some(named(0xfb)));
        for between in [Named::behind(Some(named(0x7f).id)), Named::behind(None)] {
            assert!(between == "-" || (names[2][..] < between[1..] && between[1..] < names[3][..]), "{between}");
        }
        for odd in
            ["", "p6enp6enp6enp6enp6enpw", &names[0][..32], &format!("{}x", names[0]), "\u{e9}".repeat(16).as_str()]
        {
            assert_eq!(Named::read(odd), None, "{odd}");
        }
    }
}
