//! Clears away what is over. Each bucket has its sessions in the order of their ends.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{self, StreamExt};
use redis::{Cmd, cmd};

use super::{
    Shared, StoreError,
    keys::{Bucket, Named},
    lists::read_ids,
    once,
    opening::one,
};
use crate::{model::UnixTime, session::record::SessionId};

impl Shared {
    pub(super) async fn purge(&self) -> Result<u64, StoreError> {
        let mut purged = 0;
        let mut failed = None;
        for buckets in Bucket::from(None).collect::<Vec<_>>().chunks(AT_ONCE) {
            loop {
                let now = self.now();
                let asked: Vec<Cmd> = buckets.iter().map(|bucket| due(&self.keys.ends(*bucket), now)).collect();
                let (mut ids, mut more) = (Vec::new(), false);
                for due in self.link.ask_all(&asked).await? {
                    let due = read_ids(due)?;
                    more |= due.len() >= SLICE;
                    ids.extend(due);
                }
                let (before, mut failures) = (purged, 0);
                let mut done = stream::iter(ids.into_iter().map(|id| self.purge_one(id))).buffer_unordered(AT_ONCE);
                while let Some(done) = done.next().await {
                    match done {
                        Ok(gone) => purged += u64::from(gone),
                        // One that makes trouble must not keep the others for ever.
                        Err(error) if failures < MOST_FAILURES => {
                            failures += 1;
                            failed = Some(error);
                        }
                        Err(error) => return Err(error),
                    }
                }
                if !more || purged == before {
                    break;
                }
            }
        }
        failed.map_or(Ok(purged), Err)
    }

    async fn purge_one(&self, id: SessionId) -> Result<bool, StoreError> {
        let mut reply = match self.step(&self.scripts.purge, id, &[UNREADABLE_AGAIN.to_string().as_bytes()]).await {
            Ok(reply) => reply,
            Err(StoreError::Unreadable(error)) => {
                tracing::warn!(%id, error, "a session cannot be judged; it is kept");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if !reply.flag()? {
            return Ok(false);
        }
        let named = Named { id, created: reply.time()? }.to_string();
        let (owner, users, client) = (reply.bytes()?, reply.bytes()?, reply.bytes()?);
        let mut names: Vec<(String, String)> =
            users.as_chunks().0.iter().map(|user| (self.keys.user(user), named.clone())).collect();
        if let Ok(owner) = owner.as_slice().try_into() {
            names.push((self.keys.live_of(owner), id.to_string()));
        }
        if let Ok(client) = client.as_slice().try_into() {
            names.push((self.keys.client(client), named));
        }
        self.forget(&names).await;
        Ok(true)
    }

    /// Whether nobody else clears away now.
    async fn may_purge(&self) -> Result<bool, StoreError> {
        let mut set = cmd("SET");
        set.arg(self.keys.purging()).arg(once()?).arg("NX").arg("EX").arg(EVERY.as_secs() - 1);
        Ok(self.link.ask(&set).await? != redis::Value::Nil)
    }
}

/// Of all replicas one does it at a time.
pub(super) async fn now_and_then(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(EVERY).await;
        match shared.may_purge().await {
            Ok(true) => {}
            Ok(false) | Err(_) => continue,
        }
        if let Err(error) = shared.purge().await {
            tracing::warn!(%error, "what is over could not all be cleared away; it is tried again");
        }
    }
}

/// Live ones that are over, and tombstones whose time has come.
fn due(ends: &str, now: UnixTime) -> Cmd {
    let mut due = cmd("ZRANGEBYSCORE");
    due.arg(ends).arg(format!("-{}", now.0)).arg(now.0).arg("LIMIT").arg(0).arg(SLICE);
    one(&mut due)
}

const EVERY: Duration = Duration::from_secs(60);
/// Buckets that are asked together, and sessions that are cleared away at the same time.
const AT_ONCE: usize = 16;
/// Sessions of a bucket that are looked up at once.
const SLICE: usize = 256;
const MOST_FAILURES: usize = 16;
/// Seconds.
const UNREADABLE_AGAIN: u64 = 3600;
