//! A response's body on its way to the client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use super::{
    super::{GRPC_STATUS, life::Life},
    error::BodyError,
    exchange::{Exchange, Phase},
    h1, h2,
    stats::Stats,
    timer::{Timer, after},
};
use crate::telemetry::metrics::StreamMetrics;

/// What the client receives: an answer of our own, or the upstream's as it comes.
///
/// An upstream connection goes back to its pool when the body has ended, and is closed when the body is dropped
/// before.
pub struct ResponseBody(Kind);

enum Kind {
    Own(Full<Bytes>),
    Upstream(Streamed),
}

impl ResponseBody {
    pub(super) fn upstream(streamed: Streamed) -> Self {
        ResponseBody(Kind::Upstream(streamed))
    }

    /// Breaks off with `life`, if it goes on until then.
    pub fn bind(&mut self, life: Life) {
        if let Kind::Upstream(body) = &mut self.0 {
            body.bound = Bound::Waiting { life: Box::new(life), frames: 0 };
        }
    }

    /// Counts it as the answer of a gRPC service once it has ended.
    pub fn count_grpc(&mut self, streams: Arc<StreamMetrics>) {
        if let Kind::Upstream(body) = &mut self.0 {
            body.grpc = Some(streams);
        }
    }
}

impl Default for ResponseBody {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        ResponseBody(Kind::Own(Full::new(bytes)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Kind::Upstream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(body) => body.is_end_stream(),
            Kind::Upstream(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(body) => body.size_hint(),
            Kind::Upstream(body) => body.incoming.size_hint(),
        }
    }
}

/// What carries the body; given back or given up with it.
pub(super) enum Carrier {
    H1(Box<h1::Connection>),
    H2(Box<h2::Stream>),
}

impl Carrier {
    fn timer(&mut self) -> &mut Timer {
        match self {
            Carrier::H1(connection) => connection.timer(),
            Carrier::H2(stream) => stream.timer(),
        }
    }
}

/// The upstream's body.
pub(super) struct Streamed {
    incoming: Incoming,
    /// `None` once the end was seen.
    carrier: Option<Carrier>,
    exchange: Option<Arc<Exchange>>,
    stats: Arc<Stats>,
    idle: Duration,
    /// Since when the upstream owes a frame; a client that does not read is not held against the upstream.
    waiting_since: Option<Instant>,
    bound: Bound,
    /// Where its trailers are to be counted.
    grpc: Option<Arc<StreamMetrics>>,
    /// It has broken off, and the client is to have what came before that.
    broken: Option<hyper::Error>,
}

/// What a body must not outlive.
enum Bound {
    Free,
    /// Not looked at yet: most bodies end before anything could happen, and cost nothing.
    Waiting {
        life: Box<Life>,
        frames: u8,
    },
    Watched(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Bound {
    /// Ready once the body must end. To be asked whenever it goes on.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Bound::Waiting { life, .. } = self {
            *self = Bound::Watched(Box::pin(Life::clone(life).over()));
        }
        match self {
            Bound::Watched(over) => over.as_mut().poll(cx),
            Bound::Free | Bound::Waiting { .. } => Poll::Pending,
        }
    }

    /// The same before a frame is asked for: a body that never makes anybody wait is watched after a few.
    fn poll_over_at_once(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Bound::Free => Poll::Pending,
            Bound::Waiting { frames, .. } if *frames < UNWATCHED_FRAMES => {
                *frames += 1;
                Poll::Pending
            }
            Bound::Waiting { .. } | Bound::Watched(_) => self.poll_over(cx),
        }
    }
}

/// Frames that pass before a body that is bound is watched.
const UNWATCHED_FRAMES: u8 = 8;

impl Streamed {
    pub(super) fn new(
        incoming: Incoming,
        carrier: Carrier,
        exchange: Option<Arc<Exchange>>,
        stats: Arc<Stats>,
        idle: Duration,
    ) -> Self {
        Streamed {
            incoming,
            carrier: Some(carrier),
            exchange,
            stats,
            idle,
            waiting_since: None,
            bound: Bound::Free,
            grpc: None,
            broken: None,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.bound.poll_over_at_once(cx).is_ready() {
            return Poll::Ready(Some(Err(self.outlived())));
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(BodyError::Broken(error))));
        }
        let polled = match &mut self.carrier {
            Some(Carrier::H1(connection)) => connection.poll_frame(&mut self.incoming, cx),
            Some(Carrier::H2(_)) | None => Pin::new(&mut self.incoming).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting_since = None;
                if let Some(trailers) = frame.trailers_ref() {
                    if let Some(grpc) = self.grpc.take() {
                        grpc.grpc_ended(trailers.get(GRPC_STATUS));
                    }
                    self.ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                // Later: at an error the server throws away what it has not sent yet, be it the head.
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.ended();
                Poll::Ready(None)
            }
            Poll::Pending if self.bound.poll_over(cx).is_ready() => Poll::Ready(Some(Err(self.outlived()))),
            Poll::Pending => self.poll_idle(cx).map(|()| Some(Err(BodyError::Idle))),
        }
    }

    fn outlived(&mut self) -> BodyError {
        self.bound = Bound::Free;
        BodyError::Outlived(::h2::Reason::CANCEL.into())
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let Some(carrier) = &mut self.carrier else {
            return Poll::Pending;
        };
        loop {
            // A byte in the other direction keeps the exchange alive as well.
            let last = self.exchange.as_ref().map_or(since, |exchange| exchange.last().max(since));
            let Some(deadline) = after(last, self.idle) else {
                return Poll::Pending;
            };
            std::task::ready!(carrier.timer().poll_until(cx, deadline));
            if self.exchange.as_ref().is_none_or(|exchange| exchange.last() <= last) {
                return Poll::Ready(());
            }
        }
    }

    fn ended(&mut self) {
        match self.carrier.take() {
            Some(Carrier::H1(connection)) => connection.give_back(self.exchange.take(), self.idle),
            Some(Carrier::H2(stream)) => stream.linger(self.exchange.take(), self.idle),
            None => {}
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if let Some(grpc) = &self.grpc {
            grpc.grpc_ended(None);
        }
        // hyper does not poll a body of known length beyond its last byte.
        if self.incoming.is_end_stream() {
            self.ended();
        }
        if self.carrier.is_some() {
            self.stats.broken();
        }
        if let Some(exchange) = &self.exchange
            && exchange.phase() != Phase::Done
        {
            // The upload must not outlive the exchange.
            exchange.cancel();
        }
    }
}
