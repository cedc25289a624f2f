//! Renewal at the authority outside: when, and how, so that no session is lost.

mod flight;
mod flights;
mod others;
pub mod service;
mod sweep;
mod timing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

pub use self::timing::{Spread, Timing, left, renews_from, slides_from, timing};
use self::{
    flight::Flight,
    flights::{Flights, Landed, Then},
    others::Others,
};
use crate::{
    authority::{Authority, remote::Remote},
    config,
    crash::{self, Point},
    model::{Grant, GrantType, UnixTime},
    session::{Granted, Held, Session, SessionId, Sessions, Vouched},
    telemetry::metrics::{Forced, Metrics, Renewable},
};

/// Renews what the authority outside gave, of one generation of the configuration.
pub struct Renewals {
    means: Arc<Means>,
    flights: Arc<Flights>,
}

/// What a renewal needs.
struct Means {
    sessions: Arc<Sessions>,
    remote: Arc<Remote>,
    authority: Arc<Authority>,
    settings: config::Refresh,
    metrics: Arc<Metrics>,
    others: Arc<Others>,
    /// Another generation has taken its place.
    retired: AtomicBool,
}

/// Why a renewal is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The token is over, or will be soon, or has less life left than somebody needs.
    ByTime { need: Duration },
    /// A client refreshes with this generation of its own refresh token: the authority must still agree.
    ByClient { presented: u64 },
    /// Somebody does not take what was renewed `seen` times, whatever its time says.
    Forced { seen: u64 },
    /// Somebody began to renew it and is at it no more.
    Recovery,
}

impl Wanted {
    /// Whether it is tried again however short ago that failed: a client that refreshes is told what is so now.
    fn is_tried_whenever(self) -> bool {
        matches!(self, Wanted::ByClient { .. })
    }
}

/// The session as it is once the renewal is done, or why it was not done.
pub type Outcome = Result<Arc<Session>, NotRenewed>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRenewed {
    /// The session is over, or was ended by the authority's word.
    #[error("the session is over")]
    Ended,
    /// There is nothing to renew it with: the user must sign in again.
    #[error("the authority gave nothing to renew with")]
    NotRenewable,
    /// The authority was not asked: it is taken for away, or too many ask it. The session lives.
    #[error("the authority is not asked now: {cause}")]
    NotAsked {
        /// Seconds after which another try is worth it.
        retry_after: u64,
        /// The authority is well, and it is us who are too many.
        busy: bool,
        /// For the log; no secret.
        cause: String,
    },
    /// Nobody knows: authority or store are away, slow or at odds with us. The session lives.
    #[error("the authority's tokens cannot be renewed now: {cause}")]
    Unavailable {
        /// Seconds after which another try is worth it, where somebody said so.
        retry_after: Option<u64>,
        /// The authority wants to be asked less.
        throttled: bool,
        /// For the log; no secret.
        cause: String,
    },
}

impl NotRenewed {
    fn unavailable(cause: String) -> NotRenewed {
        NotRenewed::Unavailable { retry_after: None, throttled: false, cause }
    }

    /// The same, to be tried again after `seconds`.
    fn until(self, seconds: u64) -> NotRenewed {
        match self {
            NotRenewed::Ended | NotRenewed::NotRenewable => self,
            NotRenewed::NotAsked { busy, cause, .. } => NotRenewed::NotAsked { retry_after: seconds, busy, cause },
            NotRenewed::Unavailable { throttled, cause, .. } => {
                NotRenewed::Unavailable { retry_after: Some(seconds), throttled, cause }
            }
        }
    }
}

impl Renewals {
    /// Flights of `old` are joined by those who come here.
    pub fn new(
        sessions: Arc<Sessions>,
        remote: Arc<Remote>,
        authority: Arc<Authority>,
        settings: config::Refresh,
        metrics: Arc<Metrics>,
        old: Option<&Renewals>,
    ) -> Renewals {
        let flights = old.map_or_else(Arc::default, |old| old.flights.clone());
        let others = old.map_or_else(|| Others::at(&sessions), |old| old.means.others.clone());
        let retired = AtomicBool::new(false);
        let means = Means { sessions, remote, authority, settings, metrics, others, retired };
        Renewals { means: Arc::new(means), flights }
    }

