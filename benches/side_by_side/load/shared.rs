//! Connections that ask as fast as the answers come: the warm-up, the window, and what they share.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::{
    counts::{Counts, cpu_seconds},
    plan::Plan,
};

/// One thread, so cells do.
pub struct Shared {
    pub plan: Plan,
    /// One for each token, as HTTP/1.1.
    pub requests: Vec<Vec<u8>>,
    /// To ask.
    pub leave: Semaphore,
    next: Cell<usize>,
    done: Cell<u64>,
    /// Whether answers are counted now.
    open: Cell<bool>,
    over: Cell<bool>,
    counts: RefCell<Counts>,
}

impl Shared {
    pub fn over(&self) -> bool {
        self.over.get()
    }

    /// Whose turn it is: a place in `requests`, and in the tokens where there are any.
    pub fn turn(&self) -> usize {
        let turn = self.next.get();
        self.next.set((turn + self.plan.stride) % self.requests.len());
        turn
    }

    pub fn answered(&self, asked: Instant, status: u16) {
        self.done.set(self.done.get() + 1);
        self.count(|counts| counts.answered(asked.elapsed(), status, self.plan.expect));
    }

    /// Counts, while the window is open.
    pub fn count(&self, count: impl FnOnce(&mut Counts)) {
        if self.open.get() {
            count(&mut self.counts.borrow_mut());
        }
    }
}

/// Lets each connection `ask` until the window has closed; `ask` returns early where a connection breaks.
pub async fn run<F>(plan: Plan, ask: fn(Rc<Shared>) -> F) -> io::Result<serde_json::Value>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let requests = plan.requests();
    let shared = Rc::new(Shared {
        leave: Semaphore::new(plan.under_way),
        next: Cell::new(plan.from % requests.len()),
        requests,
        plan,
        done: Cell::new(0),
        open: Cell::new(false),
        over: Cell::new(false),
        counts: RefCell::default(),
    });
    let mut connections = JoinSet::new();
    for _ in 0..shared.plan.connections {
        connections.spawn_local(keep_asking(Rc::clone(&shared), ask));
    }
    let begun = Instant::now();
    while begun.elapsed() < shared.plan.warm_seconds || shared.done.get() < shared.plan.warm_requests {
        if begun.elapsed() > WARM_AT_MOST {
            return Err(io::Error::other("the warm-up does not end"));
        }
        sleep(TICK).await;
    }
    let cpu = cpu_seconds(&shared.plan.pids)?;
    shared.open.set(true);
    let opened = Instant::now();
    sleep(shared.plan.seconds).await;
    shared.open.set(false);
    let window = opened.elapsed();
    let cpu = cpu_seconds(&shared.plan.pids)? - cpu;
    shared.over.set(true);
    shared.counts.take().report(window, cpu)
}

async fn keep_asking<F>(shared: Rc<Shared>, ask: fn(Rc<Shared>) -> F)
where
    F: Future<Output = io::Result<()>>,
{
    while !shared.over() {
        if ask(Rc::clone(&shared)).await.is_err() {
            shared.count(|counts| counts.broken += 1);
            sleep(TICK).await;
        }
    }
}

const TICK: Duration = Duration::from_millis(5);
const WARM_AT_MOST: Duration = Duration::from_secs(120);
