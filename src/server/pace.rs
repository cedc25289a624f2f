//! The time limits of a connection: idle, a head that began, and an answer that nobody takes. Whoever polls it for them also
//! tells its stream when to write ([`Gather`]).
//!
//! hyper's own `header_read_timeout` counts from the end of the previous answer, so it cannot tell an idle connection
//! from a slow head, and it allocates a timer for each request. Here one timer per connection is looked at again when
//! it fires; a request that arrives in one piece never touches it.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::{Shutdown, gather::Gather};
use crate::config::Limits;

/// How long a connection may take to say goodbye once it was asked to.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a connection without a single byte may still bring its first request when the listener closes: it was
/// accepted from the backlog a moment ago, and its request is on the way.
pub(super) const FRESH: Duration = Duration::from_millis(500);

/// See [`Pace`].
const UNREAD: u64 = u64::MAX;

/// What is known of a connection's progress. Written and read on one thread; atomics only because tasks must be `Send`.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    idle_timeout: Duration,
    /// `None` for HTTP/2, where a head is not seen at this level.
    head_timeout: Option<Duration>,
    /// Requests whose answer has not ended.
    active: AtomicUsize,
    /// Moments in milliseconds after `start`, plus one; zero is "not". [`UNREAD`]: in this very poll of the connection, at
    /// whose end the clock is read if the moment still counts.
    idle_since: AtomicU64,
    head_since: AtomicU64,
    stalled_since: AtomicU64,
    /// HTTP/2 answers of which the client's window takes nothing more, and the last moment at which any was taken.
    untaken: AtomicUsize,
    untaken_since: AtomicU64,
    ending_since: AtomicU64,
    received: AtomicBool,
    gather: Gather,
}

impl Pace {
    pub(super) fn new(limits: &Limits, http1: bool) -> Arc<Self> {
        Arc::new(Pace {
            start: Instant::now(),
            idle_timeout: limits.idle_timeout,
            head_timeout: http1.then_some(limits.header_read_timeout),
            active: AtomicUsize::new(0),
            idle_since: AtomicU64::new(1),
            head_since: AtomicU64::new(0),
            stalled_since: AtomicU64::new(0),
            untaken: AtomicUsize::new(0),
            untaken_since: AtomicU64::new(0),
            ending_since: AtomicU64::new(0),
            received: AtomicBool::new(false),
            gather: Gather::default(),
        })
    }

