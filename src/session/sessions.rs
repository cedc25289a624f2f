//! What the floors above talk to: a store, the key ring and the flags of live sessions.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::AbortHandle};

use super::{
    Created, Filter, SessionStore, Spent, StoreError,
    absence::Absence,
    family::{Outcome, Refused, Rotate},
    following::{Follower, Heard, Hearing, look},
    journal::{self, Journal},
    lease::{Candidate, Intend, Intended, Left, Renewer},
    record::{Access, Code, Granted, Held, RevocationReason, Session, SessionId, State, Vouched},
    ring::{KeyRing, digest16},
    slide::{Slid, Slide},
    succeed::{Succeed, Succeeded},
    tokens::{self, Family, Presented},
    vouched::{Answer, Exchanged, Renewed},
    watched::{Watched, Watchlist},
};
use crate::{
    crash::{self, Point},
    model::{RefreshForm, Secret, Time, UnixTime},
};

/// Shared by all generations of the configuration.
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    ring: Arc<KeyRing>,
    live: Arc<Watchlist>,
    background: Handle,
    /// Of those who look whose a token is before they keep it.
    one_at_a_time: tokio::sync::Mutex<()>,
    /// Who renews here.
    owner: Renewer,
    /// Where the store's own commit is not known to last; `None`: it is, or nobody gave a disk for it.
    journal: Option<Arc<Journal>>,
    hearing: Arc<Hearing>,
    /// Hears what other processes do; `None`: there are none.
    follower: Option<AbortHandle>,
    absence: Arc<Absence>,
}

/// A session about to be kept.
#[derive(Debug, Clone)]
pub struct Opening {
    pub id: SessionId,
    pub client: String,
    pub granted: Granted,
    /// What the authority outside gave for it.
    pub held: Option<Held>,
    /// Seconds; `idle` only counts with a refresh token.
    pub idle: u64,
    pub absolute: u64,
    /// Whether a refresh token goes out, and in which form: the one that `id` was drawn for.
    pub refresh: Option<RefreshForm>,
    /// The access token that goes out, if one does.
    pub access: Option<Access>,
    /// Live sessions that the same subject (or client on its own behalf) may have.
    pub most: u32,
}

/// What goes out for an opened session beside the access token.
#[derive(Debug)]
pub struct Tokens {
    pub refresh: Option<Secret<String>>,
}

/// What came of a refresh.
#[derive(Debug)]
pub enum Refreshed {
    /// Rotated, retried or healed: the refresh token that goes out.
    Good { token: Secret<String>, outcome: Outcome },
    /// Everything else.
    Refused(Outcome),
}

