//! The step that a refresh token takes (oauth.md calls it ROTATE, RETRY, REUSE, HEAL): one pure function that every
//! store runs inside its own transaction, in its own time.

use super::record::{Access, MOST_ACCESS_TOKENS, MOST_FOREIGN_TOKENS, Revocation, RevocationReason, State};
use crate::model::{RefreshForm, UnixTime};

/// What is asked of the step. MAC, client authentication and everything else that may fail was checked before it.
#[derive(Debug, Clone)]
pub struct Rotate {
    pub client: String,
    pub presented: u64,
    /// `rotation: stable`: the same refresh token goes on being good. Those that were given out before, while the client
    /// still rotated, are judged as ever.
    pub stable: bool,
    /// Seconds until the session ends without another refresh.
    pub idle: u64,
    /// The access token that the answer will carry; its generation is set by the step.
    pub access: Access,
}

/// What the step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The refresh token of this generation goes out.
    Rotated { generation: u64 },
    /// The same successor once more: a concurrent use or a lost answer.
    Retried { generation: u64 },
    /// The store had lost a write.
    Healed { generation: u64 },
    /// An old token came back: the session is revoked.
    Reused { current: u64, age: u64 },
    /// Too many retries of one generation.
    RetriesExhausted,
    /// Unknown, expired, revoked or another client's: nothing has changed.
    Refused(Refused),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Unknown,
    Expired,
    OtherClient,
    Revoked,
    /// No further token of the family has a name.
    LastGeneration,
}

impl State {
    /// Takes the step at `now`, the store's time. The order of the checks is part of the contract: a token that is not
    /// otherwise good must revoke nothing.
    pub fn rotate(&mut self, step: &Rotate, now: UnixTime) -> Outcome {
        if now >= self.absolute || now >= self.idle_until {
            return Outcome::Refused(Refused::Expired);
        }
        if self.client != step.client {
            return Outcome::Refused(Refused::OtherClient);
        }
        if self.revoked.is_some() {
            return Outcome::Refused(Refused::Revoked);
        }
        if self.generation == 0 || step.presented == 0 {
            return Outcome::Refused(Refused::Unknown);
        }
        let age = self.rotated_at.until(now).as_secs();
        if step.presented >= self.generation {
            let healed = step.presented > self.generation;
            let next = if step.stable { step.presented } else { step.presented.saturating_add(1) };
            if next > last_generation(self.form) {
                return Outcome::Refused(Refused::LastGeneration);
            }
            self.acknowledged = step.presented;
            self.generation = next;
            self.rotated_at = now;
            self.retries = 0;
            self.idle_until = now.plus(step.idle).min(self.absolute);
            self.add_access(Access { generation: next, ..step.access.clone() }, now);
            let generation = self.generation;
            return if healed { Outcome::Healed { generation } } else { Outcome::Rotated { generation } };
        }
        let parent = step.presented + 1 == self.generation;
        let concurrent = age <= CONCURRENT;
        let lost = age <= LOST_ANSWER && self.acknowledged < self.generation;
        if parent && (concurrent || lost) {
            if self.retries >= MOST_RETRIES {
                return Outcome::RetriesExhausted;
            }
            self.retries += 1;
            self.add_access(Access { generation: self.generation, ..step.access.clone() }, now);
            return Outcome::Retried { generation: self.generation };
        }
        self.revoke(RevocationReason::Reuse, now);
        Outcome::Reused { current: self.generation, age }
    }

    /// Ends the session; false if it had ended before.
    pub fn revoke(&mut self, reason: RevocationReason, now: UnixTime) -> bool {
        if self.revoked.is_some() {
            return false;
        }
        self.revoked = Some(Revocation { reason, at: now });
        self.access.clear();
        if let Some(vouched) = &mut self.vouched {
            // Nobody is to renew it any more.
            vouched.intent = None;
        }
        true
    }

    /// An access token of `generation` was seen, so the answer that it came with has reached the client: a retry's answer
    /// carries the same refresh token and says the same. False if that changes nothing any more.
    pub fn acknowledge(&mut self, generation: u64, now: UnixTime) -> bool {
        let generation = generation.min(self.generation);
        // What was acknowledged counts only in the window of lost answers.
        let counts = self.revoked.is_none() && self.rotated_at.until(now).as_secs() <= LOST_ANSWER;
        if generation <= self.acknowledged || !counts {
            return false;
        }
        self.acknowledged = generation;
        true
    }

    /// One more that is good; what is over makes room first, then the oldest.
    pub(super) fn add_access(&mut self, access: Access, now: UnixTime) {
        // A retry may hand out the authority's own token once more.
        let stays = |known: &Access| now < known.over_at() && known.digest != access.digest;
        let most = if access.foreign { MOST_FOREIGN_TOKENS } else { MOST_ACCESS_TOKENS };
        let same = |known: &Access| known.foreign == access.foreign;
        let kept = self.access.iter().filter(|known| stays(known) && same(known)).count();
        let mut superfluous = (kept + 1).saturating_sub(most);
        self.access.retain(|known| {
            let goes = superfluous > 0 && stays(known) && same(known);
            superfluous -= usize::from(goes);
            stays(known) && !goes
        });
        let expires = access.expires.min(self.absolute);
        self.access.push(Access { expires, ..access });
    }
}

/// The last generation that a token can name. In the full form no client lives to see it.
pub const fn last_generation(form: RefreshForm) -> u64 {
    match form {
        RefreshForm::Full => (1 << 63) - 1,
        RefreshForm::Compact => u16::MAX as u64,
    }
}

/// Seconds after a rotation in which the parent is a concurrent use, whatever became of its successor.
pub const CONCURRENT: u64 = 10;
/// Seconds in which the parent is a lost answer, as long as the successor was never used.
pub const LOST_ANSWER: u64 = 60;
/// Retries that one generation answers.
pub const MOST_RETRIES: u32 = 256;

#[cfg(test)]
mod tests;