    /// A request begins; it is active until the returned guard is dropped, at the end of its answer.
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Relaxed);
        self.head_since.store(0, Relaxed);
        Active { pace: self.clone(), untaken: false }
    }

    /// Polls the connection, whose writes wait for others.
    fn poll<F: Future>(&self, connection: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.gather.release() {
            self.gather.hold();
        }
        let polled = connection.poll(cx);
        if self.gather.holds() {
            cx.waker().wake_by_ref();
        } else {
            // What is written outside of a poll is no answer.
            self.gather.release();
        }
        polled
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn moment(&self, value: &AtomicU64) -> Option<Instant> {
        let value = value.load(Relaxed);
        (value != 0).then(|| self.start + Duration::from_millis(value - 1))
    }

    fn idle(&self) -> bool {
        self.active.load(Relaxed) == 0
    }

    fn fresh(&self) -> bool {
        !self.received.load(Relaxed)
    }

    fn has_read(&self) {
        self.received.store(true, Relaxed);
        // While a request is active, what arrives is its body, or pipelined.
        if self.head_timeout.is_some() && self.idle() && self.head_since.load(Relaxed) == 0 {
            self.head_since.store(UNREAD, Relaxed);
        }
    }

    fn becomes_idle(&self) {
        // HTTP/2 ends its answers in tasks of their own.
        let since = if self.head_timeout.is_some() { UNREAD } else { self.now() };
        self.idle_since.store(since, Relaxed);
    }

    /// Puts the time to what has happened in this poll. Most heads have come whole by now, so that theirs is not asked for.
    fn read_clock(&self) {
        let moments = [&self.idle_since, &self.head_since];
        if moments.iter().any(|moment| moment.load(Relaxed) == UNREAD) {
            let now = self.now();
            for moment in moments.into_iter().filter(|moment| moment.load(Relaxed) == UNREAD) {
                moment.store(now, Relaxed);
            }
        }
    }

    fn has_begun_head(&self) -> bool {
        self.head_since.load(Relaxed) != 0
    }

    fn has_written(&self) {
        self.stalled_since.store(0, Relaxed);
        // The end of an answer may still be in a buffer when its body has ended. HTTP/2 also writes pings, which are no
        // reason to keep a connection.
        if self.idle() && self.head_timeout.is_some() {
            self.becomes_idle();
        }
    }

    fn stalls(&self) {
        if self.stalled_since.load(Relaxed) == 0 {
            self.stalled_since.store(self.now(), Relaxed);
        }
    }

    fn ends(&self) {
        self.ending_since.store(self.now(), Relaxed);
    }

    /// When patience ends, as things stand.
    fn deadline(&self) -> Option<Instant> {
        let untaken = (self.untaken.load(Relaxed) > 0).then(|| self.moment(&self.untaken_since)).flatten();
        let stalled = self.moment(&self.stalled_since).into_iter().chain(untaken).min();
        let stalled = stalled.map(|since| since + self.idle_timeout);
        let idle = self.idle();
        if idle {
            self.read_clock();
        }
        let waiting = if !idle {
            None
        } else if let (Some(since), Some(timeout)) = (self.moment(&self.head_since), self.head_timeout) {
            Some(since + timeout)
        } else if let Some(since) = self.moment(&self.ending_since) {
            self.moment(&self.idle_since).map(|idle| idle.max(since) + FAREWELL)
        } else {
            self.moment(&self.idle_since).map(|since| since + self.idle_timeout)
        };
        match (stalled, waiting) {
            (Some(stalled), Some(waiting)) => Some(stalled.min(waiting)),
            (stalled, waiting) => stalled.or(waiting),
        }
    }

    /// Ready when a deadline has passed. The timer is moved only to come sooner; when it fires early it is set anew.
    fn poll_expired(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        // Polled again in a moment: what counts is what has been written then.
        if self.gather.holds() {
            return Poll::Pending;
        }
        let Some(deadline) = self.deadline() else {
            return Poll::Pending;
        };
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Active {
    pace: Arc<Pace>,
    untaken: bool,
}

impl Active {
    /// What is written from here on goes at once: hyper does not wait until the answer that changes protocols is written.
    pub(super) fn changes_protocol(&self) {
        self.pace.gather.end();
    }

    /// A part of the answer is there for the client to take. With HTTP/2, one that opens no window would otherwise hold
    /// the answer, and the upstream's connection behind it, for ever: pings keep its connection alive.
    pub(super) fn offers(&mut self) {
        if self.pace.head_timeout.is_none() && !self.untaken {
            self.untaken = true;
            self.pace.untaken.fetch_add(1, Relaxed);
            self.pace.untaken_since.store(self.pace.now(), Relaxed);
        }
    }

    /// The client took it.
    pub(super) fn taken(&mut self) {
        if self.untaken {
            self.untaken = false;
            self.pace.untaken.fetch_sub(1, Relaxed);
            self.pace.untaken_since.store(self.pace.now(), Relaxed);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.taken();
        if self.pace.active.fetch_sub(1, Relaxed) == 1 {
            self.pace.becomes_idle();
        }
    }
}

/// A hyper connection that can be asked to end after what it is doing.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    /// `Connection: close` on the next answer, or GOAWAY; an idle connection ends at once.
    fn end(self: Pin<&mut Self>);
}

/// Drives `connection` to its end, or drops it when its time is up. When the listeners close it is asked to end.
pub(super) async fn drive(connection: impl Graceful, pace: &Pace, shutdown: &Shutdown) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep_until(pace.start + pace.idle_timeout));
    let mut closing = pin!(shutdown.closing());
    let mut listens = false;
    // One task drives a connection all its life, so its waker needs to be left with `closing` only once, until the
    // first change of phase takes it from there.
    let mut closing = poll_fn(move |cx| {
        if listens && !shutdown.has_begun() {
            return Poll::Pending;
        }
        listens = true;
        closing.as_mut().poll(cx)
    });
    tokio::select! {
        // The connection first: the limits are judged by what it did in this very poll.
        biased;
        ended = poll_fn(|cx| pace.poll(connection.as_mut(), cx)) => return ended,
        () = poll_fn(|cx| pace.poll_expired(cx, timer.as_mut())) => {
            // A head or an answer that stands still is not worth a farewell.
            if !pace.idle() || pace.has_begun_head() {
                return Ok(());
            }
        }
        () = &mut closing => if pace.fresh() {
            let mut grace = pin!(sleep(FRESH));
            tokio::select! {
                biased;
                ended = poll_fn(|cx| pace.poll(connection.as_mut(), cx)) => return ended,
                () = poll_fn(|cx| if pace.fresh() { grace.as_mut().poll(cx) } else { Poll::Ready(()) }) => {}
            }
        }
    }
    pace.ends();
    connection.as_mut().end();
    tokio::select! {
        biased;
        ended = poll_fn(|cx| pace.poll(connection.as_mut(), cx)) => ended,
        () = poll_fn(|cx| pace.poll_expired(cx, timer.as_mut())) => Ok(()),
    }
}

/// A stream whose progress is noted, and which holds `guard` (the permit, the counts) for as long as it is open, also
/// after an upgrade.
pub(super) struct Paced<S, G> {
    stream: S,
    pace: Arc<Pace>,
    _guard: G,
}

