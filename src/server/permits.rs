//! How many connections a listener may have open: a semaphore whose size a reload may change.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    size: AtomicUsize,
    /// Permits still to be withdrawn: the limit shrank while they were in use.
    surplus: Arc<AtomicUsize>,
}

impl Permits {
    pub(super) fn new(size: usize) -> Self {
        let size = size.clamp(1, Semaphore::MAX_PERMITS);
        Permits {
            semaphore: Arc::new(Semaphore::new(size)),
            size: AtomicUsize::new(size),
            surplus: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Waits for a permit.
    pub(super) async fn take(&self) -> Permit {
        let permit = self.semaphore.clone().acquire_owned().await.expect("this semaphore is never closed");
        Permit { permit: Some(permit), surplus: self.surplus.clone() }
    }

    /// A permit if there is one now.
    pub(super) fn try_take(&self) -> Option<Permit> {
        let permit = self.semaphore.clone().try_acquire_owned().ok()?;
        Some(Permit { permit: Some(permit), surplus: self.surplus.clone() })
    }

    /// Changes the size. Shrinking below what is in use closes nothing; the permits go as connections end.
    ///
    /// Called by one reload at a time.
    pub(super) fn resize(&self, size: usize) {
        let size = size.clamp(1, Semaphore::MAX_PERMITS);
        let before = self.size.swap(size, SeqCst);
        if size > before {
            let more = size - before;
            // What was to be withdrawn and has not been yet need not be added again.
            let owed = self
                .surplus
                .fetch_update(SeqCst, SeqCst, |surplus| Some(surplus.saturating_sub(more)))
                .unwrap_or_default();
            self.semaphore.add_permits(more.saturating_sub(owed));
        } else {
            let less = before - size;
            let withdrawn = self.semaphore.forget_permits(less);
            self.surplus.fetch_add(less - withdrawn, SeqCst);
        }
    }
}

/// The right to one open connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    surplus: Arc<AtomicUsize>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let owed = self.surplus.fetch_update(SeqCst, SeqCst, |surplus| surplus.checked_sub(1)).is_ok();
        if let Some(permit) = self.permit.take()
            && owed
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_smaller_limit_holds_once_connections_have_ended() {
        let permits = Permits::new(3);
        let (first, second, third) = (permits.take().await, permits.take().await, permits.take().await);
        permits.resize(1);
        drop(first);
        drop(second);
        assert!(permits.try_take().is_none());
        drop(third);
        let only = permits.try_take();
        assert!(only.is_some());
        assert!(permits.try_take().is_none());
    }

    #[tokio::test]
    async fn growing_again_pays_back_what_was_owed_first() {
        let permits = Permits::new(2);
        let held = (permits.take().await, permits.take().await);
        permits.resize(1);
        permits.resize(2);
        assert!(permits.try_take().is_none());
        drop(held);
        let both = (permits.try_take(), permits.try_take());
        assert!(both.0.is_some() && both.1.is_some());
        assert!(permits.try_take().is_none());
    }
}
