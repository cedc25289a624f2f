//! Tells the store what it was not told, or has forgotten.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Journal,
    live::Due,
    record::{Given, Key},
};
use crate::{
    session::{
        News, Renewer, SessionStore, StoreError,
        record::Held,
        vouched::{Answer, Exchanged, Renewed},
    },
    telemetry::metrics::Replayed,
};

/// Goes on as long as somebody has the journal. `owner`: who renews in this process.
pub(in crate::session) async fn tend(journal: Weak<Journal>, store: Arc<dyn SessionStore>, owner: Renewer) {
    let mut news = store.news();
    loop {
        {
            let Some(journal) = journal.upgrade() else { return };
            journal.replay(&*store, owner).await;
        }
        if missed(&mut news).await
            && let Some(journal) = journal.upgrade()
        {
            journal.shared.live().doubt();
        }
    }
}

/// Waits for the next look; true if the store may be another one by now.
async fn missed(news: &mut Option<Receiver<News>>) -> bool {
    let look = tokio::time::sleep(LOOK_EVERY);
    tokio::pin!(look);
    loop {
        let Some(receiver) = news else {
            look.await;
            return false;
        };
        tokio::select! {
            () = &mut look => return false,
            told = receiver.recv() => match told {
                Ok(News::Missed) | Err(RecvError::Lagged(_)) => return true,
                Ok(_) => {}
                Err(RecvError::Closed) => *news = None,
            }
        }
    }
}

impl Journal {
    /// One round.
    pub(super) async fn replay(&self, store: &dyn SessionStore, owner: Renewer) {
        let due = self.shared.live().due(THEIRS);
        let mut kept = 0;
        for due in due {
            let key = due.key;
            match self.replay_one(due, store, owner).await {
                Ok(exchanged) => {
                    if let Some(exchanged) = exchanged {
                        self.shared.metrics.journal.replayed(replayed(exchanged));
                        kept += usize::from(matches!(exchanged, Exchanged::Kept { .. } | Exchanged::Aside));
                    }
                    self.settle(key.session, key.epoch);
                    self.shared.live().told(&key);
                }
                Err(StoreError::Unreadable(error)) => {
                    tracing::debug!(session = %key.session, error, "an entry of the journal cannot be replayed");
                    self.shared.live().told(&key);
                }
                // The others would wait as long; all of them are tried again.
                Err(StoreError::Unavailable(_)) => break,
            }
        }
        if kept > 0 {
            tracing::warn!(
                sessions = kept,
                "the store did not have what an authority gave, and was told from the journal"
            );
        }
    }

    /// `None`: the store has it still, or something newer.
    async fn replay_one(
        &self,
        due: Due,
        store: &dyn SessionStore,
        owner: Renewer,
    ) -> Result<Option<Exchanged>, StoreError> {
        let session = due.key.session;
        let given = Given::open(due.key, &due.sealed, &self.ring);
        let Given { held, renewed_for } = given.map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let epoch = if due.settled { forgotten(store, due.key, &held, owner).await? } else { Some(due.key.epoch) };
        let Some(epoch) = epoch else { return Ok(None) };
        let answer = Answer::Given { held, renewed_for };
        store.renew(session, Renewed { epoch, answer }).await.map(Some)
    }
}

/// If the store has gone back to before it kept what was given under this lease: the number of the lease to tell it under.
async fn forgotten(
    store: &dyn SessionStore,
    key: Key,
    given: &Held,
    owner: Renewer,
) -> Result<Option<u64>, StoreError> {
    let Some(session) = store.find(key.session).await? else { return Ok(None) };
    let Some((held, vouched)) = session.held.zip(session.state.vouched) else { return Ok(None) };
    Ok(match vouched.intent {
        _ if vouched.epoch < key.epoch => Some(key.epoch),
        Some(intent) if vouched.epoch == key.epoch && intent.owner == owner => Some(key.epoch),
        // The lease went with the rest, and its number was given to somebody else, who asks now: what comes of that must not
        // be taken for this. So it is a candidate.
        Some(_) if vouched.epoch == key.epoch => key.epoch.checked_sub(1),
        // Somebody has had the lease since, or has it, and what the session holds is older all the same.
        _ if vouched.epoch > key.epoch && held.issued < given.issued => Some(key.epoch),
        _ => None,
    })
}

fn replayed(exchanged: Exchanged) -> Replayed {
    match exchanged {
        Exchanged::Kept { .. } => Replayed::Kept,
        Exchanged::Aside => Replayed::Aside,
        Exchanged::Moved | Exchanged::Untried => Replayed::Known,
        Exchanged::Gone | Exchanged::Ended => Replayed::Gone,
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Whoever renews tells the store by themselves, over and over, at least so often.
const THEIRS: Duration = Duration::from_secs(15);
