//! What the streams of an HTTP/2 connection have to say, said in one write.
//!
//! `h2` writes each frame of data by itself, and flushes behind it: a system call and a TLS record for each answer, however
//! many are ready. Here they are put together, and go when the connection was polled to the end.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pace::Graceful;

/// A stream whose writes wait for [`Corked`].
///
/// Shared with that on one thread; a lock only because tasks must be `Send`.
pub(super) struct Cork<S>(Arc<Mutex<Bottle<S>>>);

struct Bottle<S> {
    stream: S,
    waiting: BytesMut,
    /// Why something could not be written, until the connection hears of it.
    failed: Option<io::Error>,
}

pin_project! {
    /// A connection over a [`Cork`]: what it has written goes at the end of each poll.
    pub(super) struct Corked<C, S> {
        #[pin]
        connection: C,
        cork: Cork<S>,
    }
}

impl<S> Cork<S> {
    pub(super) fn new(stream: S) -> Self {
        Cork(Arc::new(Mutex::new(Bottle { stream, waiting: BytesMut::new(), failed: None })))
    }

    /// The same stream.
    pub(super) fn share(&self) -> Self {
        Cork(self.0.clone())
    }

    /// `connection`, which writes to this stream.
    pub(super) fn over<C>(self, connection: C) -> Corked<C, S> {
        Corked { connection, cork: self }
    }

    fn lock(&self) -> MutexGuard<'_, Bottle<S>> {
        // No step leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Bottle<S> {
    /// Room for `length` bytes that wait; `None`: they are too many, and go right away behind those that wait.
    fn poll_room(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<Option<&mut BytesMut>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.waiting.len() + length > MOST {
            ready!(self.poll_pour(cx))?;
        }
        if length > MOST {
            return Poll::Ready(Ok(None));
        }
        if self.waiting.capacity() == 0 {
            self.waiting.reserve(MOST);
        }
        Poll::Ready(Ok(Some(&mut self.waiting)))
    }

