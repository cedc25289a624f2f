//! The life of a signing key: next (published, so that everybody knows it before it signs), current, previous
//! (published, for as long as a token that it signed may live), gone. Pure: the keeper says when it is, and keeps it.

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};

use super::mint::{MintError, Signer};
use crate::model::{Secret, UnixTime};

/// The keys of the local authority. Exactly one is current and at most one is next.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    pub(super) keys: Vec<RingKey>,
}

#[derive(Debug, Clone)]
pub struct RingKey {
    pub algorithm: Algorithm,
    pub made: UnixTime,
    pub stage: Stage,
    /// PKCS#8.
    pub(super) document: Secret<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Current { since: UnixTime },
    Next { signs_from: UnixTime },
    Previous { until: UnixTime },
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Current { .. } => "current",
            Stage::Next { .. } => "next",
            Stage::Previous { .. } => "previous",
        }
    }
}

/// When keys move on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub algorithm: Algorithm,
    /// Seconds that a key signs; `None`: until somebody rotates by hand.
    pub rotate_after: Option<u64>,
    /// Seconds between the first publication of a key and its first signature.
    pub publish_ahead: u64,
}

/// What a rotation by hand has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The new key signs from here on.
    pub signs_from: UnixTime,
}

impl Ring {
    pub fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    /// Does everything that is due at `now`; true if something changed.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn advance(&mut self, plan: &Plan, now: UnixTime) -> Result<bool, MintError> {
        let count = self.keys.len();
        self.keys.retain(|key| !matches!(key.stage, Stage::Previous { until } if until <= now));
        let mut changed = self.keys.len() < count;
        let Some(since) = self.since() else {
            self.keys.push(RingKey::make(plan.algorithm, Stage::Current { since: now }, now)?);
            return Ok(true);
        };
        if self.next_due(plan).is_some_and(|due| due <= now) {
            // Not before the current key is old enough, unless it is of a kind that is not wanted any more.
            let wanted = self.current_algorithm() == Some(plan.algorithm);
            let old_enough = plan.rotate_after.filter(|_| wanted).map_or(now, |life| since.plus(life));
            let signs_from = now.plus(plan.publish_ahead).max(old_enough);
            self.keys.push(RingKey::make(plan.algorithm, Stage::Next { signs_from }, now)?);
            changed = true;
        }
        Ok(self.promote(now) || changed)
    }

    /// Begins a rotation: the next key, which is made if there is none, signs once it was published for long enough;
    /// `at_once` does not wait for that, so whoever keeps a copy of the key set may refuse new tokens for a while.
    ///
    /// # Errors
    /// If no key can be made, or the ring holds as many as it may.
    pub fn rotate(&mut self, plan: &Plan, at_once: bool, now: UnixTime) -> Result<Begun, MintError> {
        self.advance(plan, now)?;
        if !self.keys.iter().any(|key| matches!(key.stage, Stage::Next { .. })) {
            // Tokens of the previous ones are still good, so none of those can make room.
            if self.keys.len() >= MOST_KEYS {
                return Err(MintError::RingFull);
            }
            self.keys.push(RingKey::make(plan.algorithm, Stage::Next { signs_from: now }, now)?);
        }
        let mut begun = Begun { signs_from: now };
        for key in &mut self.keys {
            if let Stage::Next { signs_from } = &mut key.stage {
                *signs_from = if at_once { now } else { key.made.plus(plan.publish_ahead).max(now) };
                begun.signs_from = *signs_from;
            }
        }
        self.promote(now);
        Ok(begun)
    }

    /// Takes over from `other`, as previous ones, the keys that it has not itself, so that what they have signed stays good;
    /// says how many.
    ///
    /// # Errors
    /// If those are more than it may hold; then nothing has changed.
    pub fn adopt(&mut self, other: &Ring, now: UnixTime) -> Result<usize, MintError> {
        let mut adopted = Vec::new();
        for key in &other.keys {
            let until = match key.stage {
                Stage::Previous { until } => until,
                // Also one that did not sign yet: it may have begun since.
                Stage::Current { .. } | Stage::Next { .. } => now.plus(KEPT),
            };
            let known = self.keys.iter().any(|known| known.document.expose() == key.document.expose());
            if !known && now < until {
                adopted.push(RingKey { stage: Stage::Previous { until }, ..key.clone() });
            }
        }
        if self.keys.len() + adopted.len() > MOST_KEYS {
            return Err(MintError::RingFull);
        }
        let count = adopted.len();
        self.keys.splice(0..0, adopted);
        Ok(count)
    }

    /// When [`Ring::advance`] has something to do again.
    pub fn due(&self, plan: &Plan) -> Option<UnixTime> {
        let steps = self.keys.iter().filter_map(|key| match key.stage {
            Stage::Current { .. } => None,
            Stage::Next { signs_from } => Some(signs_from),
            Stage::Previous { until } => Some(until),
        });
        steps.chain(self.next_due(plan)).min()
    }

    /// When a next key is to be published; `None` if there is one, or none is wanted.
    fn next_due(&self, plan: &Plan) -> Option<UnixTime> {
        if self.keys.iter().any(|key| matches!(key.stage, Stage::Next { .. })) {
            return None;
        }
        if self.current_algorithm() != Some(plan.algorithm) {
            return Some(UnixTime(0));
        }
        Some(self.since()?.plus(plan.rotate_after?).minus(plan.publish_ahead))
    }

    fn promote(&mut self, now: UnixTime) -> bool {
        let ready = |key: &RingKey| matches!(key.stage, Stage::Next { signs_from } if signs_from <= now);
        let Some(ready) = self.keys.iter().position(ready) else { return false };
        for key in &mut self.keys {
            if matches!(key.stage, Stage::Current { .. }) {
                key.stage = Stage::Previous { until: now.plus(KEPT) };
            }
        }
        self.keys[ready].stage = Stage::Current { since: now };
        true
    }

    fn since(&self) -> Option<UnixTime> {
        self.keys.iter().find_map(|key| match key.stage {
            Stage::Current { since } => Some(since),
            _ => None,
        })
    }

    fn current_algorithm(&self) -> Option<Algorithm> {
        let mut keys = self.keys.iter();
        keys.find(|key| matches!(key.stage, Stage::Current { .. })).map(|key| key.algorithm)
    }

    /// For a store that seals it.
    ///
    /// # Errors
    /// Never: names and numbers always serialise.
    pub fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let kept = |key: &RingKey| Kept {
            algorithm: key.algorithm,
            made: key.made,
            stage: key.stage,
            document: BASE64.encode(key.document.expose()),
        };
        serde_json::to_vec(&self.keys.iter().map(kept).collect::<Vec<_>>())
    }

    /// Reads what [`Ring::write`] wrote; `None` if it is something else.
    pub fn read(content: &[u8]) -> Option<Ring> {
        let kept: Vec<Kept> = serde_json::from_slice(content).ok()?;
        let key = |kept: Kept| {
            let Kept { algorithm, made, stage, document } = kept;
            Some(RingKey { algorithm, made, stage, document: Secret::new(BASE64.decode(document).ok()?) })
        };
        Some(Ring { keys: kept.into_iter().map(key).collect::<Option<_>>()? })
    }
}

