//! The keys of foreign issuers: fetched in the background before they age out, kept through outages.

mod pace;
mod source;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
    time::timeout,
};

use self::pace::{Budget, backoff, jittered};
use self::source::SourceError;
use crate::{
    config::{Issuer, KeySource},
    fetch::Fetcher,
    jose::keys::{KeySet, Skipped},
    model::{Time, UnixTime},
};

/// The keys of one issuer and the task that keeps them fresh. Dropping it stops the task and ends the keys.
///
/// It may be kept across a reload that leaves [`Provider::issuer`] as it is.
pub struct Provider {
    shared: Arc<Shared>,
    task: Option<AbortHandle>,
}

/// There are no keys to verify with, or none that are fresh enough to decide: 503, never 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys are not available")]
pub struct KeysUnavailable;

/// What came of asking the issuer again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refetch {
    /// The set is as fresh as the question.
    Done,
    /// The issuer was asked often enough, and answered; the set is as it was.
    Limited,
    /// It fails, or takes too long to wait for.
    Failed,
}

/// What `/readyz` and `/status` say of an issuer.
#[derive(Debug, Clone)]
pub struct ProviderStatus {
    pub name: Arc<str>,
    /// The keys were there once.
    pub ever_loaded: bool,
    /// Number of usable keys.
    pub keys: usize,
    pub skipped: Vec<Skipped>,
    pub last_success: Option<UnixTime>,
    /// Why the last attempt failed; none if it did not.
    pub last_error: Option<String>,
    /// There is no key, or the last attempt failed.
    pub degraded: bool,
}

/// Attempts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetches {
    pub ok: u64,
    pub failed: u64,
}

struct Shared {
    issuer: Issuer,
    time: Time,
    fetcher: Fetcher,
    /// `None` before the first success, and when the keys are too old.
    keys: ArcSwapOption<KeySet>,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    wake: Notify,
    ok: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The number of the latest fetch that somebody wants; the first is wanted from the start.
    wanted: u64,
    budget: Budget,
    skipped: Vec<Skipped>,
    last_success: Option<UnixTime>,
    last_error: Option<SourceError>,
    /// Failures in a row.
    failures: u32,
}

/// The latest fetch that has ended.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    fetch: u64,
    ok: bool,
}

