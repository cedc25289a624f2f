//! The step that a renewal at an authority outside takes: one pure function that every store runs inside its own
//! transaction, in its own time.

use super::record::{Held, RevocationReason, State, Vouched};
use crate::model::UnixTime;

/// What came of asking the authority.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The generation that was seen before the authority was asked.
    pub seen: u64,
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
    /// That it is over.
    Ended,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// It is kept, as this generation.
    Kept { generation: u64 },
    /// The session is revoked.
    Ended,
    /// Somebody else was faster: what they got stays, and a no to what was before it ends nothing.
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
        if vouched.generation != renewed.seen {
            return Exchanged::Moved;
        }
        match &renewed.answer {
            Answer::Given { held, renewed_for } => {
                *vouched = Vouched {
                    generation: vouched.generation.saturating_add(1),
                    renewed_for: renewed_for.unwrap_or(vouched.renewed_for).max(vouched.renewed_for),
                    expires: held.expires,
                };
                Exchanged::Kept { generation: vouched.generation }
            }
            Answer::Ended => {
                self.revoke(RevocationReason::Authority, now);
                Exchanged::Ended
            }
        }
    }
}
