//! A token that no key here judges: its issuer is asked, once for all who want to know the same.

#[cfg(test)]
pub(super) mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::StatusCode;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use super::{introspect::Introspector, probe::Prober};
use crate::{
    config::{self, Way},
    fetch::{Bounds, FetchError, Fetcher},
    jose::{Claims, JwtError},
    model::UnixTime,
    spans,
};

/// Asks one issuer about its tokens.
pub struct Asker {
    shared: Arc<Shared>,
    background: Handle,
}

/// What the issuer says of a token.
#[derive(Debug, Clone)]
pub enum Answer {
    Active(Arc<Claims>),
    Inactive,
    /// It is active, and not for us; the reason is one that a JWT would be refused for, too.
    Refused(JwtError),
}

/// Why there is no verdict: 503, never 401, and never remembered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("one address asks too much")]
    Limited,
    #[error("too many questions are open")]
    Saturated,
    #[error("{0}")]
    Unavailable(FetchError),
    #[error("the answer is not one ({0})")]
    Broken(&'static str),
    /// The fault is on our side: wrong credentials for the question, or no such page to ask.
    #[error("the issuer takes no such question from us ({0})")]
    Misconfigured(StatusCode),
}

pub(super) type Outcome = Result<Answer, AskError>;

struct Shared {
    issuer: config::Issuer,
    inquiry: config::Inquiry,
    question: Question,
    fetcher: Fetcher,
    permits: Arc<Semaphore>,
    flights: Mutex<HashMap<[u8; 16], watch::Receiver<Option<Outcome>>>>,
    /// The last flight failed; only the first failure of a row is logged.
    failing: AtomicBool,
}

/// How a token is put to the issuer.
enum Question {
    Introspection(Introspector),
    Probe(Prober),
}

impl Asker {
    /// For an issuer that can be asked; `None` for others. Flights run on `background`.
    pub fn new(issuer: &config::Issuer, background: Handle) -> Option<Asker> {
        let inquiry = issuer.inquiry.clone()?;
        let shared = Arc::new(Shared {
            question: match &inquiry.way {
                Way::Introspection(settings) => Question::Introspection(Introspector::new(settings, &issuer.issuer)),
                Way::Probe(settings) => Question::Probe(Prober::new(settings, &issuer.issuer)),
            },
            fetcher: Fetcher::new(issuer.ca_file.clone()),
            permits: Arc::new(Semaphore::new(inquiry.max_concurrent)),
            flights: Mutex::default(),
            failing: AtomicBool::new(false),
            issuer: issuer.clone(),
            inquiry,
        });
        Some(Asker { shared, background })
    }

    pub fn inquiry(&self) -> &config::Inquiry {
        &self.shared.inquiry
    }

    /// The stable word of `error` for logs and metrics.
    pub fn code(&self, error: &AskError) -> &'static str {
        match (&self.shared.question, error) {
            (Question::Introspection(_), AskError::Limited) => "introspection_limited",
            (Question::Introspection(_), AskError::Saturated) => "introspection_saturated",
            (Question::Introspection(_), AskError::Unavailable(_) | AskError::Broken(_)) => "introspection_unavailable",
            (Question::Introspection(_), AskError::Misconfigured(_)) => "introspection_misconfigured",
            (Question::Probe(_), AskError::Limited) => "probe_limited",
            (Question::Probe(_), AskError::Saturated) => "probe_saturated",
            (Question::Probe(_), AskError::Unavailable(_) | AskError::Broken(_)) => "probe_unavailable",
            (Question::Probe(_), AskError::Misconfigured(_)) => "probe_misconfigured",
        }
    }

    /// Asks about `token`, whose digest is `digest`; who asks about the same token meanwhile shares the answer.
    /// The times of an active token are held against `now`.
    ///
    /// # Errors
    /// If the issuer gives no usable answer within the configured time, or too many questions are open.
    /// `joined` is called where somebody else has begun to ask.
    pub async fn ask(&self, token: &str, digest: [u8; 16], now: UnixTime, joined: impl FnOnce()) -> Outcome {
        let mut landed = self.board(token, digest, joined)?;
        let outcome = match landed.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        match outcome.unwrap_or(Err(AskError::Broken("the question was dropped")))? {
            Answer::Active(claims) => match claims.check_times(now, self.shared.issuer.leeway) {
                Ok(()) => Ok(Answer::Active(claims)),
                Err(refusal) => Ok(Answer::Refused(refusal)),
            },
            other => Ok(other),
        }
    }

    /// Joins the flight of `digest`, or starts it.
    fn board(
        &self,
        token: &str,
        digest: [u8; 16],
        joined: impl FnOnce(),
    ) -> Result<watch::Receiver<Option<Outcome>>, AskError> {
        let (permit, landing, flight) = {
            let mut flights = self.shared.flights();
            if let Some(flight) = flights.get(&digest) {
                joined();
                return Ok(flight.clone());
            }
            let permits = Arc::clone(&self.shared.permits);
            let permit = permits.try_acquire_owned().map_err(|_| AskError::Saturated)?;
            let (landing, flight) = watch::channel(None);
            flights.insert(digest, flight.clone());
            (permit, landing, flight)
        };
        // Without the lock: a runtime that shuts down drops the flight here, which then takes the lock itself.
        let flying = Flying { shared: Arc::clone(&self.shared), digest, landing, permit: Some(permit) };
        // Detached: the answer is wanted by the others when the first who asked has hung up.
        self.background.spawn(spans::carried(flying.run(token.to_owned())));
        Ok(flight)
    }
}

/// A question under way. However it ends, its place is free again.
struct Flying {
    shared: Arc<Shared>,
    digest: [u8; 16],
    landing: watch::Sender<Option<Outcome>>,
    /// Taken when the question leaves the list of those that can be joined.
    permit: Option<OwnedSemaphorePermit>,
}

impl Flying {
    async fn run(mut self, token: String) {
        let outcome = self.shared.ask(&token).await;
        self.shared.note(&outcome);
        // First: who comes after the answer must not join it, since a failure is shared but never remembered.
        self.leave();
        self.landing.send_replace(Some(outcome));
    }

    fn leave(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.shared.flights().remove(&self.digest);
            drop(permit);
        }
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Shared {
    async fn ask(&self, token: &str) -> Outcome {
        let bounds = Bounds { timeout: self.inquiry.timeout, bytes: ANSWER_BYTES };
        match &self.question {
            Question::Introspection(introspector) => introspector.ask(&self.fetcher, token, bounds).await,
            Question::Probe(prober) => prober.ask(&self.fetcher, token, bounds).await,
        }
    }

    fn note(&self, outcome: &Outcome) {
        let failed_before = self.failing.swap(outcome.is_err(), Ordering::Relaxed);
        let (issuer, way) = (&self.issuer.name, self.inquiry.way.word());
        match outcome {
            Err(error @ AskError::Misconfigured(_)) if !failed_before => {
                tracing::error!(%issuer, way, %error, "the issuer cannot be asked as it is configured");
            }
            Err(error) if !failed_before => tracing::warn!(%issuer, way, %error, "the issuer gives no verdicts"),
            Ok(_) if failed_before => tracing::info!(%issuer, way, "the issuer gives verdicts again"),
            Ok(_) | Err(_) => {}
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<[u8; 16], watch::Receiver<Option<Outcome>>>> {
        // Insertion and removal are whole by themselves.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of an answer.
const ANSWER_BYTES: usize = 64 * 1024;
