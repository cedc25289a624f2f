//! Keeping a session, and finding it by what is not its id. What lies in other slots is written before what it points to,
//! and verified when it is followed: a process that ends in between leaves nothing that misleads.

use redis::{Cmd, cmd};

use super::{
    Shared, StoreError,
    keys::{Bucket, Named},
    once,
    record::{self, Control, Kept, json, mark, written_access},
    reply::{Reply, number, odd},
};
use crate::{
    model::UnixTime,
    session::{
        record::{Access, Code, RevocationReason, Session, SessionId},
        ring::digest16,
        sealed,
        store::{Created, Document, Spent},
    },
};

impl Shared {
    pub(super) async fn create(&self, session: &Session, most: u32) -> Result<Created, StoreError> {
        match self.keep(session, most, &[], &[]).await? {
            (said, superseded) if said == "now" => Ok(Created::Now(superseded)),
            (said, _) if said == "taken" => Ok(Created::Taken),
            _ => Err(odd()),
        }
    }

    pub(super) async fn spend_code(&self, session: &Session, most: u32) -> Result<Spent, StoreError> {
        let (code, by) = (self.keys.code(session.id), once()?);
        match self.keep(session, most, &[code], &[by.as_bytes()]).await? {
            (said, superseded) if said == "now" => Ok(Spent::Now(superseded)),
            (said, _) if said == "taken" || said == "before" => Ok(Spent::Before),
            (said, _) if said == "unknown" => Ok(Spent::Unknown),
            _ => Err(odd()),
        }
    }

    /// What the script said, and which sessions had to go for this one.
    async fn keep(
        &self,
        session: &Session,
        most: u32,
        keys: &[String],
        more: &[&[u8]],
    ) -> Result<(String, Vec<SessionId>), StoreError> {
        let (id, granted, state) = (session.id, &session.granted, &session.state);
        let owners: Vec<[u8; 16]> = sealed::owners(granted, &self.ring).collect();
        let owner = owners.first().copied().unwrap_or_default();
        let users = sealed::users_of(granted, &self.ring);
        let client = digest16(state.client.as_bytes());
        let held = match &session.held {
            Some(held) => sealed::held(id, held, &self.ring)?,
            None => Vec::new(),
        };
        let (mark, control, access) = (mark(session), json(&Control::new(state))?, written_access(state)?);
        let granted = sealed::granted(id, granted, &self.ring)?;
        let arguments: [&[u8]; 8] =
            [mark.as_bytes(), control.as_bytes(), access.as_bytes(), &granted, &held, &owner, &users.concat(), &client];
        // First what points to it: a session that nobody finds could not be ended.
        let mut pointing = vec![counted(&self.keys.live_of(&owner), state.created, id)];
        let named = Named { id, created: state.created };
        pointing.extend(users.iter().map(|user| named_in(&self.keys.user(user), named)));
        pointing.push(named_in(&self.keys.client(&client), named));
        let is_new = number(self.link.ask_all(&pointing).await?.swap_remove(0))? == 1;
        for access in state.access.iter().filter(|access| access.foreign) {
            self.point_at(id, access).await?;
        }
        let arguments = [&arguments[..], more].concat();
        let kept = async { self.step_with(&self.scripts.create, id, keys, &arguments).await?.word() };
        let (kept, too_many) = tokio::join!(kept, self.too_many(&owners, id, most));
        let kept = kept?;
        if kept != "now" {
            if is_new {
                self.forget(&[(self.keys.live_of(&owner), id.to_string())]).await;
            }
            return Ok((kept, Vec::new()));
        }
        Ok((kept, self.supersede(too_many, id).await))
    }

