//! What was found right a moment ago, and what is being found out right now.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::{hmac, rand};
use moka::sync::Cache;
use tokio::sync::watch;

use crate::model::UnixTime;

/// A guess: whose, against which hashes, and the secret itself, under a key that only this process has.
pub(super) type Digest = [u8; 32];

/// Makes digests of secrets that are worth nothing outside this process.
pub(super) struct Keyed(hmac::Key);

impl Keyed {
    /// # Errors
    /// If there is no randomness.
    pub fn new() -> Result<Keyed, aws_lc_rs::error::Unspecified> {
        hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).map(Keyed)
    }

    /// Each part with its length before it, so that no two lists of parts look alike.
    pub fn digest<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

/// Secrets that were right, each for at most [`LIFE`]. A changed hash makes another digest, so nothing is ever removed.
pub(super) struct Remembered(Cache<Digest, UnixTime>);

impl Remembered {
    pub fn new() -> Remembered {
        Remembered(Cache::builder().max_capacity(MOST).time_to_live(LIFE).build())
    }

    pub fn note(&self, digest: Digest, now: UnixTime) {
        self.0.insert(digest, now);
    }

    pub fn holds(&self, digest: &Digest, now: UnixTime) -> bool {
        // The cache's own expiry only frees memory; the clock of the request decides.
        self.0.get(digest).is_some_and(|noted| noted <= now && noted.until(now) < LIFE)
    }
}

/// The same guess at the same time is checked once: a client's first fifty requests cost one hash.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Digest, watch::Receiver<Option<bool>>>>);

/// What somebody with a guess does.
pub(super) enum Turn<'f> {
    /// Finds out, and tells the others.
    Lead(Lead<'f>),
    /// Waits for what is found out.
    Follow(watch::Receiver<Option<bool>>),
}

pub(super) struct Lead<'f> {
    flights: &'f Flights,
    digest: Digest,
    found: watch::Sender<Option<bool>>,
}

impl Flights {
    pub fn join(&self, digest: Digest) -> Turn<'_> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = flights.get(&digest) {
            return Turn::Follow(found.clone());
        }
        let (found, followers) = watch::channel(None);
        flights.insert(digest, followers);
        Turn::Lead(Lead { flights: self, digest, found })
    }
}

impl Lead<'_> {
    pub fn found(&self, right: bool) {
        self.found.send_replace(Some(right));
    }
}

/// Also when the client of the leader hangs up: its followers then see the channel closed, and one of them leads.
impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

/// For how long a right secret is not hashed again.
const LIFE: Duration = Duration::from_secs(60);

/// Secrets that are remembered at once; each takes about 100 bytes.
const MOST: u64 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_secret_is_remembered_for_a_minute_of_the_requests_clock() {
        let (keyed, remembered, start) = (Keyed::new().unwrap(), Remembered::new(), UnixTime(1000));
        let digest = keyed.digest([b"user".as_slice(), b"ana", b"hash", b"secret"]);
        assert!(!remembered.holds(&digest, start));
        remembered.note(digest, start);
        assert!(remembered.holds(&digest, start) && remembered.holds(&digest, start.plus(59)));
        assert!(!remembered.holds(&digest, start.plus(60)));
        assert!(!remembered.holds(&digest, start.minus(1)), "a clock that was set back extends nothing");
    }

    #[test]
    fn other_parts_or_other_borders_between_them_are_another_digest() {
        let keyed = Keyed::new().unwrap();
        let digest = |parts: &[&str]| keyed.digest(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(digest(&["ana", "hash", "secret"]), digest(&["ana", "hash", "secret"]));
        for other in [["ana", "hash2", "secret"], ["an", "ahash", "secret"], ["ana", "hashs", "ecret"]] {
            assert_ne!(digest(&["ana", "hash", "secret"]), digest(&other), "{other:?}");
        }
        assert_ne!(Keyed::new().unwrap().digest([b"a".as_slice()]), keyed.digest([b"a".as_slice()]));
    }

    #[tokio::test]
    async fn one_leads_the_others_learn_what_it_found_and_a_lost_leader_is_replaced() {
        let flights = Flights::default();
        let Turn::Lead(lead) = flights.join([1; 32]) else { panic!("nobody leads yet") };
        let Turn::Follow(mut follower) = flights.join([1; 32]) else { panic!("two lead") };
        assert!(matches!(flights.join([2; 32]), Turn::Lead(_)));
        lead.found(true);
        assert_eq!(follower.wait_for(Option::is_some).await.as_deref().ok(), Some(&Some(true)));
        drop(lead);

        let Turn::Lead(lead) = flights.join([1; 32]) else { panic!("it was over") };
        let Turn::Follow(mut follower) = flights.join([1; 32]) else { panic!("two lead") };
        drop(lead);
        assert!(follower.wait_for(Option::is_some).await.is_err());
        assert!(matches!(flights.join([1; 32]), Turn::Lead(_)));
    }
}
