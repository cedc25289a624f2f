//! Looks at many sessions: an index says where to look, the record whether it fits.

use redis::{Cmd, Value, cmd, from_redis_value};

use super::{
    Shared, StoreError,
    keys::{Bucket, Named},
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
        let (mut found, mut behind) = (Vec::new(), after);
        loop {
            let (page, last) = self.named(&indexes, behind).await?;
            let ids: Vec<SessionId> = page.iter().map(|named| named.id).collect();
            for (named, looked) in page.iter().zip(self.look_at(&ids).await?) {
                match looked {
                    Looked::There(session) if filter.matches(&session, self.now()) => found.push(*session),
                    Looked::Gone if self.is_settled(named.created) => {
                        let names: Vec<_> = indexes.iter().map(|index| (index.clone(), named.to_string())).collect();
                        self.forget(&names).await;
                    }
                    Looked::There(_) | Looked::Unreadable | Looked::Gone => {}
                }
            }
            if found.len() >= most || last.is_none() {
                found.truncate(most);
                return Ok(found);
            }
            behind = last;
        }
    }

    /// The next of `indexes` in the order of their ids, and up to where that is all of them; `None`: there are no others.
    async fn named(
        &self,
        indexes: &[String],
        behind: Option<SessionId>,
    ) -> Result<(Vec<Named>, Option<SessionId>), StoreError> {
        let next = |index| {
            let mut next = cmd("ZRANGEBYLEX");
            next.arg(index).arg(Named::behind(behind)).arg("+").arg("LIMIT").arg(0).arg(PAGE);
            next
        };
        let (mut page, mut last) = (Vec::new(), None);
        for names in self.link.ask_all(&indexes.iter().map(next).collect::<Vec<_>>()).await? {
            let names: Vec<String> = from_redis_value(names).map_err(|_| odd())?;
            let more = names.len() >= PAGE;
            // What is no name is nobody's.
            let names: Vec<Named> = names.iter().filter_map(|name| Named::read(name)).collect();
            if more && let Some(named) = names.last() {
                last = Some(last.map_or(named.id, |last: SessionId| last.min(named.id)));
            }
            page.extend(names);
        }
        page.retain(|named| last.is_none_or(|last| named.id <= last));
        page.sort_unstable();
        page.dedup_by_key(|named| named.id);
        Ok((page, last))
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
        let mut found = Vec::new();
        for buckets in buckets.chunks(PAGE) {
            let asked: Vec<Cmd> = buckets
                .iter()
                .map(|bucket| one(cmd("ZRANGEBYSCORE").arg(self.keys.intents(*bucket)).arg("-inf").arg(at)))
                .collect();
            for ids in self.link.ask_all(&asked).await? {
                found.extend(read_ids(ids)?.into_iter().filter(|id| after.is_none_or(|after| *id > after)));
            }
            // Buckets lie in the order of ids. While an authority is away, many wait for it.
            if found.len() >= most {
                break;
            }
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

/// Records that are looked at together, and buckets.
const PAGE: usize = 64;
