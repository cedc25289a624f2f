//! Renewal at the authority outside: when, and how, so that no session is lost.

mod flight;
mod flights;
mod timing;

use std::sync::Arc;

pub use self::timing::{Timing, timing};
use self::{flight::Flight, flights::Flights};
use crate::{
    authority::remote::Remote,
    config,
    session::{Session, SessionId, Sessions},
};

/// Renews what the authority outside gave, of one generation of the configuration.
pub struct Renewals {
    sessions: Arc<Sessions>,
    remote: Arc<Remote>,
    settings: config::Refresh,
    flights: Arc<Flights>,
}

/// Why a renewal is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The token is over, or will be soon.
    ByTime,
    /// A client refreshes with this generation of its own refresh token: the authority must still agree.
    ByClient { presented: u64 },
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
    /// Nobody knows: authority or store are away, slow or at odds with us. The session lives.
    #[error("the authority's tokens cannot be renewed now: {cause}")]
    Unavailable {
        /// Seconds after which another try is worth it, where somebody said so.
        retry_after: Option<u64>,
        /// For the log; no secret.
        cause: String,
    },
}

impl Renewals {
    /// Flights of `old` are joined by those who come here.
    pub fn new(
        sessions: Arc<Sessions>,
        remote: Arc<Remote>,
        settings: config::Refresh,
        old: Option<&Renewals>,
    ) -> Renewals {
        let flights = old.map_or_else(Arc::default, |old| old.flights.clone());
        Renewals { sessions, remote, settings, flights }
    }

    /// Who is asked.
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    pub fn settings(&self) -> &config::Refresh {
        &self.settings
    }

    /// Sessions that are being renewed.
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// Renews what session `id` holds, or joins who does; bounded by the configured wait. The renewal itself goes on,
    /// whoever waits for it.
    ///
    /// # Errors
    /// Why there is nothing newer.
    pub async fn renew(&self, id: SessionId, wanted: Wanted) -> Outcome {
        let mut landed = self.start(id, wanted);
        let outcome = tokio::time::timeout(self.settings.wait, landed.wait_for(Option::is_some)).await;
        let unavailable = |cause: &str| NotRenewed::Unavailable { retry_after: None, cause: cause.to_owned() };
        match outcome {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(unavailable("no outcome"))),
            Ok(Err(_)) => Err(unavailable("the renewal was cut short")),
            Err(_) => Err(unavailable("the renewal takes too long")),
        }
    }

    /// The same beside a request that does not wait for it.
    pub fn renew_beside(&self, id: SessionId, wanted: Wanted) {
        drop(self.start(id, wanted));
    }

    fn start(&self, id: SessionId, wanted: Wanted) -> tokio::sync::watch::Receiver<Option<Outcome>> {
        let flight = Flight {
            sessions: self.sessions.clone(),
            remote: self.remote.clone(),
            settings: self.settings,
            id,
            wanted,
        };
        self.flights.board(id, self.sessions.background(), flight.fly())
    }
}