    /// The oldest sessions of `owners` that are more than `most`, `id` not among them.
    async fn too_many(&self, owners: &[[u8; 16]], id: SessionId, most: u32) -> Result<Vec<Counted>, StoreError> {
        let counts: Vec<Cmd> = owners.iter().map(|owner| one(cmd("ZCARD").arg(self.keys.live_of(owner)))).collect();
        let counts = self.link.ask_all(&counts).await?.into_iter();
        let live = counts.map(number).sum::<Result<u64, StoreError>>()?;
        let too_many = |live: u64| usize::try_from(live.saturating_sub(most.max(1).into())).unwrap_or(usize::MAX);
        let superfluous = too_many(live);
        if superfluous == 0 {
            return Ok(Vec::new());
        }
        // Of many sessions only the oldest are looked at, one more than go since one may be this session.
        let last = if live <= MOST_LOOKED_AT { -1 } else { i64::try_from(superfluous).unwrap_or(i64::MAX) };
        let mut others: Vec<Counted> = Vec::new();
        for owner in owners {
            let oldest = one(cmd("ZRANGE").arg(self.keys.live_of(owner)).arg(0).arg(last).arg("WITHSCORES"));
            let oldest: Vec<(String, f64)> =
                redis::from_redis_value(self.link.ask(&oldest).await?).map_err(|_| odd())?;
            others.extend(oldest.into_iter().filter_map(|(id, created)| {
                Some(Counted { created: UnixTime(created as u64), id: id.parse().ok()?, owner: *owner })
            }));
        }
        others.retain(|other| other.id != id);
        others.sort_unstable();
        let superfluous = if last == -1 {
            others = self.uncount_over(others).await?;
            too_many(others.len() as u64 + 1)
        } else {
            superfluous
        };
        others.truncate(superfluous);
        Ok(others)
    }

    /// Those that are not over, or that may still come. What is over is purged in its time, and until then it must not
    /// cost another session its life.
    async fn uncount_over(&self, counted: Vec<Counted>) -> Result<Vec<Counted>, StoreError> {
        let ends =
            |Counted { id, .. }: &Counted| one(cmd("ZSCORE").arg(self.keys.ends(Bucket::of(*id))).arg(id.to_string()));
        let ends = self.link.ask_all(&counted.iter().map(ends).collect::<Vec<_>>()).await?;
        let (mut live, mut over) = (Vec::new(), Vec::new());
        for (counted, end) in counted.into_iter().zip(ends) {
            let end: Option<f64> = redis::from_redis_value(end).map_err(|_| odd())?;
            let is_over = end.map_or_else(|| self.is_settled(counted.created), |end| end <= self.now().0 as f64);
            if is_over { &mut over } else { &mut live }.push(counted);
        }
        self.forget(&over.iter().map(|counted| self.counted(counted)).collect::<Vec<_>>()).await;
        Ok(live)
    }

    fn counted(&self, Counted { id, owner, .. }: &Counted) -> (String, String) {
        (self.keys.live_of(owner), id.to_string())
    }

    /// Whether a session that was to be created then and is not there will not come any more.
    pub(super) fn is_settled(&self, created: UnixTime) -> bool {
        created.plus(SPARE) < self.now()
    }

    /// Ends those that are too many. What cannot be ended now is too many still at the next sign-in: the new session is
    /// kept, and its owner must not hear otherwise.
    async fn supersede(&self, too_many: Result<Vec<Counted>, StoreError>, by: SessionId) -> Vec<SessionId> {
        let too_many = too_many.unwrap_or_else(|error| {
            tracing::warn!(%by, %error, "whether its user has too many sessions is not known; the next sign-in asks again");
            Vec::new()
        });
        let mut superseded = Vec::new();
        for counted in too_many {
            let id = counted.id;
            match self.revoke(id, RevocationReason::Superseded).await {
                Ok(true) => superseded.push(id),
                Ok(false) if self.is_settled(counted.created) => self.forget(&[self.counted(&counted)]).await,
                Ok(false) => {}
                Err(error) => tracing::warn!(%id, %error, "a session could not be superseded"),
            }
        }
        superseded
    }

    /// Takes a session that has ended out of those that its owner has; `reply` goes on with whose it was.
    pub(super) async fn uncount(&self, id: SessionId, reply: &mut Reply) {
        if let Ok(owner) = reply.bytes()
            && let Ok(owner) = owner.as_slice().try_into()
        {
            self.forget(&[(self.keys.live_of(owner), id.to_string())]).await;
        }
    }

    /// Takes names out of indexes. What stays is found out where it is followed.
    pub(super) async fn forget(&self, names: &[(String, String)]) {
        let asked: Vec<Cmd> = names.iter().map(|(index, name)| one(cmd("ZREM").arg(index).arg(name))).collect();
        if let Err(error) = self.link.ask_all(&asked).await {
            tracing::debug!(%error, "an index keeps what is over");
        }
    }