impl<S, G> Paced<S, G> {
    pub(super) fn new(stream: S, pace: Arc<Pace>, guard: G) -> Self {
        Paced { stream, pace, _guard: guard }
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(_) => self.pace.has_written(),
            Poll::Pending => self.pace.stalls(),
        }
    }
}

impl<S: AsyncRead + Unpin, G: Unpin> AsyncRead for Paced<S, G> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.pace.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, G: Unpin> AsyncWrite for Paced<S, G> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.pace.gather.admits() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // TLS keeps records of its own that a slow reader leaves unsent.
        match flushed {
            Poll::Ready(_) => self.pace.stalled_since.store(0, Relaxed),
            Poll::Pending => self.pace.stalls(),
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.pace.gather.admits() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::{io::AsyncReadExt, time::advance};

    use super::*;

    fn limits() -> Limits {
        Limits {
            connections: 1,
            header_bytes: 8192,
            header_count: 10,
            header_read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            http2_streams: 1,
            http2_pending_resets: 1,
        }
    }

    async fn left(pace: &Pace) -> Option<u64> {
        pace.deadline().map(|deadline| (deadline - Instant::now()).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_and_a_begun_head_have_limits_of_their_own() {
        let pace = Pace::new(&limits(), true);
        assert_eq!(left(&pace).await, Some(75));
        advance(Duration::from_secs(60)).await;
        pace.has_read();
        assert_eq!(left(&pace).await, Some(10));
        advance(Duration::from_secs(5)).await;
        // More of the same head does not extend it.
        pace.has_read();
        assert_eq!(left(&pace).await, Some(5));
        let active = pace.begin();
        assert_eq!(left(&pace).await, None);
        pace.has_read();
        drop(active);
        assert_eq!(left(&pace).await, Some(75));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_runs_out_of_time() {
        let pace = Pace::new(&limits(), true);
        let _active = pace.begin();
        pace.stalls();
        advance(Duration::from_secs(70)).await;
        pace.stalls();
        assert_eq!(left(&pace).await, Some(5));
        pace.has_written();
        assert_eq!(left(&pace).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_asked_to_end_has_little_time_once_it_is_idle() {
        let pace = Pace::new(&limits(), false);
        let active = pace.begin();
        pace.ends();
        assert_eq!(left(&pace).await, None);
        advance(Duration::from_secs(60)).await;
        drop(active);
        assert_eq!(left(&pace).await, Some(5));
    }

    #[tokio::test]
    async fn an_answer_waits_until_others_had_their_turn_and_then_goes() {
        let pace = Pace::new(&limits(), true);
        let (here, mut there) = tokio::io::duplex(64);
        let mut stream = Paced::new(here, pace.clone(), ());
        let mut answering = pin!(poll_fn(|cx| {
            let _ = Pin::new(&mut stream).poll_write(cx, b"one")?;
            Pin::new(&mut stream).poll_write(cx, b"two").map_ok(drop)
        }));
        let mut read = [0; 8];
        let waker = futures_util::task::noop_waker();
        let mut cx = Context::from_waker(&waker);

        assert!(pace.poll(answering.as_mut(), &mut cx).is_pending());
        assert!(there.read(&mut read).now_or_never().is_none());
        // Nobody takes anything, which is not to be held against the client.
        assert_eq!(pace.stalled_since.load(Relaxed), 0);
        assert!(matches!(pace.poll(answering.as_mut(), &mut cx), Poll::Ready(Ok(()))));
        assert_eq!(there.read(&mut read).await.unwrap(), 6);
        assert_eq!(&read[..6], b"onetwo");
    }

    #[tokio::test]
    async fn who_changes_protocols_writes_at_once() {
        let pace = Pace::new(&limits(), true);
        let (here, mut there) = tokio::io::duplex(64);
        let mut stream = Paced::new(here, pace.clone(), ());
        pace.begin().changes_protocol();
        let answered = poll_fn(|cx| {
            let mut answering = pin!(poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, b"101")));
            Poll::Ready(pace.poll(answering.as_mut(), cx))
        });
        assert!(answered.await.is_ready());
        assert_eq!(there.read(&mut [0; 8]).await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_do_not_keep_an_http2_connection_without_requests() {
        let pace = Pace::new(&limits(), false);
        advance(Duration::from_secs(70)).await;
        pace.has_read();
        assert_eq!(left(&pace).await, Some(5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_is_set_anew_when_it_fires_too_early() {
        let pace = Pace::new(&limits(), true);
        let mut timer = pin!(sleep_until(pace.start + pace.idle_timeout));
        advance(Duration::from_secs(74)).await;
        drop(pace.begin());
        poll_fn(|cx| pace.poll_expired(cx, timer.as_mut())).await;
        assert_eq!(pace.start.elapsed().as_secs(), 149);
    }
}
