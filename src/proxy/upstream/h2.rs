//! One HTTP/2 connection to the upstream, shared by the requests of a worker.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, Instant},
};

use super::{
    error::UpstreamError,
    exchange::{Exchange, Phase},
    h1::{LINGER, Lost, lost},
    request_body::RequestBody,
    stats::{Open, Stats},
    timer::Timer,
    wait::Patience,
};

/// A connection in the pool.
pub(super) struct Connection {
    sender: http2::SendRequest<RequestBody>,
    born: Instant,
    load: Arc<Load>,
    /// The last moment at which it was seen with a stream.
    used: Instant,
}

struct Load {
    streams: AtomicUsize,
    /// What the upstream allows at once.
    limit: AtomicUsize,
}

/// The right to one stream, and the timer of its exchange.
pub(super) struct Stream {
    sender: http2::SendRequest<RequestBody>,
    load: Arc<Load>,
    timer: Timer,
}

impl Connection {
    /// Starts HTTP/2 on a fresh socket; a task of its own drives it until it closes.
    pub(super) async fn open<IO>(io: IO, stats: &Arc<Stats>) -> Result<Connection, UpstreamError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_header_list_size(MAX_HEADERS)
            .handshake(TokioIo::new(io))
            .await
            .map_err(UpstreamError::from_exchange)?;
        let load = Arc::new(Load {
            streams: AtomicUsize::new(0),
            limit: AtomicUsize::new(connection.current_max_send_streams()),
        });
        let open = Open::new(stats);
        let seen = Arc::clone(&load);
        tokio::spawn(async move {
            poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                seen.limit.store(connection.current_max_send_streams(), Relaxed);
                polled.map(drop)
            })
            .await;
            drop(open);
        });
        let now = Instant::now();
        Ok(Connection { sender, born: now, load, used: now })
    }

    /// One more stream, if there is room for it.
    pub(super) fn stream(&mut self, now: Instant) -> Option<Stream> {
        if self.load.streams.load(Relaxed) >= self.load.limit.load(Relaxed) {
            return None;
        }
        Some(self.first_stream(now))
    }

    /// The stream that the connection was opened for, whatever the upstream will allow.
    pub(super) fn first_stream(&mut self, now: Instant) -> Stream {
        self.load.streams.fetch_add(1, Relaxed);
        self.used = now;
        Stream { sender: self.sender.clone(), load: Arc::clone(&self.load), timer: Timer::default() }
    }

    /// False for one that is closed or old; streams under way on it come to their end.
    pub(super) fn is_usable(&self, now: Instant, max_age: Duration) -> bool {
        !self.sender.is_closed() && (max_age.is_zero() || now.saturating_duration_since(self.born) < max_age)
    }

    /// Whether it has been without streams for `idle`.
    pub(super) fn is_idle(&mut self, now: Instant, idle: Duration) -> bool {
        if self.load.streams.load(Relaxed) > 0 {
            self.used = now;
        }
        now.saturating_duration_since(self.used) >= idle
    }

    pub(super) fn has_streams(&self) -> bool {
        self.load.streams.load(Relaxed) > 0
    }
}

impl Stream {
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

    /// The response has ended; an upload that goes on has a while to end as well.
    pub(super) fn linger(self, exchange: Option<Arc<Exchange>>, patience: Duration) {
        let Some(exchange) = exchange.filter(|exchange| exchange.phase() != Phase::Done) else {
            return;
        };
        let longest = if patience.is_zero() { LINGER } else { patience.min(LINGER) };
        tokio::spawn(async move {
            tokio::time::sleep(longest).await;
            exchange.cancel();
            drop(self);
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.load.streams.fetch_sub(1, Relaxed);
    }
}

/// What one stream, and one connection, may have sent beyond what clients have taken; bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// The longest head of a response, bytes.
const MAX_HEADERS: u32 = 64 * 1024;
/// A connection with streams on which nothing comes is asked for a sign of life, and given up without one.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
