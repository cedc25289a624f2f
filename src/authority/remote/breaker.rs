//! Whether the authority is asked at all: after several failures in a row not for a while, and then by one question first.
//! Nothing in here looks at a clock or waits.

use std::time::Duration;

use crate::{backoff::pause, model::UnixTime};

/// The breaker of one authority.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    /// In a row, of those that opened nothing yet.
    failures: u32,
    /// Of those, the ones that may concern one alone: they count once for each.
    culprits: Vec<Whose>,
    /// Whose the last probe was, if it failed and that may concern them alone.
    probed: Option<Whose>,
    /// In a row, without a good answer in between.
    openings: u32,
    /// Counts the changes of state: a failure of a question from before one says nothing of what is now.
    epoch: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Closed,
    Open(Rest),
    /// The rest is over, and one question is under way.
    HalfOpen(Rest),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rest {
    until: UnixTime,
    /// Seconds.
    length: u64,
}

/// For whom a question is put: what it comes to may be due to them. They are told apart by numbers of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose(pub u64);

/// Leave to ask one question. It must come back, by [`Breaker::settle`] or [`Breaker::give_back`]; it cannot be copied.
#[derive(Debug, PartialEq, Eq)]
pub struct Pass {
    epoch: u64,
    probe: bool,
}

/// Nothing may be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shut {
    /// Seconds after which another try is worth it.
    pub retry_after: u64,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// Any answer that makes sense, also a refusal.
    Answered,
    /// No connection, no answer in time, one that makes no sense, or one that says: not now.
    Away {
        /// Seconds after which it wants to be asked again, if it said so.
        come_back: Option<u64>,
        /// It did answer, so it may be away for them alone; `None`: for everybody.
        culprit: Option<Whose>,
    },
}

/// What changed for those who come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `again`: the probe has failed as well.
    Opened {
        for_seconds: u64,
        again: bool,
    },
    Closed,
}

/// For people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    #[default]
    Closed,
    Open {
        /// When it is asked again, if somebody wants something then.
        until: UnixTime,
    },
    HalfOpen,
}

impl Breaker {
    /// Leave for one question at `now`, put for `whose`; `None`: for sidegate itself.
    ///
    /// # Errors
    /// While it is open, and while one question finds out whether it may close.
    pub fn admit(&mut self, whose: Option<Whose>, now: UnixTime) -> Result<Pass, Shut> {
        self.may_ask(whose, now)?;
        if let State::Open(rest) = self.state {
            self.epoch += 1;
            self.state = State::HalfOpen(rest);
        }
        Ok(Pass { epoch: self.epoch, probe: matches!(self.state, State::HalfOpen(_)) })
    }

    /// Whether [`Breaker::admit`] would give leave.
    ///
    /// # Errors
    /// As there.
    pub fn may_ask(&mut self, whose: Option<Whose>, now: UnixTime) -> Result<(), Shut> {
        // Whoever it may be due to that it stays open does not come first again.
        let patience = if whose.is_some() && whose == self.probed { OTHERS_FIRST } else { 0 };
        match &mut self.state {
            State::Closed => Ok(()),
            State::HalfOpen(_) => Err(Shut { retry_after: 1 }),
            State::Open(rest) => {
                // Further away than the rest is long: the clock was set back.
                rest.until = rest.until.min(now.plus(rest.length));
                let left = now.until(rest.until.plus(patience)).as_secs();
                if left == 0 { Ok(()) } else { Err(Shut { retry_after: left }) }
            }
        }
    }

    /// What came of the question that `pass` was leave for. `chance` (from 0 to 1) spreads the rests of those who fail
    /// together.
    pub fn settle(&mut self, pass: Pass, went: Went, now: UnixTime, chance: f64) -> Option<Change> {
        match went {
            // Also if it was asked long ago: it answers now.
            Went::Answered => {
                let closes = self.state != State::Closed;
                (self.failures, self.openings, self.probed) = (0, 0, None);
                self.culprits.clear();
                self.state = State::Closed;
                self.epoch += u64::from(closes);
                closes.then_some(Change::Closed)
            }
            Went::Away { .. } if pass.epoch != self.epoch => None,
            Went::Away { come_back, culprit } => {
                match culprit {
                    // One whose questions always fail must not shut all others out.
                    Some(culprit) if self.culprits.contains(&culprit) => {}
                    culprit => {
                        self.failures += 1;
                        self.culprits.extend(culprit);
                    }
                }
                if pass.probe {
                    self.probed = culprit;
                }
                let opens = pass.probe || self.failures >= FAILURES;
                opens.then(|| self.open(now, come_back, chance))
            }
        }
    }

    /// For a question that was not asked after all, or whose end nobody knows.
    pub fn give_back(&mut self, pass: Pass) {
        if let State::HalfOpen(rest) = self.state
            && pass.probe
            && pass.epoch == self.epoch
        {
            // The rest is over as before, so the next one who comes may try.
            self.state = State::Open(rest);
        }
    }

    pub fn shown(&self) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open(rest) => Standing::Open { until: rest.until },
            State::HalfOpen(_) => Standing::HalfOpen,
        }
    }

    fn open(&mut self, now: UnixTime, come_back: Option<u64>, chance: f64) -> Change {
        self.openings = self.openings.saturating_add(1);
        let wanted = come_back.unwrap_or(0).min(LONGEST_COME_BACK);
        let length = pause(self.openings, LONGEST_REST, chance).as_secs().max(wanted);
        self.state = State::Open(Rest { until: now.plus(length), length });
        self.failures = 0;
        self.culprits.clear();
        self.epoch += 1;
        Change::Opened { for_seconds: length, again: self.openings > 1 }
    }
}

/// In a row, before nothing is asked for a while. Those that may concern one alone: of as many different ones.
pub const FAILURES: u32 = 5;
/// An authority that is back is found to be so within this.
pub const LONGEST_REST: Duration = Duration::from_secs(30);
/// Seconds that are believed where the authority says itself when to come back. What it says to one client may concern that
/// one only, and must not keep all others away.
pub const LONGEST_COME_BACK: u64 = 60;

/// Seconds in which others may find out first.
pub const OTHERS_FIRST: u64 = 10;

#[cfg(test)]
mod tests;