    /// Makes a session findable by the authority's own token.
    pub(super) async fn point_at(&self, id: SessionId, access: &Access) -> Result<(), StoreError> {
        let left = self.now().until(access.over_at()).as_secs().saturating_add(SPARE);
        let mut set = cmd("SET");
        set.arg(self.keys.foreign(&access.digest)).arg(id.to_string()).arg("EX").arg(left);
        self.link.ask(&set).await.map(drop)
    }

    pub(super) async fn find_foreign(&self, digest: [u8; 16]) -> Result<Option<SessionId>, StoreError> {
        let found = self.link.ask(cmd("GET").arg(self.keys.foreign(&digest))).await?;
        let found: Option<String> = redis::from_redis_value(found).map_err(|_| odd())?;
        let Some(id) = found.and_then(|id| id.parse().ok()) else { return Ok(None) };
        let fields = self.link.ask(cmd("HMGET").arg(self.keys.session(id)).arg(&record::FIELDS[..3])).await?;
        let Some(kept) = Kept::read(fields)? else { return Ok(None) };
        Ok(kept.state.access(&digest, self.now()).filter(|access| access.foreign).map(|_| id))
    }

    pub(super) async fn put_code(&self, id: SessionId, code: &Code) -> Result<(), StoreError> {
        let left = self.now().until(code.expires).as_secs().saturating_add(SPARE);
        let (format, expires, left) = (sealed::FORMAT.to_string(), code.expires.0.to_string(), left.to_string());
        let sealed = sealed::code(id, code, &self.ring)?;
        let arguments = [format.as_bytes(), expires.as_bytes(), &sealed, left.as_bytes()];
        self.link.run(&self.scripts.put_code, &[self.keys.code(id)], &arguments).await.map(drop)
    }

    pub(super) async fn find_code(&self, id: SessionId) -> Result<Option<Code>, StoreError> {
        let fields = self.link.ask(cmd("HMGET").arg(self.keys.code(id)).arg(&["v", "expires", "content"])).await?;
        let fields: (Option<Vec<u8>>, Option<u64>, Option<Vec<u8>>) =
            redis::from_redis_value(fields).map_err(|_| sealed::damaged("code"))?;
        let (Some(format), expires, content) = fields else { return Ok(None) };
        record::check(&format, "code")?;
        let Some((expires, content)) = expires.zip(content) else { return Err(sealed::damaged("code").into()) };
        if self.now().0 >= expires {
            return Ok(None);
        }
        Ok(Some(sealed::open_code(id, &content, &self.ring)?))
    }

    pub(super) async fn load(&self, name: &str) -> Result<Option<Document>, StoreError> {
        let fields =
            self.link.ask(cmd("HMGET").arg(self.keys.document(name)).arg(&["v", "version", "content"])).await?;
        let fields: (Option<Vec<u8>>, Option<u64>, Option<Vec<u8>>) =
            redis::from_redis_value(fields).map_err(|_| sealed::damaged("document"))?;
        let (Some(format), version, content) = fields else { return Ok(None) };
        record::check(&format, "document")?;
        let Some((version, content)) = version.zip(content) else { return Err(sealed::damaged("document").into()) };
        Ok(Some((version, sealed::open_document(name, version, &content, &self.ring)?)))
    }
}

/// A session that counts for its owner; the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    created: UnixTime,
    id: SessionId,
    owner: [u8; 16],
}

/// Answers 1 if it was not there.
pub(super) fn counted(index: &str, created: UnixTime, id: SessionId) -> Cmd {
    one(cmd("ZADD").arg(index).arg("NX").arg(created.0).arg(id.to_string()))
}

pub(super) fn named_in(index: &str, named: Named) -> Cmd {
    one(cmd("ZADD").arg(index).arg(0).arg(named.to_string()))
}

/// As its own.
pub(super) fn one(command: &mut Cmd) -> Cmd {
    command.clone()
}

/// Sessions of an owner of which each is looked at to see which are too many. A client that has more of them takes those
/// that are over, and not cleared away yet, for live ones; they are mostly the oldest.
const MOST_LOOKED_AT: u64 = 1000;
/// Seconds that what ends by itself is kept beyond its end: the steps decide, by the same clock. No step takes so
/// long to arrive.
const SPARE: u64 = 60;
