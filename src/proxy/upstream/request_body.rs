//! A request's body on its way to the upstream.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::{
    error::BodyError,
    exchange::{Exchange, Failure, Phase},
    kept::{Keeping, Kept},
};

/// Says which trailers of a request may go on; those that a header must not carry must not come this way either.
pub type TrailerFilter = Arc<dyn Fn(&HeaderName) -> bool + Send + Sync>;

/// The body of a forwarded request: nothing, bytes at hand, or what the client sends, under a limit.
///
/// Nothing is held back: a frame is asked of the client when the upstream can take it. The client's
/// `Expect: 100-continue` is answered by hyper when the first frame is asked for, which is when the upstream has
/// said 100 itself, or has let a second pass (see [`super::Upstream::send`]).
pub struct RequestBody(Kind);

/// A request is moved a dozen times on its way to hyper's connection, and most have no body: what one takes is elsewhere.
enum Kind {
    Whole(Option<Bytes>),
    Streamed(Box<Streamed>),
    Kept(Box<Again>),
}

/// What was kept of a streamed body.
#[derive(Clone)]
struct Again {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    announced: bool,
}

struct Streamed {
    incoming: Incoming,
    exchange: Arc<Exchange>,
    left: u64,
    trailers: Option<TrailerFilter>,
    keeping: Option<Keeping>,
}

impl RequestBody {
    pub fn empty() -> Self {
        RequestBody(Kind::Whole(None))
    }

    /// Bytes that are at hand, and so can be sent again.
    pub fn full(bytes: Bytes) -> Self {
        RequestBody(Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// The client's body, `limit` bytes at the most. `trailers` decides which trailers go on; `None`: all.
    ///
    /// A `Content-Length` beyond the limit is better refused before: the upstream then receives nothing at all.
    pub fn streamed(incoming: Incoming, limit: Option<u64>, trailers: Option<TrailerFilter>) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let exchange = Arc::new(Exchange::new());
        let left = limit.unwrap_or(u64::MAX);
        RequestBody(Kind::Streamed(Box::new(Streamed { incoming, exchange, left, trailers, keeping: None })))
    }

    /// What was kept of a streamed one.
    pub(super) fn kept(kept: Kept) -> Self {
        let data = Some(kept.data).filter(|data| !data.is_empty());
        RequestBody(Kind::Kept(Box::new(Again { data, trailers: kept.trailers, announced: kept.announced })))
    }

    /// Has what the client sends be kept on its way, `most` bytes at the most; it is whole where the receiver has it.
    /// `None`: it does not come from the client, or is known to be longer.
    pub(super) fn keep(&mut self, most: usize) -> Option<oneshot::Receiver<Kept>> {
        let Kind::Streamed(body) = &mut self.0 else { return None };
        let length = body.incoming.size_hint();
        if most == 0 || length.lower() > most as u64 {
            return None;
        }
        let (keeping, kept) = Keeping::new(most, length.exact().is_some());
        body.keeping = Some(keeping);
        Some(kept)
    }

    pub(super) fn exchange(&self) -> Option<&Arc<Exchange>> {
        match &self.0 {
            Kind::Whole(_) | Kind::Kept(_) => None,
            Kind::Streamed(body) => Some(&body.exchange),
        }
    }

    /// The same body again, if that can be had.
    pub(super) fn again(&self) -> Option<Self> {
        match &self.0 {
            Kind::Whole(bytes) => Some(RequestBody(Kind::Whole(bytes.clone()))),
            Kind::Kept(body) => Some(RequestBody(Kind::Kept(body.clone()))),
            Kind::Streamed(_) => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Streamed(body) => body.poll_frame(cx),
            Kind::Kept(body) => {
                let trailers = &mut body.trailers;
                let frame = body.data.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Streamed(body) => body.incoming.is_end_stream(),
            // One that came in chunks goes in chunks, also if there are none.
            Kind::Kept(body) => body.announced && body.data.is_none() && body.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Streamed(body) => body.incoming.size_hint(),
            Kind::Kept(body) if body.announced => {
                SizeHint::with_exact(body.data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Kind::Kept(_) => SizeHint::default(),
        }
    }
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.exchange.failure() == Failure::Cancelled {
            return Poll::Ready(Some(Err(BodyError::Cancelled)));
        }
        if self.exchange.phase() == Phase::Held {
            self.exchange.register(cx);
            return Poll::Pending;
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.pass(frame))),
            Poll::Ready(Some(Err(error))) => {
                self.exchange.fail(Failure::Client);
                Poll::Ready(Some(Err(BodyError::Client(error))))
            }
            Poll::Ready(None) => {
                self.done(None);
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.exchange.set_phase(Phase::AwaitingClient);
                self.exchange.register(cx);
                Poll::Pending
            }
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        if let Some(data) = frame.data_ref() {
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                self.exchange.fail(Failure::TooLarge);
                return Err(BodyError::TooLarge);
            };
            self.left = left;
            if !self.keeping.as_mut().is_none_or(|keeping| keeping.add(data)) {
                self.keeping = None;
            }
            if self.incoming.is_end_stream() {
                self.done(None);
            } else {
                self.exchange.progress(Phase::Sending);
            }
            return Ok(frame);
        }
        let trailers = match frame.into_trailers() {
            Ok(trailers) => trailers,
            Err(frame) => return Ok(frame),
        };
        let trailers = match &self.trailers {
            Some(keep) => filtered(trailers, keep),
            None => trailers,
        };
        self.done(Some(&trailers));
        Ok(Frame::trailers(trailers))
    }

    fn done(&mut self, trailers: Option<&HeaderMap>) {
        self.exchange.progress(Phase::Done);
        if let Some(keeping) = self.keeping.take() {
            keeping.end(trailers.cloned());
        }
    }
}

fn filtered(mut trailers: HeaderMap, keep: &TrailerFilter) -> HeaderMap {
    let forbidden: Vec<HeaderName> = trailers.keys().filter(|name| !keep(name)).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_small_to_move() {
        assert!(size_of::<RequestBody>() <= 40, "{}", size_of::<RequestBody>());
    }
}
