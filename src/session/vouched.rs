//! The step that a renewal at an authority outside takes: one pure function that every store runs inside its own
//! transaction, in its own time.

use super::record::{Held, State, Vouched};
use crate::model::UnixTime;

/// What the authority has given anew.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The generation that was seen before the authority was asked.
    pub seen: u64,
    pub held: Held,
    /// The generation of the client's refresh token, where its refresh is why.
    pub renewed_for: Option<u64>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// It is kept, as this generation.
    Kept { generation: u64 },
    /// Somebody else was faster: what they got stays.
    Moved,
    /// The session is unknown, over or revoked, or nobody outside vouches for it.
    Gone,
}

impl State {
    /// Whether `renewed` takes the place of what the session holds, at `now`, the store's time.
    pub fn exchange(&mut self, renewed: &Renewed, now: UnixTime) -> Exchanged {
        if self.revoked.is_some() || now >= self.absolute {
            return Exchanged::Gone;
        }
        let Some(vouched) = &mut self.vouched else { return Exchanged::Gone };
        if vouched.generation != renewed.seen {
            return Exchanged::Moved;
        }
        *vouched = Vouched {
            generation: vouched.generation.saturating_add(1),
            renewed_for: renewed.renewed_for.unwrap_or(vouched.renewed_for).max(vouched.renewed_for),
            expires: renewed.held.expires,
        };
        Exchanged::Kept { generation: vouched.generation }
    }
}
