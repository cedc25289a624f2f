//! Why a request was not forwarded. `gate::problem` turns each into its answer.

use std::time::Duration;

use http::HeaderName;

use super::{
    headers::HostError, limits::HeadTooLarge, path::PathError, question::QuestionError, routes::RouteError,
    upstream::UpstreamError,
};
use crate::{
    auth::{Refusal, profile::MintFailed},
    telemetry::reason::Reason,
};

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error(transparent)]
    Head(#[from] HeadTooLarge),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Route(#[from] RouteError),
    /// With the scope that the route asks for, and whether it takes HTTP Basic, for the challenge.
    #[error("refused: {}", .refusal.code)]
    Refused { refusal: Refusal, scope: Option<String>, basic: bool },
    #[error("too many requests")]
    RateLimited { retry_after: Duration },
    #[error("the body is longer than the route allows")]
    BodyTooLarge,
    /// At a decision listener: what is asked about cannot be told.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// At a decision listener: the proxy would pass it on, and nobody could tell that a client wrote it.
    #[error("the header {0} is one that a client could forge, and the proxy that asks was not told to remove it")]
    Forged(HeaderName),
    /// At a decision listener: a preflight that would be answered here, which the proxy would forward instead.
    #[error("a preflight that sidegate would answer itself, and the proxy that asks would forward")]
    PreflightNotAnswered,
    /// At a decision listener: what is served here is for listeners that forward.
    #[error("a path of sidegate's own, which is not served to a proxy that asks")]
    OwnPath,
    #[error(transparent)]
    Credential(#[from] MintFailed),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl ProxyError {
    /// The decision that the error means, where it is one.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            ProxyError::Refused { refusal, .. } => Some(refusal.reason),
            ProxyError::RateLimited { .. } => Some(Reason::RateLimited),
            ProxyError::Head(_)
            | ProxyError::Host(_)
            | ProxyError::Path(_)
            | ProxyError::Route(_)
            | ProxyError::BodyTooLarge
            | ProxyError::Question(_)
            | ProxyError::Forged(_)
            | ProxyError::PreflightNotAnswered
            | ProxyError::OwnPath
            | ProxyError::Credential(_)
            | ProxyError::Upstream(_) => None,
        }
    }

    /// The inside of the error, for the log: never anything that a client sent.
    pub fn cause(&self) -> String {
        self.to_string()
    }
}