impl Sessions {
    /// `background` carries what must not end with a request.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn new(
        store: Arc<dyn SessionStore>,
        ring: Arc<KeyRing>,
        background: Handle,
    ) -> Result<Sessions, aws_lc_rs::error::Unspecified> {
        let (owner, hearing) = (Renewer::random()?, Arc::<Hearing>::default());
        // Before anything is read of the store: what is ended from then on is heard.
        let news = store.news();
        let live = Arc::new(Watchlist::new(news.is_some()));
        let follower = news.map(|news| {
            let follower = Follower { store: store.clone(), live: live.clone(), hearing: hearing.clone() };
            background.spawn(follower.follow(news)).abort_handle()
        });
        let one_at_a_time = tokio::sync::Mutex::default();
        let absence = Arc::default();
        Ok(Sessions { store, ring, live, background, one_at_a_time, owner, hearing, follower, journal: None, absence })
    }

    /// Whether the store was away until a moment ago, and other processes may have something to tell it.
    pub fn is_just_back(&self) -> bool {
        self.follower.is_some() && self.absence.is_recent()
    }

    /// How well other processes are heard; `None`: there are none.
    pub fn heard(&self) -> Option<Heard> {
        self.follower.as_ref().map(|_| self.hearing.heard())
    }

    /// What an authority outside gives is durable in `journal` before the store is told; what stands there is told now, and
    /// whenever the store may have forgotten something.
    pub fn with_journal(mut self, journal: Journal) -> Sessions {
        let journal = Arc::new(journal);
        self.background.spawn(journal::tend(Arc::downgrade(&journal), self.store.clone(), self.owner));
        self.journal = Some(journal);
        self
    }

    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_deref()
    }

    /// Carries what must not end with a request.
    pub fn background(&self) -> &Handle {
        &self.background
    }

    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The store's time: the one that lifetimes of sessions are counted in.
    pub fn now(&self) -> UnixTime {
        self.store.now()
    }

    /// The moment on this process's clock, which requests are judged by, at which the store's says `at`.
    pub fn on_our_clock(&self, at: UnixTime) -> UnixTime {
        self.store.on_our_clock(at)
    }

    /// What the store's clock says when this process's says `at`.
    pub fn on_its_clock(&self, at: UnixTime) -> UnixTime {
        self.store.on_its_clock(at)
    }

    /// Keeps a new session; `None` if its id is another's, which for a full one never happens.
    ///
    /// # Errors
    /// If the store is not available; then nothing was given.
    pub async fn open(&self, opening: Opening) -> Result<Option<Tokens>, StoreError> {
        let (session, most, refresh) = self.session(opening)?;
        let (store, live) = (self.store.clone(), self.live.clone());
        let created = self.detached(async move {
            let created = store.create(session, most).await?;
            if let Created::Now(superseded) = &created {
                superseded.iter().for_each(|id| live.end_for_good(*id, Some(RevocationReason::Superseded)));
            }
            Ok(created)
        });
        Ok(match created.await? {
            Created::Now(_) => Some(Tokens { refresh }),
            Created::Taken => None,
        })
    }

    /// The same for a code that is redeemed: `None` if it was spent before or is over.
    ///
    /// # Errors
    /// As [`Sessions::open`].
    pub async fn redeem(&self, opening: Opening) -> Result<(Spent, Tokens), StoreError> {
        let (session, most, refresh) = self.session(opening)?;
        let (store, live) = (self.store.clone(), self.live.clone());
        let spent = self.detached(async move {
            let spent = store.spend_code(session, most).await?;
            if let Spent::Now(superseded) = &spent {
                superseded.iter().for_each(|id| live.end_for_good(*id, Some(RevocationReason::Superseded)));
            }
            Ok(spent)
        });
        Ok((spent.await?, Tokens { refresh }))
    }

    /// Carries `step` to its end also if nobody waits for it any more: a client that hangs up must not leave a session
    /// that the store has ended and whose flag still says that it lives.
    async fn detached<T: Send + 'static>(
        &self,
        step: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ended = self.background.spawn(step).await;
        ended.unwrap_or_else(|_| Err(StoreError::Unavailable("the step was not carried out".to_owned())))
    }

    fn session(&self, opening: Opening) -> Result<(Session, u32, Option<Secret<String>>), StoreError> {
        let now = self.now();
        let Opening { id, client, granted, held, idle, absolute, refresh, access, most } = opening;
        let absolute = now.plus(absolute);
        let generation = u64::from(refresh.is_some());
        let access = access.map(|access| Access { generation, expires: access.expires.min(absolute), ..access });
        let state = State {
            client,
            created: now,
            absolute,
            idle_until: if refresh.is_some() { now.plus(idle).min(absolute) } else { absolute },
            generation,
            form: refresh.unwrap_or_default(),
            rotated_at: now,
            acknowledged: 0,
            retries: 0,
            revoked: None,
            access: access.into_iter().collect(),
            vouched: held.as_ref().map(|held| Vouched::first(held.expires)),
        };
        let session = Session { id, state, granted, held };
        let token = if refresh.is_some() {
            // Before anything is kept: what can fail comes first.
            let token = self.ring.refresh_token(&session, 1);
            Some(token.ok_or_else(|| StoreError::Unreadable("the master key is not in the ring".to_owned()))?)
        } else {
            None
        };
        Ok((session, most, token))
    }

    /// The session of `client` behind a refresh token whose MAC is right, and its family. `None`: nothing of the kind.
    ///
    /// # Errors
    /// If the store is not available.
    pub async fn find_refresh(
        &self,
        token: &str,
        client: &str,
    ) -> Result<Option<(Presented, Session, Family)>, StoreError> {
        let found = self.find_family(token).await?;
        Ok(found.filter(|(_, session, _)| session.state.client == client))
    }

    /// The same, whichever client's it is.
    ///
    /// # Errors
    /// If the store is not available.
    pub async fn find_any_refresh(&self, token: &str) -> Result<Option<(Presented, Session)>, StoreError> {
        Ok(self.find_family(token).await?.map(|(presented, session, _)| (presented, session)))
    }

    async fn find_family(&self, token: &str) -> Result<Option<(Presented, Session, Family)>, StoreError> {
        let Some(presented) = tokens::read_refresh(token) else { return Ok(None) };
        let Some(session) = self.find(presented.session).await? else { return Ok(None) };
        let Some(family) = self.ring.family(&session) else { return Ok(None) };
        let good = family.gave(&presented, &session);
        Ok(good.then_some((presented, session, family)))
    }

    /// Takes the step on `session`, whose `family` it is. Everything that may fail, the signing of the new access token
    /// included, was done before.
    ///
    /// # Errors
    /// If the store is not available: the step may or may not have been taken, and can be taken again.
    pub async fn refresh(&self, session: &Session, family: &Family, step: Rotate) -> Result<Refreshed, StoreError> {
        let (store, live) = (self.store.clone(), self.live.clone());
        let (id, mut state) = (session.id, session.state.without_access());
        let outcome = self.detached(async move {
            let outcome = store.rotate(id, step.clone()).await;
            match &outcome {
                Ok(Outcome::Reused { .. }) => live.end_for_good(id, Some(RevocationReason::Reuse)),
                Ok(_) => {}
                // Not known, but likely: no verdict may outlive a revocation that the store may have noted.
                Err(_) => {
                    if matches!(state.rotate(&step, store.now()), Outcome::Reused { .. }) {
                        live.end(id);
                    }
                }
            }
            outcome
        });
        let outcome = outcome.await?;
        let generation = match outcome {
            Outcome::Rotated { generation } | Outcome::Retried { generation } | Outcome::Healed { generation } => {
                generation
            }
            Outcome::Reused { .. } | Outcome::RetriesExhausted | Outcome::Refused(_) => {
                return Ok(Refreshed::Refused(outcome));
            }
        };
        match family.token(session, generation) {
            Some(token) => Ok(Refreshed::Good { token, outcome }),
            // The step gives no generation that the form cannot name.
            None => Ok(Refreshed::Refused(Outcome::Refused(Refused::Unknown))),
        }
    }

    /// # Errors
    /// If the store is not available.
    pub async fn find(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.absence.note(look(&*self.store, &self.live, &self.hearing, id).await)
    }

    /// Ends a session, and every cached verdict that rests on it; false if it had ended before.
    ///
    /// # Errors
    /// If the store is not available: then the session must be assumed to live.
    pub async fn revoke(&self, id: SessionId, reason: RevocationReason) -> Result<bool, StoreError> {
        let (store, live) = (self.store.clone(), self.live.clone());
        self.detached(async move {
            let revoked = store.revoke(id, reason).await;
            match revoked {
                Ok(true) => live.end_for_good(id, Some(reason)),
                // Also if the outcome is not known: then the store is asked again.
                Ok(false) | Err(_) => live.end(id),
            }
            revoked
        })
        .await
    }

    /// What a verdict on this session must carry; to be taken before the session is looked up.
    pub fn watch(&self, id: SessionId) -> Arc<Watched> {
        self.live.watch(id)
    }

    /// Returns once the session is over: ended by somebody, or at its own time. The store is not asked before `good_until` on
    /// this process's clock, which is that of `time`: the session outlives it if nobody ends it.
    pub async fn over(&self, watched: &Watched, good_until: UnixTime, time: &Time) {
        let mut look_at = good_until;
        loop {
            tokio::select! {
                () = watched.ended() => return,
                () = time.sleep_until(look_at) => {}
            }
            look_at = match self.find(watched.id()).await {
                Ok(Some(session)) if session.is_alive(self.now()) => {
                    self.on_our_clock(session.state.over_at()).max(time.now().plus(1))
                }
                Ok(_) => return,
                // Nothing is decided by that.
                Err(_) => time.now().plus(ASK_AGAIN),
            };
        }
    }

    /// Keeps what the authority outside has given anew, or ends the session that it has ended. To its end, also if nobody
    /// waits: the old tokens may be spent.
    ///
    /// # Errors
    /// If the store is not available: the step may or may not have been taken, and can be taken again.
    pub async fn renew(&self, id: SessionId, renewed: Renewed) -> Result<Exchanged, StoreError> {
        let (store, live, journal) = (self.store.clone(), self.live.clone(), self.journal.clone());
        let absence = self.absence.clone();
        self.detached(async move {
            let ends = matches!(renewed.answer, Answer::Ended { .. });
            let epoch = renewed.epoch;
            if let Some(journal) = &journal
                && let Answer::Given { held, renewed_for } = &renewed.answer
                // Without a refresh token nothing is spent: the authority can be asked again.
                && held.refresh_token.is_some()
            {
                journal.keep(id, epoch, held, *renewed_for).await;
                crash::point(Point::AfterJournal).await;
            }
            let exchanged = absence.note(store.renew(id, renewed).await);
            if let (Some(journal), Ok(_)) = (&journal, &exchanged) {
                journal.settle(id, epoch);
            }
            match &exchanged {
                Ok(Exchanged::Ended) => live.end_for_good(id, Some(RevocationReason::Authority)),
                // Not known: then the store is asked again.
                Err(_) if ends => live.end(id),
                Ok(_) | Err(_) => {}
            }
            exchanged
        })
        .await
    }

    /// Takes the lease on renewing what the authority gave, and notes that it is about to be asked.
    ///
    /// # Errors
    /// If the store is not available: then the authority must not be asked.
    pub async fn intend(&self, id: SessionId, seen: u64, lease: Duration) -> Result<Intended, StoreError> {
        let store = self.store.clone();
        let step = Intend { seen, owner: self.owner, lease };
        self.absence.note(self.detached(async move { store.intend(id, step).await }).await)
    }

    /// Makes a lease last longer; false if it is lost.
    ///
    /// # Errors
    /// If the store is not available.
    pub async fn extend(&self, id: SessionId, epoch: u64, lease: Duration) -> Result<bool, StoreError> {
        self.absence.note(self.store.extend(id, epoch, lease).await)
    }

    /// Gives a lease back under which nothing was given.
    ///
    /// # Errors
    /// If the store is not available: then the lease lapses.
    pub async fn leave(&self, id: SessionId, epoch: u64, left: Left) -> Result<(), StoreError> {
        let store = self.store.clone();
        self.detached(async move { store.leave(id, epoch, left).await }).await
    }

    /// What was given for a session and came too late, newest first.
    ///
    /// # Errors
    /// If the store is not available.
    pub async fn candidates(&self, id: SessionId) -> Result<Vec<Candidate>, StoreError> {
        self.store.candidates(id).await
    }

    /// Sessions that somebody began to renew and is at no more, behind `after`.
    ///
    /// # Errors
    /// If the store is not available.
    pub async fn lapsed(&self, after: Option<SessionId>, most: usize) -> Result<Vec<SessionId>, StoreError> {
        self.absence.note(self.store.lapsed(self.owner, after, most).await)
    }

    /// Lets an access token go on being good. To its end, also if nobody waits.
    ///
    /// # Errors
    /// If the store is not available: the step may or may not have been taken, and can be taken again.
    pub async fn slide(&self, id: SessionId, step: Slide) -> Result<Slid, StoreError> {
        let store = self.store.clone();
        self.detached(async move { store.slide(id, step).await }).await
    }

    /// Adds the successor of an access token. To its end, also if nobody waits.
    ///
    /// # Errors
    /// If the store is not available: the step may or may not have been taken, and can be taken again.
    pub async fn succeed(&self, id: SessionId, step: Succeed) -> Result<Succeeded, StoreError> {
        let store = self.store.clone();
        self.detached(async move { store.succeed(id, step).await }).await
    }

    /// The session that handed out `token`, the authority's own, as long as that is good.
    ///
    /// # Errors
    /// If the store is not available.
    pub async fn find_foreign(&self, token: &str) -> Result<Option<SessionId>, StoreError> {
        self.store.find_foreign(digest16(token.as_bytes())).await
    }

    /// Notes that an access token of `generation` has reached the client. In the background: no request waits for it.
    pub fn acknowledge(&self, id: SessionId, generation: u64) {
        let store = self.store.clone();
        self.background.spawn(async move {
            if let Err(error) = store.acknowledge(id, generation).await {
                // Nothing is lost: the successor, when it is used, says the same.
                tracing::debug!(%error, "an acknowledgement was not noted");
            }
        });
    }

    /// # Errors
    /// If the store is not available.
    pub async fn put_code(&self, id: SessionId, code: Code) -> Result<(), StoreError> {
        self.store.put_code(id, code).await
    }

    /// # Errors
    /// If the store is not available.
    pub async fn find_code(&self, id: SessionId) -> Result<Option<Code>, StoreError> {
        self.store.find_code(id).await
    }

    /// Whether `key` is used for the first time; forgotten at `until`.
    ///
    /// # Errors
    /// If the store is not available.
    pub async fn use_once(&self, key: [u8; 32], until: UnixTime) -> Result<bool, StoreError> {
        self.store.use_once(key, until).await
    }

    /// # Errors
    /// If the store is not available.
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<SessionId>,
        most: usize,
    ) -> Result<Vec<Session>, StoreError> {
        self.store.list(filter, after, most).await
    }

    /// For whoever looks whose a token is before they keep it.
    pub async fn one_at_a_time(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.one_at_a_time.lock().await
    }

    /// The store itself, for what is kept beside sessions.
    pub fn store(&self) -> &Arc<dyn SessionStore> {
        &self.store
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
    }
}

/// Seconds after which a store that did not answer is asked again whether a session is over.
const ASK_AGAIN: u64 = 5;

#[cfg(test)]
mod tests;
