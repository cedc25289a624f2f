//! Whether the store was away a moment ago. Whoever was given something meanwhile could not say so, and his lease may have
//! lapsed: he comes first when it is back.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::store::StoreError;

/// Remembers when a step last failed for want of the store.
#[derive(Debug, Default)]
pub struct Absence(Mutex<Option<Instant>>);

impl Absence {
    /// Takes note of what came of a step, and passes it on.
    pub fn note<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(outcome, Err(StoreError::Unavailable(_))) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        outcome
    }

    pub fn is_recent(&self) -> bool {
        let failed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|failed| failed.elapsed() < A_WHILE)
    }
}

/// Longer than anybody who has something to tell the store waits before he tries again, connecting included.
const A_WHILE: Duration = Duration::from_secs(4);
