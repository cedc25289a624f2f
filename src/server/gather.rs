//! Writes that wait until everything else that is ready has had its turn.
//!
//! A write to a socket wakes whoever waits at its other end; where that is on the same machine, as beside a sidecar, waking
//! it costs more than the write. Requests that are read and judged one after the other, each written at once, wake it
//! for each of them, since it has gone back to sleep in between. Written in a row, they wake it once. Nothing waits for
//! anything but what is ready already, and where that is nothing the write goes at once.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Whether the writes of one connection wait. Asked by its stream; told by whoever polls the connection, who polls it once
/// more when a write was held back: the stream wakes nobody.
///
/// Used by one thread at a time; atomic only because tasks must be `Send`.
#[derive(Debug, Default)]
pub struct Gather(AtomicU8);

impl Gather {
    /// From now on a write is held back.
    pub fn hold(&self) {
        if self.0.load(Relaxed) == OPEN {
            self.0.store(HOLDING, Relaxed);
        }
    }

    /// Whether a write may go now; it is held back otherwise.
    pub fn admits(&self) -> bool {
        match self.0.load(Relaxed) {
            HOLDING => {
                self.0.store(HELD, Relaxed);
                false
            }
            HELD => false,
            _ => true,
        }
    }

    /// Whether a write is held back.
    pub fn holds(&self) -> bool {
        self.0.load(Relaxed) == HELD
    }

    /// From now on writes go. Whether one was held back, so that somebody must poll for it to go.
    pub fn release(&self) -> bool {
        let state = self.0.load(Relaxed);
        if state != NEVER {
            self.0.store(OPEN, Relaxed);
        }
        state == HELD
    }

    /// From now on writes go, whoever says otherwise later.
    pub fn end(&self) {
        self.0.store(NEVER, Relaxed);
    }
}

const OPEN: u8 = 0;
const HOLDING: u8 = 1;
const HELD: u8 = 2;
const NEVER: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_waits_once_and_then_goes() {
        let gather = Gather::default();
        assert!(gather.admits());
        gather.hold();
        assert!(!gather.admits() && !gather.admits() && gather.holds());
        gather.hold();
        assert!(!gather.admits());
        assert!(gather.release());
        assert!(gather.admits() && !gather.holds() && !gather.release());
    }

    #[test]
    fn after_the_end_nothing_waits() {
        let gather = Gather::default();
        gather.hold();
        gather.end();
        gather.hold();
        assert!(gather.admits() && !gather.release() && gather.admits());
    }
}
