//! Looks at many sessions: an index says where to look, the record whether it fits.

use redis::{Cmd, Value, cmd, from_redis_value};

use super::{
    Shared, StoreError,
    keys::Bucket,
    opening::one,
    record::{FIELDS, Kept},
    reply::{number, odd},
};
use crate::session::{
    record::{Session, SessionId},
    ring::digest16,
    sealed,
    store::Filter,
};

impl Shared {
    pub(super) async fn list(
        &self,
        filter: &Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> Result<Vec<Session>, StoreError> {
        let indexes: Vec<String> = match (&filter.user, &filter.client) {
            (Some(user), _) => sealed::users(user, &self.ring).map(|user| self.keys.user(&user)).collect(),
            (None, Some(client)) => vec![self.keys.client(&digest16(client.as_bytes()))],
            (None, None) => return self.list_all(filter, after, most).await,
        };
        let mut ids = Vec::new();
        for index in &indexes {
            let all = self.link.ask(cmd("ZRANGE").arg(index).arg(0).arg(-1)).await?;
            let named = read_ids(all)?;
            ids.extend(named.into_iter().map(|id| (id, index.as_str())));
        }
        ids.sort_unstable();
        ids.dedup_by_key(|(id, _)| *id);
        ids.retain(|(id, _)| after.is_none_or(|after| *id > after));
        let mut found = Vec::new();
        for page in ids.chunks(PAGE) {
            let page: Vec<SessionId> = page.iter().map(|(id, _)| *id).collect();
            for (id, looked) in page.iter().zip(self.look_at(&page).await?) {
                match looked {
                    Looked::There(session) if filter.matches(&session, self.now()) => found.push(*session),
                    Looked::There(_) | Looked::Unreadable => {}
                    Looked::Gone => {
                        for index in &indexes {
                            self.forget(index, *id).await;
                        }
                    }
                }
            }
            if found.len() >= most {
                break;
            }
        }
        found.truncate(most);
        Ok(found)
    }

    /// Buckets lie in the order of ids.
    async fn list_all(
        &self,
        filter: &Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> Result<Vec<Session>, StoreError> {
        let mut found = Vec::new();
        for bucket in Bucket::from(after) {
            let mut ids = read_ids(self.link.ask(cmd("ZRANGE").arg(self.keys.ends(bucket)).arg(0).arg(-1)).await?)?;
            ids.retain(|id| after.is_none_or(|after| *id > after));
            ids.sort_unstable();
            for page in ids.chunks(PAGE) {
                for looked in self.look_at(page).await? {
                    if let Looked::There(session) = looked
                        && filter.matches(&session, self.now())
                    {
                        found.push(*session);
                    }
                }
                if found.len() >= most {
                    found.truncate(most);
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// What there is of `ids`, in their order.
    async fn look_at(&self, ids: &[SessionId]) -> Result<Vec<Looked>, StoreError> {
        let asked: Vec<Cmd> = ids.iter().map(|id| one(cmd("HMGET").arg(self.keys.session(*id)).arg(&FIELDS))).collect();
        let mut found = Vec::new();
        for (id, fields) in ids.iter().zip(self.link.ask_all(&asked).await?) {
            match Kept::read(fields).and_then(|kept| kept.map(|kept| kept.open(*id, &self.ring)).transpose()) {
                Ok(Some(session)) => found.push(Looked::There(Box::new(session))),
                Ok(None) => found.push(Looked::Gone),
                // The others must still be seen, by whoever has to clear this up above all.
                Err(error) => {
                    tracing::warn!(%id, error = error.0, "a session cannot be listed");
                    found.push(Looked::Unreadable);
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        let beyond = format!("({}", self.now().0);
        let asked: Vec<Cmd> = Bucket::from(None)
            .map(|bucket| one(cmd("ZCOUNT").arg(self.keys.ends(bucket)).arg(&beyond).arg("+inf")))
            .collect();
        self.link.ask_all(&asked).await?.into_iter().try_fold(0, |sum, count| Ok(sum + number(count)?))
    }

    pub(super) async fn lapsed(&self, after: Option<SessionId>, most: usize) -> Result<Vec<SessionId>, StoreError> {
        let at = self.now_millis().0;
        let buckets: Vec<Bucket> = Bucket::from(after).collect();
        let asked: Vec<Cmd> = buckets
            .iter()
            .map(|bucket| one(cmd("ZRANGEBYSCORE").arg(self.keys.intents(*bucket)).arg("-inf").arg(at)))
            .collect();
        let mut found = Vec::new();
        for ids in self.link.ask_all(&asked).await? {
            found.extend(read_ids(ids)?.into_iter().filter(|id| after.is_none_or(|after| *id > after)));
        }
        found.sort_unstable();
        found.truncate(most);
        Ok(found)
    }
}

enum Looked {
    There(Box<Session>),
    Gone,
    Unreadable,
}

/// What is no id is nobody's.
pub(super) fn read_ids(value: Value) -> Result<Vec<SessionId>, StoreError> {
    let ids: Vec<String> = from_redis_value(value).map_err(|_| odd())?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

/// Records that are looked at together.
const PAGE: usize = 64;
