//! The steps around a question to the authority outside. Its refresh token may be good for one use only, so whoever asks
//! says so first, in the store: others then wait, and what a process leaves undone is found and finished. Pure functions
//! that every store runs inside its own transaction, in its own time.

use std::time::Duration;

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};

use super::record::{Held, State};
use crate::model::{UnixMillis, UnixTime};

/// A process that renews. Drawn at each start: what it began before is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Renewer(pub u64);

impl Renewer {
    /// # Errors
    /// If there is no randomness.
    pub fn random() -> Result<Renewer, aws_lc_rs::error::Unspecified> {
        let mut bytes = [0; 8];
        rand::fill(&mut bytes)?;
        Ok(Renewer(u64::from_be_bytes(bytes)))
    }
}

/// Somebody is about to redeem what the session holds, or was and has not said what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub owner: Renewer,
    /// Until then it is theirs alone.
    pub lapses: UnixMillis,
    /// It is the second attempt with a token that may be spent: there is no third by itself.
    #[serde(default, skip_serializing_if = "super::record::is_false")]
    pub again: bool,
}

impl Intent {
    /// Whether nobody is at it any more. A store that no other process can open knows that of whatever another one began.
    pub fn has_lapsed(&self, owner: Renewer, alone: bool, now: UnixMillis) -> bool {
        now >= self.lapses || (alone && self.owner != owner)
    }
}

/// What is asked of the step that comes before the question.
#[derive(Debug, Clone, Copy)]
pub struct Intend {
    /// The generation of what is about to be redeemed.
    pub seen: u64,
    pub owner: Renewer,
    pub lease: Duration,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intended {
    /// The authority may be asked; `epoch` is what its answer is kept by. `doubtful`: another attempt was made with the same
    /// token, and nobody knows what came of it.
    /// `again`: this is the second attempt of that kind.
    Go { epoch: u64, doubtful: bool, again: bool },
    /// Somebody else is at it, for so long at the most.
    Held { still: Duration },
    /// There is something newer.
    Moved,
    /// The session is unknown, over or revoked, or nobody outside vouches for it.
    Gone,
}

/// How somebody who asked and got nothing leaves the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The token was not sent, or there was a clear answer: it is as good as before.
    Untouched,
    /// It was sent, and nobody knows what came of it.
    Doubtful,
}

/// What the authority gave to somebody whose lease was over: kept aside, since it may be all that is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub epoch: u64,
    pub held: Held,
}

impl State {
    /// Notes that the authority is about to be asked, and takes the lease for that. Of any number of owners at once one may
    /// go on. What was begun by the same owner is over: there is one flight for each session in a process.
    pub fn intend(&mut self, step: &Intend, alone: bool, now: UnixTime, at: UnixMillis) -> Intended {
        if self.revoked.is_some() || now >= self.absolute {
            return Intended::Gone;
        }
        let Some(vouched) = &mut self.vouched else { return Intended::Gone };
        if vouched.generation != step.seen {
            return Intended::Moved;
        }
        if let Some(intent) = &vouched.intent {
            if intent.owner != step.owner && !intent.has_lapsed(step.owner, alone, at) {
                // Whoever has it may have another setting, or the store's clock was set back: nobody waits for longer than
                // they would hold it themselves before they look again.
                return Intended::Held { still: at.until(intent.lapses).min(step.lease) };
            }
            vouched.doubtful = true;
        }
        vouched.epoch = vouched.epoch.saturating_add(1);
        let again = vouched.intent.is_some();
        vouched.intent = Some(Intent { owner: step.owner, lapses: at.plus(step.lease), again });
        Intended::Go { epoch: vouched.epoch, doubtful: vouched.doubtful, again }
    }

    /// Makes the lease of `epoch` last until `lease` from now; false if it is not the newest any more.
    pub fn extend(&mut self, epoch: u64, lease: Duration, at: UnixMillis) -> bool {
        let intent = self.vouched.as_mut().filter(|vouched| vouched.epoch == epoch);
        let Some(intent) = intent.and_then(|vouched| vouched.intent.as_mut()) else { return false };
        intent.lapses = at.plus(lease);
        true
    }

    /// Gives the lease of `epoch` back; false if that changes nothing. What is left in doubt lapses at once, so that somebody
    /// tries once more while the authority may still remember the question; after that it is left to whoever needs it.
    pub fn leave(&mut self, epoch: u64, left: Left, at: UnixMillis) -> bool {
        let Some(vouched) = self.vouched.as_mut().filter(|vouched| vouched.epoch == epoch) else { return false };
        let Some(intent) = &mut vouched.intent else { return false };
        match (left, intent.again) {
            (Left::Untouched, false) => vouched.intent = None,
            // The second attempt was not made yet.
            (Left::Untouched, true) => intent.lapses = at,
            (Left::Doubtful, false) => {
                intent.lapses = at;
                vouched.doubtful = true;
            }
            (Left::Doubtful, true) => vouched.intent = None,
        }
        true
    }

    /// Whether somebody began to renew it, and is at it no more.
    pub fn has_lapsed(&self, owner: Renewer, alone: bool, at: UnixMillis) -> bool {
        let intent = self.vouched.and_then(|vouched| vouched.intent);
        self.revoked.is_none() && intent.is_some_and(|intent| intent.has_lapsed(owner, alone, at))
    }

    pub(super) fn has_intent(&self) -> bool {
        self.vouched.is_some_and(|vouched| vouched.intent.is_some())
    }
}

/// Candidates that a session has at the most; the oldest gives way.
pub const MOST_CANDIDATES: usize = 4;

#[cfg(test)]
mod tests;
