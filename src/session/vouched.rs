//! The step that a renewal at an authority outside takes: one pure function that every store runs inside its own
//! transaction, in its own time.

use super::record::{Held, RevocationReason, State, Vouched};
use crate::model::UnixTime;

/// What came of asking the authority.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// Of the lease that it was asked under.
    pub epoch: u64,
    pub answer: Answer,
}

/// What the authority said.
#[derive(Debug, Clone)]
pub enum Answer {
    Given {
        held: Held,
        /// The generation of the client's refresh token, where its refresh is why.
        renewed_for: Option<u64>,
    },
    /// That it is over; and so it has said of these candidates, by their epochs.
    Ended { tried: Vec<u64> },
}

impl Answer {
    /// Whether one of `candidates` was not asked for yet, so that nothing is over.
    pub(super) fn leaves(&self, mut candidates: impl Iterator<Item = u64>) -> bool {
        match self {
            Answer::Given { .. } => false,
            Answer::Ended { tried } => candidates.any(|epoch| !tried.contains(&epoch)),
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// It is kept, as this generation.
    Kept { generation: u64 },
    /// The session is revoked.
    Ended,
    /// The lease was over, and somebody else has it or had it: what was given is kept aside as a candidate.
    Aside,
    /// There is a candidate that was not tried: the session lives.
    Untried,
    /// It was kept before; or somebody else was faster, and a no to what was before theirs ends nothing.
    Moved,
    /// The session is unknown, over or revoked, or nobody outside vouches for it.
    Gone,
}

impl State {
    /// Takes the step at `now`, the store's time. Where it says [`Exchanged::Kept`], what was given takes the place of
    /// what the session holds.
    pub fn exchange(&mut self, renewed: &Renewed, now: UnixTime) -> Exchanged {
        if self.revoked.is_some() || now >= self.absolute {
            return Exchanged::Gone;
        }
        let Some(vouched) = &mut self.vouched else { return Exchanged::Gone };
        match &renewed.answer {
            Answer::Given { .. } if vouched.epoch > renewed.epoch => return Exchanged::Aside,
            _ if vouched.epoch == renewed.epoch && vouched.intent.is_none() => return Exchanged::Moved,
            Answer::Ended { .. } if vouched.epoch != renewed.epoch => return Exchanged::Moved,
            // Also ahead of the store: it has lost the lease, and with it perhaps more, but what was given is the newest.
            Answer::Given { .. } | Answer::Ended { .. } => {}
        }
        match &renewed.answer {
            Answer::Given { held, renewed_for } => {
                *vouched = Vouched {
                    generation: vouched.generation.saturating_add(1),
                    renewed_for: renewed_for.unwrap_or(vouched.renewed_for).max(vouched.renewed_for),
                    expires: held.expires,
                    epoch: renewed.epoch,
                    intent: None,
                    doubtful: false,
                };
                Exchanged::Kept { generation: vouched.generation }
            }
            Answer::Ended { .. } => {
                self.revoke(RevocationReason::Authority, now);
                Exchanged::Ended
            }
        }
    }
}
