//! The store that many replicas share, in Redis or Valkey: one session, whichever replica is asked.
//!
//! A session is one hash; every change of it is one script, which the server runs alone and in its own time (`lua/`). The
//! scripts say what [`super::State`] says, and a test holds them to it.

mod counts;
mod keys;
mod link;
mod lists;
mod moving;
mod news;
mod opening;
mod purge;
mod record;
mod reply;
mod script;
mod steps;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand;
use futures_util::future::{BoxFuture, FutureExt};
use redis::cmd;
use tokio::{runtime::Handle, sync::broadcast, task::AbortHandle};

use self::{
    counts::Counts,
    keys::Keys,
    link::Link,
    news::{Listener, Pace},
    record::{FIELDS, Kept},
    reply::Reply,
    script::{Script, Scripts},
};
use super::{
    family::{Outcome, Rotate},
    lease::{Candidate, Intend, Intended, Left, Renewer},
    moving::{Moved, Records, Restored},
    record::{Code, RevocationReason, Session, SessionId},
    ring::KeyRing,
    sealed,
    slide::{Slid, Slide},
    store::{Created, Document, Filter, News, SessionStore, Spent, StoreError},
    succeed::{Succeed, Succeeded},
    vouched::{Exchanged, Renewed},
};
use crate::{
    config::RedisStore,
    crash::{self, Point},
    model::{BoxError, Time, UnixMillis, UnixTime},
    telemetry::metrics::{LinkMetrics, StoreMetrics},
};

/// A handle on the servers; nothing of a session is kept here.
pub struct Redis {
    shared: Arc<Shared>,
    listener: Listener,
    /// Clears away what is over.
    purging: AbortHandle,
}

struct Shared {
    link: Arc<Link>,
    keys: Keys,
    scripts: Scripts,
    ring: Arc<KeyRing>,
    time: Time,
    /// When the last step was taken, in milliseconds.
    #[cfg(test)]
    taken: std::sync::atomic::AtomicU64,
}

impl Redis {
    /// Connects to nothing yet: servers that are away are waited for by whoever needs them.
    ///
    /// # Errors
    /// If the settings fit no client.
    pub fn open(
        settings: &RedisStore,
        ring: Arc<KeyRing>,
        time: Time,
        background: &Handle,
        metrics: LinkMetrics,
    ) -> Result<Redis, BoxError> {
        let link = Arc::new(Link::new(settings, time.clone(), background, metrics)?);
        let listener = Listener::start(link.clone(), background, &settings.prefix, Pace::default())?;
        let shared = Arc::new(Shared {
            link,
            keys: Keys::new(&settings.prefix),
            scripts: Scripts::new(),
            ring,
            time,
            #[cfg(test)]
            taken: std::sync::atomic::AtomicU64::new(0),
        });
        let purging = background.spawn(purge::now_and_then(shared.clone())).abort_handle();
        Ok(Redis { shared, listener, purging })
    }

    /// What replicas count together; no step takes longer than `timeout`.
    pub fn counts(&self, timeout: Duration, metrics: StoreMetrics) -> Counts {
        Counts::new(self.shared.clone(), timeout, metrics)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.purging.abort();
    }
}

impl Shared {
    /// Takes a step on a session: one script, one round trip.
    async fn step(&self, script: &Script, id: SessionId, arguments: &[&[u8]]) -> Result<Reply, StoreError> {
        self.step_with(script, id, &[], arguments).await
    }

    /// The same with more keys of its bucket.
    async fn step_with(
        &self,
        script: &Script,
        id: SessionId,
        more: &[String],
        arguments: &[&[u8]],
    ) -> Result<Reply, StoreError> {
        let keys = [&self.keys.of_session(id)[..], more].concat();
        let moved = self.time.moved();
        let (by, named) = (moved.to_string(), id.to_string());
        let begin: [&[u8]; 3] = [by.as_bytes(), named.as_bytes(), self.keys.prefix().as_bytes()];
        let reply = Reply::read(self.link.run(script, &keys, &[&begin, arguments].concat()).await?)?;
        // Where tests moved time meanwhile, the answer tells one that is not ours any more.
        if self.time.moved() == moved {
            self.link.heard(reply.at);
        }
        #[cfg(test)]
        self.taken.store(reply.at.0, std::sync::atomic::Ordering::Relaxed);
        Ok(reply)
    }

    async fn find(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let fields = self.link.ask(cmd("HMGET").arg(self.keys.session(id)).arg(&FIELDS)).await?;
        let session = Kept::read(fields)?.map(|kept| kept.open(id, &self.ring)).transpose()?;
        Ok(session.filter(|session| self.now() < session.state.absolute))
    }

    /// The servers' time, as far as it is known.
    fn now(&self) -> UnixTime {
        UnixTime(self.now_millis().0 / 1000)
    }

    fn now_millis(&self) -> UnixMillis {
        UnixMillis(self.time.now_millis().0.saturating_add_signed(self.link.ahead()))
    }
}