    /// Writes what waits.
    fn poll_pour(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(written);
        }
        // A connection that has nothing to say holds no memory for it.
        self.waiting = BytesMut::new();
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<C: Future, S: AsyncWrite + Unpin> Future for Corked<C, S> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.project();
        let polled = this.connection.poll(cx);
        let mut bottle = this.cork.lock();
        if !bottle.waiting.is_empty()
            && let Poll::Ready(Err(error)) = bottle.poll_pour(cx)
        {
            bottle.waiting.clear();
            bottle.failed = Some(error);
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl<C: Graceful, S: AsyncWrite + Unpin> Graceful for Corked<C, S> {
    fn end(self: Pin<&mut Self>) {
        self.project().connection.end();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cork<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cork<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut bottle = self.lock();
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if let Some(room) = ready!(bottle.poll_room(cx, length))? {
            bufs.iter().for_each(|buf| room.extend_from_slice(buf));
            return Poll::Ready(Ok(length));
        }
        Pin::new(&mut bottle.stream).poll_write_vectored(cx, bufs)
    }

    /// What waits goes at the end of the poll that this is part of.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bottle = self.lock();
        match bottle.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None if bottle.waiting.is_empty() => Pin::new(&mut bottle.stream).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bottle = self.lock();
        if !bottle.waiting.is_empty() {
            ready!(bottle.poll_pour(cx))?;
        }
        Pin::new(&mut bottle.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// What waits at the most, bytes: one TLS record (RFC 8446, section 5.1).
const MOST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use bytes::Bytes;
    use futures_util::{FutureExt, task::noop_waker_ref};
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// What a connection does that writes `all`, one after the other, each flushed.
    fn saying(mut stream: Cork<DuplexStream>, all: Vec<Vec<u8>>) -> impl Future<Output = io::Result<()>> {
        let mut written = (0, 0);
        poll_fn(move |cx| {
            while let Some(buf) = all.get(written.0) {
                if written.1 < buf.len() {
                    written.1 += ready!(Pin::new(&mut stream).poll_write(cx, &buf[written.1..]))?;
                    continue;
                }
                ready!(Pin::new(&mut stream).poll_flush(cx))?;
                written = (written.0 + 1, 0);
            }
            Poll::Ready(Ok(()))
        })
    }

    #[test]
    fn what_was_written_in_one_poll_goes_at_its_end() {
        let (here, mut there) = duplex(64);
        let cork = Cork::new(here);
        let connection = cork.share();
        let (mut cx, mut read) = (Context::from_waker(noop_waker_ref()), [0; 16]);
        let mut saying = pin!(cork.over(poll_fn(|cx| {
            let mut said = pin!(saying(connection.share(), vec![b"one".to_vec(), b"two".to_vec()]));
            assert!(said.as_mut().poll(cx).is_ready());
            assert!(there.read(&mut read).now_or_never().is_none());
            Poll::<()>::Pending
        })));
        assert!(saying.as_mut().poll(&mut cx).is_pending());
        assert_eq!(there.read(&mut read).now_or_never().unwrap().unwrap(), 6);
        assert_eq!(&read[..6], b"onetwo");
    }

    /// Counts the writes that reach it.
    struct Counted(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counted {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Relaxed);
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn the_answers_of_eight_streams_go_in_one_write() {
        let (here, there) = duplex(1 << 20);
        let writes = Arc::new(AtomicUsize::new(0));
        let cork = Cork::new(Counted(here, writes.clone()));
        let corked = cork.share();
        let (client, server) = tokio::join!(h2::client::handshake(there), h2::server::Builder::new().handshake(cork));
        let ((mut send, client), mut server) = (client.unwrap(), server.unwrap());
        tokio::spawn(client);
        let answers: Vec<_> = (0..8).map(|_| send.send_request(http::Request::new(()), true).unwrap().0).collect();
        let mut asked = Vec::new();
        while asked.len() < answers.len() {
            asked.push(server.accept().await.unwrap().unwrap().1);
        }
        for mut respond in asked {
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(&[b'x'; 1024]), true).unwrap();
        }
        let before = writes.load(Relaxed);
        let mut serving = pin!(corked.over(poll_fn(|cx| server.poll_closed(cx))));
        assert!(serving.as_mut().now_or_never().is_none());
        assert_eq!(writes.load(Relaxed), before + 1);
        for answer in answers {
            let mut body = answer.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap().len(), 1024);
        }
    }

    #[tokio::test]
    async fn what_still_waits_goes_before_the_end() {
        let (here, mut there) = duplex(64);
        let mut cork = Cork::new(here);
        cork.write_all(b"goodbye").await.unwrap();
        cork.shutdown().await.unwrap();
        let mut all = Vec::new();
        there.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"goodbye");
    }

    #[tokio::test]
    async fn a_connection_hears_that_its_stream_is_gone() {
        let (here, there) = duplex(64);
        drop(there);
        let cork = Cork::new(here);
        let mut stream = cork.share();
        let mut written = false;
        let connection = poll_fn(move |cx| {
            if !std::mem::replace(&mut written, true) {
                assert!(matches!(Pin::new(&mut stream).poll_write(cx, b"lost"), Poll::Ready(Ok(4))));
                return Poll::Pending;
            }
            Pin::new(&mut stream).poll_flush(cx)
        });
        assert_eq!(cork.over(connection).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_is_written_arrives_in_order(
            lengths in prop::collection::vec(prop_oneof![0usize..64, 900usize..1100, 0usize..2 * MOST + 1], 0..24),
            room in prop_oneof![1usize..9, Just(1024), Just(1 << 20)],
        ) {
            let mut count = 0u32..;
            let mut bytes = |length| -> Vec<u8> { count.by_ref().take(length).map(|number| (number % 251) as u8).collect() };
            let all: Vec<_> = lengths.into_iter().map(&mut bytes).collect();
            let wanted = all.concat();
            let (here, mut there) = duplex(room);
            let cork = Cork::new(here);
            let said = saying(cork.share(), all);
            let mut got = Vec::new();
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
                let over = async {
                    let mut stream = cork.share();
                    cork.over(said).await.unwrap();
                    stream.shutdown().await.unwrap();
                };
                tokio::join!(over, async { there.read_to_end(&mut got).await.unwrap() });
            });
            prop_assert!(got == wanted);
        }
    }
}
