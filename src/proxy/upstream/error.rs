//! Why a request could not be carried to the upstream and back.

use std::{io, path::PathBuf};

use http::StatusCode;

/// Why no response came. None of the texts holds anything that a client sent.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Nobody listens: the application is starting or stopping.
    #[error("the upstream refuses connections: {0}")]
    Unavailable(#[source] io::Error),
    #[error("the upstream's name cannot be resolved: {0}")]
    Resolve(#[source] io::Error),
    #[error("the upstream cannot be reached: {0}")]
    Connect(#[source] io::Error),
    #[error("no connection to the upstream within the time allowed")]
    ConnectTimeout,
    #[error("TLS with the upstream failed: {0}")]
    Tls(#[source] io::Error),
    #[error("the upstream did not choose HTTP/2 by ALPN; set `protocol: http1` or switch HTTP/2 on there")]
    Alpn,
    #[error("the upstream closed the connection before it answered: {0}")]
    Closed(#[source] hyper::Error),
    #[error("the upstream does not speak HTTP as expected: {0}")]
    Protocol(#[source] hyper::Error),
    #[error("the upstream switched protocols without being asked")]
    UnexpectedUpgrade,
    #[error("the upstream did not begin its answer within the time allowed")]
    FirstByteTimeout,
    #[error("the upstream stopped taking the request's body")]
    IdleTimeout,
    #[error("the request's body is longer than the route allows")]
    BodyTooLarge,
    #[error("the client broke off its request's body")]
    RequestBody,
    #[error("the client stopped sending its request's body")]
    RequestBodyTimeout,
    #[error("Host is no authority")]
    InvalidHost,
    #[error("CONNECT is not forwarded")]
    ConnectMethod,
}

impl UpstreamError {
    /// Every code, in the order of [`UpstreamError::index`].
    pub const CODES: [&str; 16] = [
        "upstream_unavailable",
        "upstream_unresolved",
        "upstream_unreachable",
        "upstream_connect_timeout",
        "upstream_tls",
        "upstream_alpn",
        "upstream_closed",
        "upstream_protocol",
        "upstream_unexpected_upgrade",
        "upstream_first_byte_timeout",
        "upstream_idle_timeout",
        "body_too_large",
        "body_broken",
        "body_timeout",
        "invalid_host",
        "connect_not_forwarded",
    ];

    /// A stable name for bodies, logs and labels.
    pub fn code(&self) -> &'static str {
        Self::CODES[self.index()]
    }

    /// The status that the client receives. 503 goes with `Retry-After`.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Resolve(_)
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Alpn
            | Self::Closed(_)
            | Self::Protocol(_)
            | Self::UnexpectedUpgrade => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::FirstByteTimeout | Self::IdleTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestBodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RequestBody | Self::InvalidHost => StatusCode::BAD_REQUEST,
            Self::ConnectMethod => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// The place in [`UpstreamError::CODES`].
    pub(super) fn index(&self) -> usize {
        match self {
            Self::Unavailable(_) => 0,
            Self::Resolve(_) => 1,
            Self::Connect(_) => 2,
            Self::ConnectTimeout => 3,
            Self::Tls(_) => 4,
            Self::Alpn => 5,
            Self::Closed(_) => 6,
            Self::Protocol(_) => 7,
            Self::UnexpectedUpgrade => 8,
            Self::FirstByteTimeout => 9,
            Self::IdleTimeout => 10,
            Self::BodyTooLarge => 11,
            Self::RequestBody => 12,
            Self::RequestBodyTimeout => 13,
            Self::InvalidHost => 14,
            Self::ConnectMethod => 15,
        }
    }

    /// What an error of hyper means once the head was handed over.
    pub(super) fn from_exchange(error: hyper::Error) -> Self {
        if error.is_parse() { Self::Protocol(error) } else { Self::Closed(error) }
    }
}

/// Why a body ended before its end; the connection that it went out on is closed with it.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the upstream broke off its answer: {0}")]
    Broken(#[source] hyper::Error),
    #[error("the upstream sent nothing for too long")]
    Idle,
    #[error("the request's body is longer than the route allows")]
    TooLarge,
    #[error("the client broke off its request's body: {0}")]
    Client(#[source] hyper::Error),
    #[error("the exchange is over")]
    Cancelled,
    /// The cause has HTTP/2 reset the stream with CANCEL, as somebody who hangs up would.
    #[error("the stream has outlived its token")]
    Outlived(#[source] h2::Error),
}

/// Why an upstream cannot be set up: found while the configuration is applied, before anything is bound.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamSetupError {
    #[error("{path}: {reason}", path = .path.display())]
    File { path: PathBuf, reason: String },
    #[error("the system's certificate authorities: {0}")]
    SystemRoots(String),
    #[error("{0:?} is no name that a certificate could carry")]
    ServerName(String),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}
