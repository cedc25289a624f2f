//! Clears away what is over. Each bucket has its sessions in the order of their ends.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, cmd};

use super::{Shared, StoreError, keys::Bucket, lists::read_ids, once, opening::one};
use crate::{model::UnixTime, session::record::SessionId};

impl Shared {
    pub(super) async fn purge(&self) -> Result<u64, StoreError> {
        let mut purged = 0;
        for bucket in Bucket::from(None).collect::<Vec<_>>().chunks(AT_ONCE) {
            let now = self.now();
            let asked: Vec<Cmd> = bucket.iter().map(|bucket| due(&self.keys.ends(*bucket), now)).collect();
            for ids in self.link.ask_all(&asked).await? {
                for id in read_ids(ids)? {
                    purged += u64::from(self.purge_one(id).await?);
                }
            }
        }
        Ok(purged)
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
        let (owner, users, client) = (reply.bytes()?, reply.bytes()?, reply.bytes()?);
        if let Ok(owner) = owner.as_slice().try_into() {
            self.forget(&self.keys.live_of(owner), id).await;
        }
        for user in users.as_chunks().0 {
            self.forget(&self.keys.user(user), id).await;
        }
        if let Ok(client) = client.as_slice().try_into() {
            self.forget(&self.keys.client(client), id).await;
        }
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
            tracing::debug!(%error, "what is over could not be cleared away yet");
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
/// Buckets that are asked together.
const AT_ONCE: usize = 16;
/// Sessions of a bucket that are cleared away at once.
const SLICE: usize = 256;
/// Seconds.
const UNREADABLE_AGAIN: u64 = 3600;
