//! Finds what was left undone: renewals that a process began and did not finish, be it this one or one that is gone.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::{Renewals, Wanted};

impl Renewals {
    /// Looks for them from now on, as long as this generation lasts.
    pub fn sweep(self: &Arc<Self>) {
        let (this, sessions) = (Arc::downgrade(self), self.means.sessions.clone());
        sessions.background().spawn(async move {
            loop {
                let Some(renewals) = this.upgrade() else { return };
                let pause = renewals.means.lease() / 2;
                renewals.sweep_once().await;
                drop(renewals);
                tokio::time::sleep(pause).await;
            }
        });
    }

    async fn sweep_once(&self) {
        let mut after = None;
        loop {
            let lapsed = match self.means.sessions.lapsed(after, PAGE).await {
                Ok(lapsed) => lapsed,
                Err(error) => {
                    tracing::debug!(%error, "the store could not be asked for renewals that were left undone");
                    return;
                }
            };
            let Some(last) = lapsed.last() else { return };
            after = Some(*last);
            tracing::info!(sessions = lapsed.len(), "renewals were left undone; they are finished");
            stream::iter(lapsed)
                .for_each_concurrent(AT_ONCE, async |id| {
                    // What came of it is counted, audited and shown to whoever has the session.
                    drop(self.renew(id, Wanted::Recovery).await);
                })
                .await;
        }
    }
}

/// Sessions that are looked up together.
const PAGE: usize = 256;
const AT_ONCE: usize = 8;
