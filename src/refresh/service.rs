//! The one token that an upstream is shown for everybody (`credential: service`): got in the background, renewed ahead of
//! time, and never shown once it is over. Nothing can be lost with it: what cannot be renewed is got anew.

mod keeping;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{FORCED_EVERY, Spread, left};
use crate::{
    authority::remote::Remote,
    config,
    jose::mint::MintError,
    model::{Secret, Time, UnixTime},
    spans::Renewing,
    telemetry::metrics::Metrics,
};

/// Keeps the token of one upstream good. Dropping it ends that.
pub struct Keeper {
    shared: Arc<Shared>,
    /// `None`: nothing is asked for.
    task: Option<AbortHandle>,
}

/// The token as the upstream is shown it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// `Bearer …`, marked sensitive.
    pub authorization: HeaderValue,
    /// A later one is newer.
    pub generation: u64,
}

/// Why there is no token to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    #[error("there is no service token that is good, and none can be had now")]
    Unavailable {
        /// Seconds until it is asked for again.
        retry_after: Option<u64>,
    },
    #[error("service tokens never live as long as is needed")]
    TooShort,
    #[error("it was renewed for the same reason a moment ago")]
    TooSoon,
}

/// What `/status` says of it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When the token was asked for and when it ends, where there was one.
    pub token: Option<(UnixTime, UnixTime)>,
    /// Why the last attempt failed; `None` if it did not. No secret.
    pub last_error: Option<String>,
    /// When it is asked for again, after a failure.
    pub again: Option<UnixTime>,
}

impl Seen {
    pub fn is_valid(&self, now: UnixTime) -> bool {
        self.token.is_some_and(|(issued, expires)| !left(issued, expires, now).is_zero())
    }
}

struct Shared {
    upstream: Arc<str>,
    settings: Arc<config::Service>,
    refresh: config::Refresh,
    spread: Spread,
    remote: Remote,
    time: Time,
    background: Handle,
    metrics: Arc<Metrics>,
    kept: ArcSwapOption<Kept>,
    state: Mutex<State>,
    /// Attempts that have ended.
    ended: watch::Sender<u64>,
    wake: Notify,
}

#[derive(Debug, Clone)]
struct Kept {
    shown: Shown,
    issued: UnixTime,
    expires: UnixTime,
}

#[derive(Default)]
struct State {
    under_way: bool,
    /// Somebody needs another token before its time.
    wanted: bool,
    /// Good for one attempt, whatever comes of it.
    refresh_token: Option<Secret<String>>,
    /// In a row.
    failures: u32,
    rests_until: Option<UnixTime>,
    last_error: Option<String>,
    last_attempt: Option<UnixTime>,
    forced: Option<UnixTime>,
    /// The next attempt is made, or is under way, for that alone.
    by_force: bool,
    /// Of the next attempt, or the one under way.
    span: Renewing,
    /// Another one keeps the token of this upstream: this one asks only for requests that began with it.
    retired: bool,
}

impl Keeper {
    /// Never blocks: the token is asked for on `background`. What `old` keeps is taken over where that is the same token.
    ///
    /// # Errors
    /// If the key for assertions cannot be used.
    pub fn start(
        upstream: Arc<str>,
        settings: Arc<config::Service>,
        refresh: config::Refresh,
        old: Option<&Keeper>,
        time: Time,
        metrics: Arc<Metrics>,
        background: &Handle,
    ) -> Result<Keeper, MintError> {
        let old = old.filter(|old| old.shared.upstream == upstream);
        let last = old.map(|old| &old.shared.remote);
        let shared = Shared::new(upstream, settings, refresh, time, metrics, background, last)?;
        // Without its refresh token, which the old one may be redeeming at this moment.
        let old = old.filter(|old| old.shared.settings == shared.settings);
        shared.kept.store(old.and_then(|old| old.shared.kept.load_full()));
        let shared = Arc::new(shared);
        let task = Some(background.spawn(shared.clone().keep_good()).abort_handle());
        Ok(Keeper { shared, task })
    }

