//! Finds what was left undone: renewals that a process began and did not finish, be it this one or one that is gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};

use super::{Renewals, Wanted};

impl Renewals {
    /// Looks for them from now on, until another generation takes the place of this one.
    pub fn sweep(self: &Arc<Self>) {
        let (this, sessions) = (Arc::downgrade(self), self.means.sessions.clone());
        sessions.background().spawn(async move {
            loop {
                let Some(renewals) = this.upgrade().filter(|renewals| !renewals.means.is_retired()) else { return };
                let pause = (renewals.means.lease() / 2).max(SHORTEST_PAUSE);
                renewals.sweep_once().await;
                drop(renewals);
                tokio::time::sleep(pause).await;
            }
        });
    }

    async fn sweep_once(&self) {
        let (mut after, mut found, finished) = (None, 0, AtomicUsize::new(0));
        while !self.means.is_retired() {
            let lapsed = match self.means.sessions.lapsed(after, PAGE).await {
                Ok(lapsed) => lapsed,
                Err(error) => {
                    tracing::debug!(%error, "the store could not be asked for renewals that were left undone");
                    break;
                }
            };
            let Some(last) = lapsed.last() else { break };
            after = Some(*last);
            found += lapsed.len();
            stream::iter(lapsed)
                .for_each_concurrent(AT_ONCE, async |id| {
                    // What came of it is counted, audited and shown to whoever has the session.
                    if self.renew(id, Wanted::Recovery).await.is_ok() {
                        finished.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .await;
        }
        // Only what has changed: while the authority is away, those that wait for it are found again and again.
        let finished = finished.into_inner();
        if finished > 0 {
            tracing::info!(sessions = finished, "renewals that were left undone are finished");
        }
        if found > finished {
            tracing::debug!(sessions = found - finished, "renewals that were left undone cannot be finished now");
        }
    }
}

/// Sessions that are looked up together.
const PAGE: usize = 256;
const AT_ONCE: usize = 8;
/// Between two looks, however short a lease is.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