impl SessionStore for Redis {
    fn now(&self) -> UnixTime {
        self.shared.now()
    }

    fn ahead(&self) -> i64 {
        // To the nearest second: answers that take a moment must not make it one less.
        self.shared.link.ahead().saturating_add(500).div_euclid(1000)
    }

    fn news(&self) -> Option<broadcast::Receiver<News>> {
        Some(self.listener.subscribe())
    }

    fn create(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Created, StoreError>> {
        async move { self.shared.create(&session, most).await }.boxed()
    }

    fn find(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        self.shared.find(id).boxed()
    }

    fn rotate(&self, id: SessionId, step: Rotate) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        async move { self.shared.rotate(id, &step).await }.boxed()
    }

    fn revoke(&self, id: SessionId, reason: RevocationReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.shared.revoke(id, reason).boxed()
    }

    fn acknowledge(&self, id: SessionId, generation: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.acknowledge(id, generation).boxed()
    }

    fn intend(&self, id: SessionId, step: Intend) -> BoxFuture<'_, Result<Intended, StoreError>> {
        self.shared.intend(id, step).boxed()
    }

    fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.shared.extend(id, epoch, lease).boxed()
    }

    fn leave(&self, id: SessionId, epoch: u64, left: Left) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.leave(id, epoch, left).boxed()
    }

    fn candidates(&self, id: SessionId) -> BoxFuture<'_, Result<Vec<Candidate>, StoreError>> {
        async move {
            let fields = self.shared.link.ask(cmd("HGETALL").arg(self.shared.keys.session(id))).await?;
            Ok(record::candidates(id, fields, &self.shared.ring)?)
        }
        .boxed()
    }

    /// No process is alone here: what one has begun is another's when the lease has lapsed.
    fn lapsed(
        &self,
        _: Renewer,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, StoreError>> {
        self.shared.lapsed(after, most).boxed()
    }

    fn renew(&self, id: SessionId, renewed: Renewed) -> BoxFuture<'_, Result<Exchanged, StoreError>> {
        async move {
            let exchanged = self.shared.renew(id, &renewed).await;
            crash::point(Point::AfterJournal).await;
            exchanged
        }
        .boxed()
    }

    fn slide(&self, id: SessionId, step: Slide) -> BoxFuture<'_, Result<Slid, StoreError>> {
        async move { self.shared.slide(id, &step).await }.boxed()
    }

    fn succeed(&self, id: SessionId, step: Succeed) -> BoxFuture<'_, Result<Succeeded, StoreError>> {
        async move { self.shared.succeed(id, &step).await }.boxed()
    }

    fn find_foreign(&self, digest: [u8; 16]) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        self.shared.find_foreign(digest).boxed()
    }

    fn put_code(&self, id: SessionId, code: Code) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.shared.put_code(id, &code).await }.boxed()
    }

    fn find_code(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Code>, StoreError>> {
        self.shared.find_code(id).boxed()
    }

    fn spend_code(&self, session: Session, most: u32) -> BoxFuture<'_, Result<Spent, StoreError>> {
        async move { self.shared.spend_code(&session, most).await }.boxed()
    }

    fn use_once(&self, key: [u8; 32], until: UnixTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        async move {
            let shared = &self.shared;
            let arguments = [shared.time.moved().to_string(), until.0.to_string(), once()?];
            let used = shared.link.run(&shared.scripts.use_once, &[shared.keys.used(&key)], &arguments).await?;
            Ok(reply::number(used)? == 1)
        }
        .boxed()
    }

    fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Session>, StoreError>> {
        async move { self.shared.list(&filter, after, most).await }.boxed()
    }

    fn records(&self, after: Option<SessionId>, most: usize) -> BoxFuture<'_, Result<Records, StoreError>> {
        self.shared.records(after, most).boxed()
    }

    fn restore(&self, moved: Moved) -> BoxFuture<'_, Result<Restored, StoreError>> {
        async move { self.shared.restore(&moved).await }.boxed()
    }

    fn listeners(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move { self.listener.others().await.map_err(StoreError::Unavailable) }.boxed()
    }

    fn count(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.shared.count().boxed()
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.shared.purge().boxed()
    }

    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.shared.load(name).boxed()
    }

    fn save(&self, name: &'static str, expected: u64, content: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        async move {
            let Shared { link, keys, scripts, ring, .. } = &*self.shared;
            let sealed = sealed::document(name, expected.saturating_add(1), &content, ring)?;
            let (expected, channel) = (expected.to_string(), format!("{}:document", keys.prefix()));
            let arguments = [expected.as_bytes(), &sealed, channel.as_bytes(), name.as_bytes()];
            Ok(reply::number(link.run(&scripts.save, &[keys.document(name)], &arguments).await?)? == 1)
        }
        .boxed()
    }
}

fn random() -> Result<u64, StoreError> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| StoreError::Unavailable("there is no randomness".to_owned()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// What tells a step from another one that looks the same, and not from itself when it is taken once more.
fn once() -> Result<String, StoreError> {
    Ok(format!("{:016x}", random()?))
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
