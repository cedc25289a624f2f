//! Streams that outlive their token: what they must not outlive.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body as _;

use super::upstream::ResponseBody;
use crate::{
    auth::Principal,
    config::{OnExpiry, Route},
    model::Time,
    session::Sessions,
    telemetry::metrics::{Closed, StreamMetrics},
};

/// What streams are held against: shared by all of one generation.
pub(super) struct Lives {
    pub time: Time,
    /// Where there is an authority of our own.
    pub sessions: Option<Arc<Sessions>>,
}

/// How long the stream of one principal may go on.
#[derive(Clone)]
pub struct Life {
    principal: Principal,
    route: Arc<str>,
    streams: Arc<StreamMetrics>,
    at_expiry: bool,
    lives: Arc<Lives>,
}

impl Life {
    /// What binds `response` to `principal`, if it may go on beyond the token. What is answered in one piece never does,
    /// so that it carries nothing of this.
    pub(super) fn of(
        response: &Response<ResponseBody>,
        principal: Option<Principal>,
        route: &Route,
        streams: &Arc<StreamMetrics>,
        lives: &Arc<Lives>,
    ) -> Option<Life> {
        let principal = principal?;
        let at_expiry = match route.on_expiry {
            OnExpiry::Keep => return None,
            OnExpiry::CloseAtExpiry => true,
            OnExpiry::CloseWhenSessionEnds => false,
        };
        if !may_last(response) {
            return None;
        }
        let (route, streams) = (route.name.clone(), streams.clone());
        Some(Life { principal, route, streams, at_expiry, lives: lives.clone() })
    }

    /// Returns once the stream must end, and says so to the log and the metrics.
    pub async fn over(self) {
        let over = self.watch().await;
        self.streams.closed(over);
        let session = self.principal.verdict().session.as_ref().map(|session| session.id().to_string());
        tracing::info!(route = &*self.route, reason = over.as_str(), session, "a stream was closed");
    }

    /// Nothing polls: the session and the key wake who waits, and so does the clock.
    async fn watch(&self) -> Closed {
        let verdict = self.principal.verdict();
        let expired = async {
            if !self.at_expiry {
                std::future::pending::<()>().await;
            }
            self.lives.time.sleep_until(verdict.valid_until).await;
        };
        let ended = async {
            match (&verdict.session, &self.lives.sessions, &verdict.liveness) {
                // A key of our own that has served its time is retired, and its sessions go on.
                (Some(watched), Some(sessions), _) => {
                    sessions.over(watched, verdict.valid_until, &self.lives.time).await;
                    Closed::SessionEnded
                }
                (_, _, Some(key)) => {
                    key.ended().await;
                    Closed::KeyGone
                }
                // Its issuer alone knows.
                (_, _, None) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            over = ended => over,
            () = expired => Closed::TokenExpired,
        }
    }
}

/// A tunnel, or a body that does not say where it ends.
fn may_last(response: &Response<ResponseBody>) -> bool {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return true;
    }
    !response.body().is_end_stream()
        && (!response.headers().contains_key(header::CONTENT_LENGTH) || is_streamed(response.headers()))
}

fn is_streamed(headers: &HeaderMap) -> bool {
    is_a(headers, b"text/event-stream") || is_grpc(headers)
}

/// The answer of a gRPC service, in whatever format its messages are.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    is_a(headers, b"application/grpc")
}

fn is_a(headers: &HeaderMap, start: &[u8]) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    kind.get(..start.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(start))
}