    /// One that asks for nothing, and shows a word in place of a token.
    ///
    /// # Errors
    /// As [`Keeper::start`].
    pub fn idle(
        upstream: Arc<str>,
        settings: Arc<config::Service>,
        refresh: config::Refresh,
        time: Time,
        metrics: Arc<Metrics>,
        background: &Handle,
    ) -> Result<Keeper, MintError> {
        let issued = time.now();
        let shared = Shared::new(upstream, settings, refresh, time, metrics, background, None)?;
        let mut authorization = HeaderValue::from_static("Bearer (of the process that serves)");
        authorization.set_sensitive(true);
        let shown = Shown { authorization, generation: 0 };
        shared.kept.store(Some(Arc::new(Kept { shown, issued, expires: UnixTime(u64::MAX) })));
        Ok(Keeper { shared: Arc::new(shared), task: None })
    }

    /// Whether it is what a reload would start.
    pub fn is_for(&self, upstream: &str, settings: &config::Service, refresh: &config::Refresh) -> bool {
        *self.shared.upstream == *upstream && *self.shared.settings == *settings && self.shared.refresh == *refresh
    }

    pub fn upstream(&self) -> &str {
        &self.shared.upstream
    }

    /// Who gives the token.
    pub fn remote(&self) -> &Remote {
        &self.shared.remote
    }

    /// The token, if there is one that has `need` left: no lock, and nothing that waits. That it is renewed in time is the
    /// business of the keeper's own task.
    pub fn ready(&self, need: Duration, now: UnixTime) -> Option<Shown> {
        let kept = self.shared.kept.load();
        kept.as_ref().filter(|kept| kept.lasts(need, now)).map(|kept| kept.shown.clone())
    }

    /// The same, also if it is to be got first: waits for the attempt that is under way, and for the next one if that
    /// comes in time.
    ///
    /// # Errors
    /// If there is none within the configured wait, or it is known now that there will be none.
    pub async fn wait(&self, need: Duration) -> Result<Shown, NoToken> {
        let deadline = Instant::now() + self.shared.refresh.wait;
        let mut ended = self.shared.ended.subscribe();
        loop {
            // An attempt may have ended since whoever asks has looked.
            let now = self.shared.time.now();
            if let Some(shown) = self.ready(need, now) {
                return Ok(shown);
            }
            if self.shared.is_too_short(need, now) {
                return Err(NoToken::TooShort);
            }
            self.shared.want(deadline.saturating_duration_since(Instant::now()), now)?;
            if timeout_at(deadline, ended.changed()).await.is_err() {
                return Err(self.shared.unavailable(self.shared.time.now()));
            }
        }
    }

    /// A newer token than the one of generation `seen`, which the upstream did not take, with `need` left. Somebody else
    /// may have brought it; otherwise it is asked for, at most once in 30 s.
    ///
    /// # Errors
    /// If there is no newer one within the configured wait. The one that is there may go on being used.
    pub async fn renew_forced(&self, seen: u64, need: Duration) -> Result<Shown, NoToken> {
        let mut ended = self.shared.ended.subscribe();
        let now = self.shared.time.now();
        let newer = |now| self.ready(need, now).filter(|shown| shown.generation > seen);
        if let Some(shown) = newer(now) {
            return Ok(shown);
        }
        if let Err(none) = self.shared.force(now) {
            // It may have come since we looked.
            return newer(now).ok_or(none);
        }
        let _ = timeout(self.shared.refresh.wait, ended.changed()).await;
        let now = self.shared.time.now();
        newer(now).ok_or_else(|| self.shared.unavailable(now))
    }

