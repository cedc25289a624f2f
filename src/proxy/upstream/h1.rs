//! One HTTP/1.1 connection to the upstream.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, Weak},
    task::Poll,
};

use http::{Request, Response};
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
    error::UpstreamError,
    exchange::{Exchange, Phase},
    request_body::RequestBody,
    stats::{Open, Stats},
    timer::Timer,
    wait::Patience,
};

/// A connection that carries one exchange at a time. Dropped before the end of one, it is closed.
pub(super) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    born: Instant,
    timer: Timer,
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

impl Connection {
    /// Starts HTTP/1.1 on a fresh socket; a task of its own drives it until it closes.
    pub(super) async fn open<IO>(
        io: IO,
        home: &Arc<Shared>,
        worker: usize,
        stats: &Arc<Stats>,
    ) -> Result<Connection, UpstreamError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(io))
            .await
            .map_err(UpstreamError::from_exchange)?;
        let open = Open::new(stats);
        tokio::spawn(async move {
            // What goes wrong is told to the exchange that it goes wrong for.
            let _ = connection.with_upgrades().await;
            drop(open);
        });
        Ok(Connection { sender, born: Instant::now(), timer: Timer::default(), home: Arc::downgrade(home), worker })
    }

    /// Sends `request` and waits for the head of the response.
    pub(super) fn exchange(
        &mut self,
        request: Request<RequestBody>,
        patience: &Patience,
    ) -> impl Future<Output = Result<Response<Incoming>, Lost>> + Send {
        let mut response = Box::pin(self.sender.try_send_request(request));
        let timer = &mut self.timer;
        poll_fn(move |cx| match response.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(lost(error))),
            Poll::Pending => patience.poll_lost(timer, cx).map(|error| Err(Lost::Timeout(error))),
        })
    }

    pub(super) fn timer(&mut self) -> &mut Timer {
        &mut self.timer
    }

    pub(super) fn is_usable(&self, now: Instant, max_age: Duration) -> bool {
        !self.sender.is_closed() && (max_age.is_zero() || now.saturating_duration_since(self.born) < max_age)
    }

    /// Puts the connection back into its pool, once the request's body has ended as well.
    pub(super) fn give_back(self, exchange: Option<Arc<Exchange>>, patience: Duration) {
        if self.sender.is_closed() {
            return;
        }
        if self.sender.is_ready() {
            if let Some(home) = self.home.upgrade() {
                home.put(self.worker, self);
            }
            return;
        }
        if let Some(exchange) = exchange.as_ref().filter(|exchange| exchange.phase() == Phase::Held) {
            // Refused before the body was asked for: the client keeps it, and the connection cannot go on without.
            return exchange.cancel();
        }
        // The upstream answered in full while the client is still sending.
        tokio::spawn(self.linger(exchange, patience));
    }

    async fn linger(mut self, exchange: Option<Arc<Exchange>>, patience: Duration) {
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
/// How long an upload may go on after the response has ended, at the most.
pub(super) const LINGER: Duration = Duration::from_secs(30);