    /// Another generation takes the place of this one, which goes on only for requests that it began with. What has failed
    /// under its settings says nothing of others: whoever has mended them need not wait.
    pub fn retire(&self) {
        self.means.retired.store(true, Ordering::Relaxed);
        self.flights.forget_rests();
    }

    /// Who is asked.
    pub fn remote(&self) -> &Arc<Remote> {
        &self.means.remote
    }

    pub fn settings(&self) -> &config::Refresh {
        &self.means.settings
    }

    /// Whether what `held` is can be renewed without the user.
    pub fn can_renew(&self, client: &str, granted: &Granted, held: &Held) -> bool {
        self.means.grant(client, granted, held).is_some()
    }

    /// Waits until nothing is being renewed.
    pub async fn quiet(&self) {
        self.flights.quiet().await;
    }

    /// Renews what session `id` holds, or joins who does; bounded by the configured wait. The renewal itself goes on,
    /// whoever waits for it.
    ///
    /// # Errors
    /// Why there is nothing newer.
    pub async fn renew(&self, id: SessionId, wanted: Wanted) -> Outcome {
        let (begun, deadline) = (self.means.sessions.now(), self.deadline());
        let mut outcome = self.attempt(id, wanted, deadline).await;
        if outcome.as_ref().is_ok_and(|session| self.is_unmet(session, wanted, begun)) {
            outcome = self.attempt(id, wanted, deadline).await;
        }
        if wanted.is_tried_whenever() {
            return outcome;
        }
        // It may be an outcome of a while ago, and what helps is to come when another try is made.
        outcome.map_err(|error| match self.flights.rest(id, self.means.sessions.now()) {
            Some(rest) => error.until(rest.as_secs()),
            None => error,
        })
    }

    async fn attempt(&self, id: SessionId, wanted: Wanted, deadline: Instant) -> Outcome {
        match self.start(id, wanted) {
            Some(landed) => landing(landed, deadline).await,
            None => Err(NotRenewed::NotAsked {
                retry_after: FORCED_EVERY,
                busy: false,
                cause: "renewed by force a moment ago".to_owned(),
            }),
        }
    }

    /// Whether nothing was done for who wants it so: it joined somebody who wanted less, and found nothing to do. What is new
    /// is as good as it can be.
    fn is_unmet(&self, session: &Session, wanted: Wanted, begun: UnixTime) -> bool {
        let of = session.held.as_ref().zip(session.state.vouched);
        of.is_some_and(|(held, vouched)| {
            held.issued.plus(FRESH) < begun && !self.means.is_met(session.id, wanted, held, vouched)
        })
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.means.settings.wait
    }

    /// The same beside a request that does not wait for it.
    pub fn renew_beside(&self, id: SessionId, wanted: Wanted) {
        drop(self.start(id, wanted));
    }

    /// Renews what session `id` holds since somebody refuses what was renewed `seen` times, or joins who renews it. `None`:
    /// that was begun a moment ago, and has come to its end: an upstream that refuses everything must not have the
    /// authority asked without end.
    pub async fn force(&self, id: SessionId, seen: u64) -> Option<Outcome> {
        let landed = self.start(id, Wanted::Forced { seen })?;
        Some(landing(landed, self.deadline()).await)
    }

    /// The same beside a request that does not wait for it; false where the other one says `None`.
    pub fn force_beside(&self, id: SessionId, seen: u64) -> bool {
        self.start(id, Wanted::Forced { seen }).is_some()
    }

