//! What keeps an HTTP/1.1 connection going.
//!
//! hyper's connection is a future that somebody has to poll. A task for each would cost every request two changes of
//! tasks and the wake-ups between them, so whoever waits for the answer polls the connection as well. It wakes through a
//! [`Wakes`] of its own: that tells whether there is anything to do, and whom to call.
//!
//! Where an answer and an upload go on side by side, or after an upgrade, a task takes the connection over for good: the
//! one must not wait for somebody to take the other.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

use super::stats::Open;

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Driver {
    /// `None` once it has ended.
    connection: Option<(Connection, Open)>,
    wakes: Arc<Wakes>,
    /// That of `wakes`.
    waker: Waker,
    /// Nothing is under way on it.
    rests: bool,
}

/// Who is to be called when the connection can go on.
struct Wakes {
    /// It has not been polled since.
    due: AtomicBool,
    /// Somebody is at it, and looks at `due` again before he leaves.
    attended: AtomicBool,
    who: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.due.store(true, SeqCst);
        if !self.attended.load(SeqCst) {
            self.who.wake();
        }
    }
}

impl Driver {
    /// `open` counts it for as long as it lives.
    pub(super) fn new(connection: impl Future<Output = ()> + Send + 'static, open: Open) -> Driver {
        let wakes =
            Arc::new(Wakes { due: AtomicBool::new(true), attended: AtomicBool::new(true), who: AtomicWaker::new() });
        let waker = Waker::from(wakes.clone());
        Driver { connection: Some((Box::pin(connection), open)), wakes, waker, rests: false }
    }

    /// From now on somebody polls, or is about to.
    pub(super) fn attend(&mut self) {
        self.rests = false;
        self.wakes.attended.store(true, SeqCst);
    }

    /// Nothing is under way from here on. `waker` is called when something happens all the same.
    pub(super) fn rest(&mut self, waker: &Waker) {
        self.rests = true;
        self.leave_to(waker);
    }

    /// Whether it can go on.
    pub(super) fn is_due(&self) -> bool {
        self.wakes.due.load(SeqCst)
    }

    /// What it was woken for is nothing to it.
    pub(super) fn overhear(&mut self) {
        self.wakes.due.store(false, SeqCst);
    }

    /// Polls the connection if it can go on, and `wanted`, which comes by way of the connection alone and so need not
    /// wake anybody by itself. Pending, the task of `cx` is woken.
    pub(super) fn poll_for<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.attend();
        for _ in 0..ROUNDS {
            self.advance();
            let polled = wanted(&mut Context::from_waker(Waker::noop()));
            if polled.is_ready() {
                return polled;
            }
            if self.is_left_to(cx.waker()) {
                return Poll::Pending;
            }
        }
        // Others have their turn: what a connection waits for may be its share of time.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls as long as there is something to do. Whoever `waker` calls is to poll next.
    fn leave_to(&mut self, waker: &Waker) {
        self.wakes.attended.store(true, SeqCst);
        for _ in 0..ROUNDS {
            self.advance();
            if self.is_left_to(waker) {
                return;
            }
        }
        waker.wake_by_ref();
    }

    /// Whoever `waker` calls is to poll next. `false`: there is something to do right away.
    fn is_left_to(&self, waker: &Waker) -> bool {
        self.wakes.who.register(waker);
        self.wakes.attended.store(false, SeqCst);
        let is_due = self.wakes.due.load(SeqCst);
        if is_due {
            self.wakes.attended.store(true, SeqCst);
        }
        !is_due
    }

    /// Polls the connection if it can go on.
    pub(super) fn advance(&mut self) {
        if !self.wakes.due.swap(false, SeqCst) {
            return;
        }
        let Some((connection, _)) = &mut self.connection else { return };
        if connection.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.connection = None;
        }
    }

    /// A task drives it to its end.
    pub(super) fn detach(mut self) {
        if self.connection.is_none() {
            return;
        }
        tokio::spawn(async move {
            std::future::poll_fn(|cx| {
                self.leave_to(cx.waker());
                if self.connection.is_some() { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        });
    }
}

impl Drop for Driver {
    /// What rests has lost its sender a moment ago: polled once more, it says goodbye, which TLS wants.
    fn drop(&mut self) {
        if self.rests {
            self.advance();
        }
    }
}

/// How often a connection is polled before others have their turn.
const ROUNDS: usize = 4;