    /// The same for somebody who does not wait for it.
    ///
    /// # Errors
    /// If it is not asked for now.
    pub fn renew_forced_beside(&self, seen: u64, need: Duration, now: UnixTime) -> Result<(), NoToken> {
        let is_newer = self.ready(need, now).is_some_and(|shown| shown.generation > seen);
        if is_newer { Ok(()) } else { self.shared.force(now) }
    }

    /// Another generation of the configuration has taken the place of this one.
    pub fn retire(&self) {
        self.shared.state().retired = true;
        self.shared.wake.notify_one();
    }

    pub fn seen(&self) -> Seen {
        let token = self.shared.kept.load().as_ref().map(|kept| (kept.issued, kept.expires));
        let state = self.shared.state();
        Seen { token, last_error: state.last_error.clone(), again: state.rests_until }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Kept {
    fn lasts(&self, need: Duration, now: UnixTime) -> bool {
        let left = left(self.issued, self.expires, now);
        !left.is_zero() && left >= need
    }
}

impl Shared {
    fn new(
        upstream: Arc<str>,
        settings: Arc<config::Service>,
        refresh: config::Refresh,
        time: Time,
        metrics: Arc<Metrics>,
        background: &Handle,
        last: Option<&Remote>,
    ) -> Result<Shared, MintError> {
        // No upstream can be called so, nor `authority.remote`.
        let name = format!("service:{upstream}");
        let asked = settings.remote.clone();
        Ok(Shared {
            remote: Remote::new(&name, asked, None, time.clone(), metrics.clone(), background, last)?,
            upstream,
            settings,
            refresh,
            spread: Spread::any(),
            time,
            background: background.clone(),
            metrics,
            kept: ArcSwapOption::empty(),
            state: Mutex::default(),
            ended: watch::Sender::default(),
            wake: Notify::new(),
        })
    }

    /// What the token did not have when it was new, no renewal brings.
    fn is_too_short(&self, need: Duration, now: UnixTime) -> bool {
        let kept = self.kept.load();
        kept.as_ref().is_some_and(|kept| kept.lasts(Duration::ZERO, now) && kept.issued.until(kept.expires) < need)
    }

    /// Sees to it that an attempt is made that is worth waiting for.
    fn want(&self, patience: Duration, now: UnixTime) -> Result<(), NoToken> {
        let mut state = self.state();
        if state.under_way {
            state.span.join();
            return Ok(());
        }
        match state.rest(now) {
            // The task tries again by itself then.
            Some(rest) if rest <= patience => {
                state.span.join();
                if state.retired {
                    self.wake.notify_one();
                }
                Ok(())
            }
            Some(rest) => Err(NoToken::Unavailable { retry_after: Some(rest.as_secs()) }),
            None => {
                state.span.join();
                state.wanted = true;
                self.wake.notify_one();
                Ok(())
            }
        }
    }

    /// The same for somebody whom time does not help.
    fn force(&self, now: UnixTime) -> Result<(), NoToken> {
        let mut state = self.state();
        if state.under_way || state.wanted {
            state.span.join();
            return Ok(());
        }
        if let Some(rest) = state.rest(now) {
            return Err(NoToken::Unavailable { retry_after: Some(rest.as_secs()) });
        }
        // A clock that was set back stops nobody.
        if state.forced.is_some_and(|at| (at.0..at.plus(FORCED_EVERY).0).contains(&now.0)) {
            return Err(NoToken::TooSoon);
        }
        state.span.join();
        state.forced = Some(now);
        state.by_force = true;
        state.wanted = true;
        self.wake.notify_one();
        Ok(())
    }

    fn unavailable(&self, now: UnixTime) -> NoToken {
        NoToken::Unavailable { retry_after: self.state().rest(now).map(|rest| rest.as_secs()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long nothing is asked, after a failure.
    fn rest(&self, now: UnixTime) -> Option<Duration> {
        self.rests_until.map(|until| now.until(until)).filter(|rest| !rest.is_zero() && *rest <= LONGEST_PAUSE)
    }
}

/// Between two attempts, whatever an authority asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
