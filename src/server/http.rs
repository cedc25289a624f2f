//! HTTP/1.1 and HTTP/2 by hyper, under the limits of a listener.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Handler, Shutdown,
    cork::Cork,
    limits::head_limits,
    pace::{Active, Graceful, Pace, Paced, drive},
};
use crate::{
    config::Limits,
    model::{BoxError, Connection},
};

/// Bytes that hyper keeps per connection before it waits for the other side; also the least that HTTP/1.1 may have.
const BUFFER: usize = 64 * 1024;

/// What a client may send ahead on one stream: at 1 ms of round trip it fills 2 Gbit/s.
const STREAM_WINDOW: u32 = 256 * 1024;

/// What a client may send ahead on one connection: with the permits it bounds the memory of all of them.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Streams that we had to reset for the peer's errors before the connection is given up.
const LOCAL_RESETS: usize = 128;

/// How often an HTTP/2 peer is asked whether it is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Serves one connection to its end. `guard` lives as long as its stream, also after an upgrade.
pub(super) async fn serve<H, S, G>(
    stream: S,
    guard: G,
    version: Version,
    connection: Connection,
    limits: &Limits,
    handler: Arc<ArcSwap<H>>,
    shutdown: &Shutdown,
) -> hyper::Result<()>
where
    H: Handler,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    G: Unpin + Send + 'static,
{
    let pace = Pace::new(limits, version == Version::Http1);
    let stream = Paced::new(stream, pace.clone(), guard);
    let connection = Arc::new(connection);
    let answer = {
        let pace = pace.clone();
        move |request| answer(handler.load_full(), request, connection.clone(), pace.begin())
    };
    match version {
        Version::Http1 => {
            let io = TokioIo::new(stream);
            let served = http1_builder(limits).serve_connection(io, service_fn(answer)).with_upgrades();
            drive(served, &pace, shutdown).await
        }
        Version::Http2 => {
            // Boxed: hyper spawns a task for each, and its several KiB would be copied nine times on the way.
            let service = service_fn(move |request| Box::pin(answer(request)));
            let cork = Cork::new(stream);
            let corked = cork.share();
            let served = http2_builder(limits).serve_connection(TokioIo::new(cork), service);
            drive(corked.over(served), &pace, shutdown).await
        }
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let head = head_limits(limits);
    let mut builder = http1::Builder::new();
    // `pipeline_flush` stays off: it holds an answer back while a part of the next request has come.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None) // `pace` does it
        .keep_alive(true)
        .half_close(false)
        .auto_date_header(true)
        .max_headers(head.count)
        .max_header_size(head.bytes)
        .max_buf_size(BUFFER.max(head.bytes));
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams)
        .max_pending_accept_reset_streams(limits.http2_pending_resets)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .max_header_list_size(head_limits(limits).h2_list)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .auto_date_header(true);
    builder
}

/// One request; a panic below ends it, and not the connection or the worker.
///
/// The future is made by hand, so that it holds the request once: an `async fn` keeps its arguments as well.
#[expect(clippy::manual_async_fn, reason = "see above")]
fn answer<H: Handler>(
    handler: Arc<H>,
    request: Request<Incoming>,
    connection: Arc<Connection>,
    mut active: Active,
) -> impl Future<Output = Result<Response<Answer<H::Body>>, Infallible>> + Send {
    async move {
        // Beside what is caught, which is then small to hand on.
        let mut answered = None;
        let handled = async { answered = Some(handler.handle(request, &connection).await) };
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        active.offers();
        Ok(match (handled, answered) {
            (Ok(()), Some(response)) => {
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    active.changes_protocol();
                }
                response.map(|body| Answer { body: Some(body), active })
            }
            // The payload may hold what the client sent.
            _ => {
                tracing::error!(listener = &*connection.listener, "a request task panicked");
                let mut response = Response::new(Answer { body: None, active });
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        })
    }
}

pin_project! {
    /// A handler's body; the request counts as active until it is dropped.
    struct Answer<B> {
        #[pin]
        body: Option<B>,
        active: Active,
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        this.active.taken();
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(None) };
        let polled = body.poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            this.active.offers();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<I, B, S> Graceful for http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S, E> Graceful for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
