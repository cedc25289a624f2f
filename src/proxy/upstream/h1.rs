//! One HTTP/1.1 connection to the upstream.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, Instant},
};

use super::{
    Shared,
    driver::Driver,
    error::UpstreamError,
    exchange::{Exchange, Phase},
    request_body::RequestBody,
    stats::{Open, Stats},
    timer::Timer,
    wait::Patience,
};

/// A connection that carries one exchange at a time. Dropped before the end of one, it is closed.
pub(super) struct Connection {
    /// Before `driver`, which looks at what becomes of the connection when that is gone.
    sender: http1::SendRequest<RequestBody>,
    /// `None` where a task of its own drives it.
    driver: Option<Driver>,
    born: Instant,
    timer: Timer,
    /// Room for the copy of a head that is about to be sent.
    copy: Vec<u8>,
    /// Weak: a configuration that was replaced takes its idle connections with it.
    home: Weak<Shared>,
    worker: usize,
}

/// Why no response came on a connection.
pub(super) enum Lost {
    /// Not a byte went out; here is the request again.
    Unsent(Box<Request<RequestBody>>, hyper::Error),
    /// Some of it may have been read there.
    Sent(hyper::Error),
    /// We gave up.
    Timeout(UpstreamError),
}

/// The response to come.
pub(super) type Response1 =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + Send>>;

impl Connection {
    /// Starts HTTP/1.1 on a fresh socket.
    pub(super) async fn open<IO>(
        io: IO,
        home: &Arc<Shared>,
        worker: usize,
        stats: &Arc<Stats>,
    ) -> Result<Box<Connection>, UpstreamError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(io))
            .await
            .map_err(UpstreamError::from_exchange)?;
        let driven = async move {
            // What goes wrong is told to the exchange that it goes wrong for.
            let _ = connection.with_upgrades().await;
        };
        Ok(Box::new(Connection {
            sender,
            driver: Some(Driver::new(driven, Open::new(stats))),
            born: Instant::now(),
            timer: Timer::default(),
            copy: Vec::new(),
            home: Arc::downgrade(home),
            worker,
        }))
    }

    /// Hands `request` over: it goes when the response is first asked for.
    pub(super) fn begin(&mut self, request: Request<RequestBody>) -> Response1 {
        if let Some(driver) = &mut self.driver {
            driver.attend();
        }
        Box::pin(self.sender.try_send_request(request))
    }

    /// Waits for the head of the response.
    pub(super) fn poll_response(
        &mut self,
        response: &mut Response1,
        patience: &Patience,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Incoming>, Lost>> {
        let polled = match &mut self.driver {
            Some(driver) => driver.poll_for(cx, |cx| response.as_mut().poll(cx)),
            None => response.as_mut().poll(cx),
        };
        match polled {
            Poll::Ready(answered) => Poll::Ready(answered.map_err(lost)),
            Poll::Pending => patience.poll_lost(&mut self.timer, cx).map(|error| Err(Lost::Timeout(error))),
        }
    }

    /// The next frame of the response's `body`.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(driver) = &mut self.driver else { return Pin::new(body).poll_frame(cx) };
        // Often it has come with the head.
        let was_due = driver.is_due();
        let polled = Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            return driver.poll_for(cx, |cx| Pin::new(&mut *body).poll_frame(cx));
        }
        // All of it was there, and the connection waits for the next request: that somebody took it is no news.
        if !was_due && body.is_end_stream() && self.sender.is_ready() {
            driver.overhear();
        }
        polled
    }

    /// From here on the connection goes on by itself: an upload does beside the response, or what is no HTTP.
    pub(super) fn detach(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.detach();
        }
    }

    /// Whether it is open, after a look at what the upstream has done in the meantime.
    pub(super) fn is_open(&mut self) -> bool {
        if let Some(driver) = &mut self.driver {
            driver.advance();
        }
        !self.sender.is_closed()
    }

    /// The same, and `waker` is called when there is more.
    pub(super) fn rest(&mut self, waker: &Waker) -> bool {
        if let Some(driver) = &mut self.driver {
            driver.rest(waker);
        }
        !self.sender.is_closed()
    }

    /// Room for a copy of the head; to be returned to [`Connection::keep_room`].
    pub(super) fn room(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.copy)
    }

    pub(super) fn keep_room(&mut self, room: Vec<u8>) {
        if room.capacity() <= LARGEST_COPY {
            self.copy = room;
        }
    }

    pub(super) fn timer(&mut self) -> &mut Timer {
        &mut self.timer
    }

    pub(super) fn is_usable(&self, now: Instant, max_age: Duration) -> bool {
        !self.sender.is_closed() && (max_age.is_zero() || now.saturating_duration_since(self.born) < max_age)
    }

    /// Puts the connection back into its pool, once the request's body has ended as well.
    pub(super) fn give_back(mut self: Box<Self>, exchange: Option<Arc<Exchange>>, patience: Duration) {
        if let Some(driver) = &mut self.driver {
            driver.advance();
        }
        if self.sender.is_closed() {
            return;
        }
        if self.sender.is_ready() {
            if let Some(home) = self.home.upgrade() {
                home.put(self.worker, self);
            }
            return;
        }
        self.detach();
        if let Some(exchange) = exchange.as_ref().filter(|exchange| exchange.phase() == Phase::Held) {
            // Refused before the body was asked for: the client keeps it, and the connection cannot go on without.
            return exchange.cancel();
        }
        // The upstream answered in full while the client is still sending.
        tokio::spawn(self.linger(exchange, patience));
    }

    async fn linger(mut self: Box<Self>, exchange: Option<Arc<Exchange>>, patience: Duration) {
        let longest = if patience.is_zero() { LINGER } else { patience.min(LINGER) };
        match tokio::time::timeout(longest, self.sender.ready()).await {
            Ok(Ok(())) => {
                if let Some(home) = self.home.upgrade() {
                    home.put(self.worker, self);
                }
            }
            Ok(Err(_)) => {}
            Err(_) => {
                if let Some(exchange) = exchange {
                    exchange.cancel();
                }
            }
        }
    }
}

pub(super) fn lost(mut error: TrySendError<Request<RequestBody>>) -> Lost {
    match error.take_message() {
        Some(request) => Lost::Unsent(Box::new(request), error.into_error()),
        None => Lost::Sent(error.into_error()),
    }
}

/// The most that is read ahead of a client, and the longest head of a response, in bytes.
const MAX_BUFFER: usize = 64 * 1024;
/// A copy of a head that was longer leaves no room behind, bytes.
const LARGEST_COPY: usize = 4 * 1024;
/// How long an upload may go on after the response has ended, at the most.
pub(super) const LINGER: Duration = Duration::from_secs(30);
