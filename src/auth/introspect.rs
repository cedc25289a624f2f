//! Opaque foreign tokens: the issuer is asked (RFC 7662), once for all who want to know the same.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::StatusCode;
use serde_json::Value;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{
    config,
    fetch::{Bounds, ClientAuth, FetchError, Fetcher},
    jose::{Claims, JwtError},
    json,
    model::UnixTime,
};

/// Asks one issuer about its opaque tokens.
pub struct Introspector {
    shared: Arc<Shared>,
    background: Handle,
}

/// What the issuer says of a token.
#[derive(Debug, Clone)]
pub enum Introspection {
    Active(Arc<Claims>),
    Inactive,
    /// It is active, and not for us; the reason is one that a JWT would be refused for, too.
    Refused(JwtError),
}

/// Why there is no verdict: 503, never 401, and never remembered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntrospectError {
    #[error("too many tokens are being introspected")]
    Saturated,
    #[error("introspection: {0}")]
    Unavailable(FetchError),
    #[error("introspection: the answer is not one ({0})")]
    Broken(&'static str),
    /// The issuer refuses our own credentials.
    #[error("introspection: the endpoint refuses this client ({0})")]
    Misconfigured(StatusCode),
}

impl IntrospectError {
    /// The stable word for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            IntrospectError::Saturated => "introspection_saturated",
            IntrospectError::Unavailable(_) | IntrospectError::Broken(_) => "introspection_unavailable",
            IntrospectError::Misconfigured(_) => "introspection_misconfigured",
        }
    }
}

type Outcome = Result<Introspection, IntrospectError>;

struct Shared {
    issuer: config::Issuer,
    config: config::Introspection,
    auth: ClientAuth,
    fetcher: Fetcher,
    permits: Arc<Semaphore>,
    flights: Mutex<HashMap<[u8; 16], watch::Receiver<Option<Outcome>>>>,
    /// The last flight failed; only the first failure of a row is logged.
    failing: AtomicBool,
}

impl Introspector {
    /// For an issuer that has introspection; `None` for others. Flights run on `background`.
    pub fn new(issuer: &config::Issuer, background: Handle) -> Option<Introspector> {
        let config = issuer.introspection.clone()?;
        let shared = Arc::new(Shared {
            auth: ClientAuth::basic(&config.client_id, &config.client_secret),
            fetcher: Fetcher::new(issuer.ca_file.clone()),
            permits: Arc::new(Semaphore::new(config.max_concurrent)),
            flights: Mutex::default(),
            failing: AtomicBool::new(false),
            issuer: issuer.clone(),
            config,
        });
        Some(Introspector { shared, background })
    }

    /// Asks about `token`, whose digest is `digest`; who asks about the same token meanwhile shares the answer.
    /// The times of an active token are held against `now`.
    ///
    /// # Errors
    /// If the issuer gives no usable answer within the configured time, or too many questions are open.
    pub async fn introspect(&self, token: &str, digest: [u8; 16], now: UnixTime) -> Outcome {
        let mut landed = self.board(token, digest)?;
        let outcome = match landed.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        match outcome.unwrap_or(Err(IntrospectError::Broken("the question was dropped")))? {
            Introspection::Active(claims) => match claims.check_times(now, self.shared.issuer.leeway) {
                Ok(()) => Ok(Introspection::Active(claims)),
                Err(refusal) => Ok(Introspection::Refused(refusal)),
            },
            other => Ok(other),
        }
    }

    /// Joins the flight of `digest`, or starts it.
    fn board(&self, token: &str, digest: [u8; 16]) -> Result<watch::Receiver<Option<Outcome>>, IntrospectError> {
        let (permit, landing, flight) = {
            let mut flights = self.shared.flights();
            if let Some(flight) = flights.get(&digest) {
                return Ok(flight.clone());
            }
            let permits = Arc::clone(&self.shared.permits);
            let permit = permits.try_acquire_owned().map_err(|_| IntrospectError::Saturated)?;
            let (landing, flight) = watch::channel(None);
            flights.insert(digest, flight.clone());
            (permit, landing, flight)
        };
        // Without the lock: a runtime that shuts down drops the flight here, which then takes the lock itself.
        let flying = Flying { shared: Arc::clone(&self.shared), digest, landing, permit: Some(permit) };
        // Detached: the answer is wanted by the others when the first who asked has hung up.
        self.background.spawn(flying.run(token.to_owned()));
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
        let form = [("token", token), ("token_type_hint", "access_token")];
        let bounds = Bounds { timeout: self.config.timeout, bytes: ANSWER_BYTES };
        match self.fetcher.post_form(&self.config.endpoint, &self.auth, &form, bounds).await {
            Ok(answer) => read(&answer, &self.issuer.issuer),
            Err(FetchError::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))) => {
                Err(IntrospectError::Misconfigured(status))
            }
            Err(error) => Err(IntrospectError::Unavailable(error)),
        }
    }

    fn note(&self, outcome: &Outcome) {
        let failed_before = self.failing.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(error @ IntrospectError::Misconfigured(_)) if !failed_before => {
                tracing::error!(issuer = %self.issuer.name, %error, "the issuer refuses to introspect for us");
            }
            Err(error) if !failed_before => {
                tracing::warn!(issuer = %self.issuer.name, %error, "the issuer does not introspect");
            }
            Ok(_) if failed_before => tracing::info!(issuer = %self.issuer.name, "the issuer introspects again"),
            Ok(_) | Err(_) => {}
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<[u8; 16], watch::Receiver<Option<Outcome>>>> {
        // Insertion and removal are whole by themselves.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads an answer (RFC 7662 section 2.2). One with a wrong type says nothing of the token, so it is no refusal.
fn read(answer: &[u8], issuer: &str) -> Outcome {
    let members = json::object(answer).map_err(|_| IntrospectError::Broken("not a strict JSON object"))?;
    match members.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Introspection::Inactive),
        _ => return Err(IntrospectError::Broken("`active` is not a boolean")),
    }
    for name in ["scope", "token_type", "token_use"] {
        if members.get(name).is_some_and(|value| !value.is_string()) {
            return Err(IntrospectError::Broken("a member of a wrong type"));
        }
    }
    let claims = match Claims::read(members) {
        Ok(claims) => claims,
        Err(JwtError::Bound) => return Ok(Introspection::Refused(JwtError::Bound)),
        Err(_) => return Err(IntrospectError::Broken("a member of a wrong type")),
    };
    if claims.issuer().is_some_and(|named| named != issuer) {
        return Ok(Introspection::Refused(JwtError::WrongIssuer));
    }
    // A refresh token is active, too.
    let is_one_of = |name: &str, accepted: [&str; 2]| {
        claims.text(name).is_none_or(|value| accepted.iter().any(|word| word.eq_ignore_ascii_case(value)))
    };
    if !is_one_of("token_type", ["Bearer", "access_token"]) || !is_one_of("token_use", ["access", "access_token"]) {
        return Ok(Introspection::Refused(JwtError::TypeNotAccepted));
    }
    Ok(Introspection::Active(Arc::new(claims)))
}

/// Bytes of an answer.
const ANSWER_BYTES: usize = 64 * 1024;