    fn start(&self, id: SessionId, wanted: Wanted) -> Option<Landed> {
        let now = self.means.sessions.now();
        if !wanted.is_tried_whenever()
            && let Some(rests) = self.flights.rests(id, now)
        {
            return Some(rests);
        }
        let forced = matches!(wanted, Wanted::Forced { .. });
        let flight = Flight { means: self.means.clone(), id, wanted }.fly();
        let means = self.means.clone();
        self.flights.board(id, now, forced, self.means.sessions.background(), async move {
            let outcome = flight.await;
            if forced {
                means.metrics.replay.forced(Renewable::AuthorityToken, told(&outcome));
            }
            let then = if means.is_retired() { Then::Forget } else { then(&outcome) };
            crash::point(Point::BeforeAnswer).await;
            (outcome, then, means.sessions.now())
        })
    }
}

impl Means {
    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Whether there is nothing to do for who wants it so.
    fn is_met(&self, id: SessionId, wanted: Wanted, held: &Held, vouched: Vouched) -> bool {
        match wanted {
            Wanted::ByTime { need } => {
                let now = self.sessions.now();
                timing(held.issued, held.expires, now, need, id.into(), &self.settings) == Timing::Fresh
            }
            Wanted::ByClient { presented } => vouched.renewed_for >= presented,
            Wanted::Forced { seen } => vouched.generation > seen,
            Wanted::Recovery => vouched.intent.is_none(),
        }
    }

    /// How long a lease lasts: longer than a question may take, and not by much, since nobody else can help until it is over.
    fn lease(&self) -> Duration {
        self.remote.settings().timeout * 8 / 5
    }

    /// What the authority is asked for to renew what a session holds; `None`: only the user can begin another one.
    fn grant(&self, client: &str, granted: &Granted, held: &Held) -> Option<Grant> {
        if let Some(token) = &held.refresh_token {
            // After a change of the configuration another authority may be asked, which must not see it.
            let its_own = held.authority == self.remote.identity();
            return its_own.then(|| Grant::RefreshToken { token: token.clone() });
        }
        let mapped = self.remote.settings().mapped;
        let account = match (granted.grant, &granted.username) {
            (GrantType::ClientCredentials, _) if !mapped => return Some(Grant::ClientCredentials),
            (GrantType::ClientCredentials, _) => self.authority.client(client)?.account.as_ref(),
            // Somebody whom the authority knows by that name is not whoever is called so here.
            (_, Some(username)) if mapped && !granted.outside => self.authority.account(username),
            _ => None,
        };
        account.map(config::Account::grant)
    }
}

async fn landing(mut landed: Landed, deadline: Instant) -> Outcome {
    let unavailable = |cause: &str| NotRenewed::unavailable(cause.to_owned());
    match timeout_at(deadline, landed.wait_for(Option::is_some)).await {
        Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(unavailable("no outcome"))),
        Ok(Err(_)) => Err(unavailable("the renewal was cut short")),
        Err(_) => Err(unavailable("the renewal takes too long")),
    }
}

/// What `outcome` means for those who ask again by time: an authority that is in trouble is not to be flooded.
fn then(outcome: &Outcome) -> Then {
    match outcome {
        Ok(_) | Err(NotRenewed::Ended) => Then::Forget,
        Err(NotRenewed::NotRenewable) => Then::Rest(LONGEST_REST),
        Err(NotRenewed::NotAsked { retry_after, .. }) => {
            Then::Rest(Duration::from_secs(*retry_after).min(LONGEST_REST))
        }
        Err(NotRenewed::Unavailable { retry_after, .. }) => {
            Then::BackOff { at_least: Duration::from_secs(retry_after.unwrap_or(0)).min(LONGEST_REST) }
        }
    }
}

fn told(outcome: &Outcome) -> Forced {
    match outcome {
        Ok(_) => Forced::Renewed,
        Err(NotRenewed::Ended) => Forced::Ended,
        Err(NotRenewed::NotRenewable | NotRenewed::NotAsked { .. } | NotRenewed::Unavailable { .. }) => Forced::Failed,
    }
}

/// Seconds: a token that was asked for longer ago came of no renewal under way.
const FRESH: u64 = 30;
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Seconds between two renewals of one credential for no other reason than that an upstream refuses it.
pub const FORCED_EVERY: u64 = 30;
