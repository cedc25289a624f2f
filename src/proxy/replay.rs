//! An upstream says 401 to a credential that is ours to renew: that is done once, and the request is sent once more.
//!
//! A 401 says that the request was not processed for want of a good credential, so it may be sent again whatever its method
//! is. A gRPC status in a 200 (16, UNAUTHENTICATED) says nothing of the kind, and is left to the client.

use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use tokio::time::Instant;

use super::{
    Proxy, ProxyError, Seen, admit, told,
    upstream::{Answer, RequestBody, ResponseBody, UpstreamError},
};
use crate::{
    auth::{
        Principal,
        another::{NoOther, Shown},
    },
    body::collect,
    config::Route,
    model::Context,
    spans,
    telemetry::metrics::{Replay, RouteReplays},
};

/// A request that was forwarded.
pub(super) struct Forwarded<'a> {
    pub route: &'a Route,
    pub principal: &'a Principal,
    pub shown: &'a Shown,
    pub replays: &'a RouteReplays,
}

impl Proxy {
    /// What becomes of a request that was answered with a 401: the answer to its repetition, or that `answer` as it came.
    ///
    /// # Errors
    /// If the session has ended over it, or the repetition was not answered.
    pub(super) async fn replay(
        &self,
        answer: Answer,
        forwarded: Forwarded<'_>,
        cx: &Context,
        seen: &mut Seen,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let Forwarded { route, principal, shown, replays } = forwarded;
        let request = match answer.again {
            Some(again) => again.into_request().await,
            None => None,
        };
        // The upstream may have taken its time.
        let now = self.lives.time.now();
        let Some(mut request) = request else {
            replays.came_to(Replay::NotKept);
            self.auth.another_beside(principal, route.upstream, shown, route.min_life, now);
            return Ok(answer.response);
        };
        match self.auth.another(principal, route.upstream, shown, route.min_life, now).await {
            Ok(authorization) => request.headers_mut().insert(header::AUTHORIZATION, authorization),
            Err(why) => {
                replays.came_to(Replay::NotRenewed);
                return match why {
                    NoOther::None => Ok(answer.response),
                    // Its challenge is for a token that the client never had; ours is for the one that it has.
                    NoOther::Over(refusal) => Err(admit::refused(refusal, None, route)),
                };
            }
        };
        discard(answer.response);
        seen.replayed = true;
        let sent = self.send_again(request, route, cx, seen).await;
        replays.came_to(match &sent {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED => Replay::Refused,
            Ok(_) => Replay::Accepted,
            Err(_) => Replay::Failed,
        });
        Ok(sent?)
    }

    async fn send_again(
        &self,
        mut request: Request<RequestBody>,
        route: &Route,
        cx: &Context,
        seen: &mut Seen,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        let sent = Instant::now();
        let upstream = &self.upstreams[route.upstream];
        let method = request.method().clone();
        let span = spans::sending(request.headers_mut(), &method, || {
            let mut attributes = told::of(upstream.settings());
            attributes.push(("http.request.resend_count", 1_i64.into()));
            attributes
        });
        let answer = upstream.send(cx.connection.worker, request, &route.timeouts, None, sent).await;
        self.note_upstream(route.upstream, &answer, sent, seen);
        span.end(answer.as_ref().map(|answer| answer.response.status()).map_err(UpstreamError::code));
        answer.map(|answer| answer.response)
    }
}

/// Reads what nobody wants, so that its connection can go on.
fn discard(response: Response<ResponseBody>) {
    let mut reading = Box::pin(tokio::time::timeout(PATIENCE, collect(response.into_body(), LONGEST)));
    // Most have come whole with their head.
    if reading.as_mut().now_or_never().is_none() {
        tokio::spawn(reading);
    }
}

/// What is read of an answer that nobody wants: beyond it, a new connection is cheaper.
const LONGEST: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);