impl RingKey {
    pub(super) fn make(algorithm: Algorithm, stage: Stage, now: UnixTime) -> Result<RingKey, MintError> {
        Ok(RingKey { algorithm, made: now, stage, document: Signer::generate(algorithm)? })
    }

    pub(super) fn signer(&self) -> Result<Signer, MintError> {
        Signer::read(self.algorithm, self.document.expose())
    }

    /// The name of the key (RFC 7638); none for a document that is no key.
    pub fn kid(&self) -> Option<String> {
        self.signer().ok()?.kid().map(str::to_owned)
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    algorithm: Algorithm,
    made: UnixTime,
    stage: Stage,
    document: String,
}

/// The name of the document that stores keep it as.
pub const DOCUMENT: &str = "signing-keys";

/// Seconds that a previous key stays published and believed: the day that a token may live at most, whatever the
/// configuration said when it was signed, and an hour for clocks and for copies of the key set.
pub const KEPT: u64 = 25 * 3600;

/// Keys of one ring. Rotations by themselves come at most once an hour, so they never get there.
const MOST_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { algorithm: Algorithm::ES256, rotate_after: Some(1000), publish_ahead: 100 };

    fn stages(ring: &Ring) -> Vec<Stage> {
        ring.keys.iter().map(|key| key.stage).collect()
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_stays_as_long_as_its_tokens() {
        let mut ring = Ring::default();
        assert!(ring.advance(&PLAN, UnixTime(0)).unwrap());
        let first = ring.keys[0].kid().unwrap();
        let current = |since| Stage::Current { since: UnixTime(since) };
        assert_eq!((stages(&ring), ring.due(&PLAN)), (vec![current(0)], Some(UnixTime(900))));
        assert!(!ring.advance(&PLAN, UnixTime(899)).unwrap());
        assert!(ring.advance(&PLAN, UnixTime(900)).unwrap());
        let next = Stage::Next { signs_from: UnixTime(1000) };
        assert_eq!((stages(&ring), ring.due(&PLAN)), (vec![current(0), next], Some(UnixTime(1000))));
        assert!(!ring.advance(&PLAN, UnixTime(999)).unwrap());
        assert!(ring.advance(&PLAN, UnixTime(1000)).unwrap());
        let previous = Stage::Previous { until: UnixTime(1000 + KEPT) };
        assert_eq!((stages(&ring), ring.due(&PLAN)), (vec![previous, current(1000)], Some(UnixTime(1900))));
        // Nobody was there for years: one step at a time, and nothing signs unannounced.
        assert!(ring.advance(&PLAN, UnixTime(9_000_000)).unwrap());
        assert_eq!(stages(&ring), [current(1000), Stage::Next { signs_from: UnixTime(9_000_100) }]);
        assert!(ring.keys.iter().all(|key| key.kid().unwrap() != first));
    }

    #[test]
    fn without_a_schedule_only_a_hand_rotates() {
        let plan = Plan { rotate_after: None, ..PLAN };
        let mut ring = Ring::default();
        ring.advance(&plan, UnixTime(0)).unwrap();
        assert_eq!(ring.due(&plan), None);
        assert_eq!(ring.rotate(&plan, false, UnixTime(50)).unwrap(), Begun { signs_from: UnixTime(150) });
        // Asked again, it is the same rotation.
        assert_eq!(ring.rotate(&plan, false, UnixTime(60)).unwrap(), Begun { signs_from: UnixTime(150) });
        assert_eq!((ring.keys.len(), ring.due(&plan)), (2, Some(UnixTime(150))));
        assert!(ring.advance(&plan, UnixTime(150)).unwrap());
        assert_eq!(ring.keys[1].stage, Stage::Current { since: UnixTime(150) });
    }

    #[test]
    fn who_cannot_wait_rotates_at_once() {
        let mut ring = Ring::default();
        assert_eq!(ring.rotate(&PLAN, true, UnixTime(7)).unwrap(), Begun { signs_from: UnixTime(7) });
        assert_eq!(
            stages(&ring),
            [Stage::Previous { until: UnixTime(7 + KEPT) }, Stage::Current { since: UnixTime(7) }]
        );
    }

    #[test]
    fn another_algorithm_comes_by_the_same_way() {
        let mut ring = Ring::default();
        ring.advance(&PLAN, UnixTime(0)).unwrap();
        let plan = Plan { algorithm: Algorithm::EdDSA, ..PLAN };
        assert!(ring.advance(&plan, UnixTime(10)).unwrap());
        assert_eq!(ring.keys[1].stage, Stage::Next { signs_from: UnixTime(110) });
        assert!(ring.advance(&plan, UnixTime(110)).unwrap());
        assert_eq!(ring.current_algorithm(), Some(Algorithm::EdDSA));
        assert!(!ring.advance(&plan, UnixTime(111)).unwrap());
    }

    #[test]
    fn what_is_written_is_read_again_and_shows_no_key() {
        for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
            let mut ring = Ring::default();
            ring.rotate(&Plan { algorithm, ..PLAN }, true, UnixTime(7)).unwrap();
            let again = Ring::read(&ring.write().unwrap()).unwrap();
            assert_eq!(stages(&again), stages(&ring));
            let kids = |ring: &Ring| ring.keys.iter().map(|key| key.kid().unwrap()).collect::<Vec<_>>();
            assert_eq!(kids(&again), kids(&ring));
            assert!(format!("{ring:?}").contains("document: \"…\""));
        }
        for bad in ["", "{}", "[{}]", "[1]"] {
            assert!(Ring::read(bad.as_bytes()).is_none());
        }
    }

    #[test]
    fn rotations_by_hand_end_before_the_ring_is_too_long_to_be_read() {
        let mut ring = Ring::default();
        ring.advance(&PLAN, UnixTime(0)).unwrap();
        let refused = (0..100).find_map(|at| ring.rotate(&PLAN, true, UnixTime(at)).err());
        assert_eq!(refused, Some(MintError::RingFull));
        assert_eq!(ring.keys().len(), MOST_KEYS);
        ring.rotate(&PLAN, true, UnixTime(100 + KEPT)).unwrap();
    }
}