impl Provider {
    /// Never blocks and never fails: the first fetch starts at once on `background`, and its failure is seen in
    /// [`Provider::status`] while it is tried again.
    pub fn start(issuer: Issuer, time: Time, background: &Handle) -> Arc<Provider> {
        let shared = Arc::new(Shared {
            fetcher: Fetcher::new(issuer.ca_file.clone()),
            issuer,
            time,
            keys: ArcSwapOption::empty(),
            state: Mutex::new(State { wanted: 1, ..State::default() }),
            progress: watch::Sender::default(),
            wake: Notify::new(),
            ok: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let task = match &shared.issuer.keys {
            KeySource::Shared(secret) => {
                let keys = KeySet::shared(secret.expose(), &shared.issuer.algorithms);
                shared.settle(1, Ok((keys, Vec::new())), shared.time.now());
                None
            }
            KeySource::None => {
                shared.settle(1, Ok((KeySet::default(), Vec::new())), shared.time.now());
                None
            }
            KeySource::Discovery(_) | KeySource::JwksUri(_) | KeySource::JwksFile(_) => {
                Some(background.spawn(Arc::clone(&shared).keep_fresh()).abort_handle())
            }
        };
        Arc::new(Provider { shared, task })
    }

    pub fn issuer(&self) -> &Issuer {
        &self.shared.issuer
    }

    /// The keys as they are, without waiting and without a lock.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.shared.keys.load_full()
    }

    /// The keys for a token that names `kid`. Waits, for [`WAIT`] at most, for the very first fetch, and for another one
    /// if no key has that name.
    ///
    /// # Errors
    /// If there are no keys, or none of that name and the issuer cannot be asked if there is a new one.
    pub async fn keys_for(&self, kid: Option<&str>, now: UnixTime) -> Result<Arc<KeySet>, KeysUnavailable> {
        let keys = self.ready_or_wait().await?;
        if self.task.is_none() || kid.is_none() || keys.with_kid(kid).next().is_some() {
            return Ok(keys);
        }
        match self.refetch_for_unknown_kid(now).await {
            Refetch::Done | Refetch::Limited => self.current().ok_or(KeysUnavailable),
            // A 401 would be a guess: the token may be signed with a key that came during the outage.
            Refetch::Failed => Err(KeysUnavailable),
        }
    }

    /// The keys; only the very first fetch is waited for, for [`WAIT`] at most.
    ///
    /// # Errors
    /// If there are none.
    pub async fn ready_or_wait(&self) -> Result<Arc<KeySet>, KeysUnavailable> {
        if let Some(keys) = self.current() {
            return Ok(keys);
        }
        let _ = self.ended(1).await;
        self.current().ok_or(KeysUnavailable)
    }

    /// Asks the issuer again, together with everybody who wants the same now, within a budget of one fetch per 10 s and
    /// a burst of 3. Waits for [`WAIT`] at most.
    pub async fn refetch_for_unknown_kid(&self, now: UnixTime) -> Refetch {
        if self.task.is_none() {
            // Nobody can be asked.
            return Refetch::Limited;
        }
        let fetch = {
            let mut state = self.shared.state();
            let outstanding = state.wanted > self.shared.progress.borrow().fetch;
            if !outstanding {
                if !state.budget.take(now) {
                    return if state.failures == 0 { Refetch::Limited } else { Refetch::Failed };
                }
                state.wanted += 1;
                self.shared.wake.notify_one();
            }
            state.wanted
        };
        match self.ended(fetch).await {
            Some(Progress { ok: true, .. }) => Refetch::Done,
            Some(Progress { ok: false, .. }) | None => Refetch::Failed,
        }
    }

    async fn ended(&self, fetch: u64) -> Option<Progress> {
        let mut progress = self.shared.progress.subscribe();
        let ended = timeout(WAIT, progress.wait_for(|progress| progress.fetch >= fetch)).await;
        ended.ok()?.ok().map(|progress| *progress)
    }

    pub fn status(&self) -> ProviderStatus {
        let keys = self.current().map_or(0, |keys| keys.keys().len());
        let state = self.shared.state();
        ProviderStatus {
            name: Arc::clone(&self.shared.issuer.name),
            ever_loaded: state.last_success.is_some(),
            keys,
            skipped: state.skipped.clone(),
            last_success: state.last_success,
            last_error: state.last_error.as_ref().map(ToString::to_string),
            degraded: state.last_error.is_some() || (keys == 0 && self.shared.issuer.keys != KeySource::None),
        }
    }

    pub fn fetches(&self) -> Fetches {
        Fetches { ok: self.shared.ok.load(Ordering::Relaxed), failed: self.shared.failed.load(Ordering::Relaxed) }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        // Nobody would end a key that is withdrawn from now on, so no verdict may rest on these any longer.
        if let Some(keys) = self.shared.keys.swap(None) {
            keys.end();
        }
    }
}

impl Shared {
    async fn keep_fresh(self: Arc<Self>) {
        loop {
            // Before the fetch: what is asked for while a routine one runs comes after it.
            let fetch = self.state().wanted;
            let outcome = source::load(&self.fetcher, &self.issuer).await;
            // The next is due after this one, not after whatever the clock says by the time we sleep.
            let now = self.time.now();
            let pause = self.settle(fetch, outcome, now);
            tokio::select! {
                () = self.time.sleep_from(now, pause) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Takes over what a fetch brought; returns the pause before the next.
    fn settle(&self, fetch: u64, outcome: Result<(KeySet, Vec<Skipped>), SourceError>, now: UnixTime) -> Duration {
        let ok = outcome.is_ok();
        let pause = match outcome {
            Ok((keys, skipped)) => self.replace(keys, skipped, now),
            Err(error) => self.endure(error, now),
        };
        // Last: who waits for this looks at the keys next.
        self.progress.send_replace(Progress { fetch, ok });
        pause
    }

    fn replace(&self, keys: KeySet, skipped: Vec<Skipped>, now: UnixTime) -> Duration {
        self.ok.fetch_add(1, Ordering::Relaxed);
        let keys = match self.keys.load_full() {
            Some(old) => keys.replace(&old),
            None => keys,
        };
        let mut state = self.state();
        if state.failures > 0 {
            tracing::info!(issuer = %self.issuer.name, "the issuer's keys are fetched again");
        }
        if state.skipped != skipped {
            for Skipped { kid, reason } in &skipped {
                tracing::warn!(issuer = %self.issuer.name, ?kid, reason, "a key of the issuer cannot be used");
            }
        }
        self.keys.store(Some(Arc::new(keys)));
        state.skipped = skipped;
        state.last_success = Some(now);
        state.last_error = None;
        state.failures = 0;
        jittered(self.issuer.refresh_interval)
    }

    fn endure(&self, error: SourceError, now: UnixTime) -> Duration {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        if state.failures == 0 {
            tracing::warn!(issuer = %self.issuer.name, %error, "the issuer's keys cannot be fetched; trying again");
        }
        state.failures = state.failures.saturating_add(1);
        state.last_error = Some(error);
        let stale = |loaded: UnixTime| now >= loaded.plus(self.issuer.max_stale.as_secs());
        if state.last_success.is_some_and(stale)
            && let Some(keys) = self.keys.swap(None)
        {
            // What was verified with them must not outlive them in the cache.
            keys.end();
            tracing::error!(issuer = %self.issuer.name, "the issuer's keys are too old to be believed any longer");
        }
        backoff(state.failures)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a request waits for a key set.
pub const WAIT: Duration = Duration::from_secs(2);
