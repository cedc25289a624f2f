//! The connections to one server, or to whichever server is the master: taken in turn, each made anew when it breaks.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{Cmd, Value, aio::PubSubStream};
use tokio::{
    sync::watch,
    time::{Instant as Deadline, sleep, timeout, timeout_at},
};

use super::{
    trouble::{Trouble, shown},
    wire::{Greeting, Open, Way},
};
use crate::{
    backoff::{between, chance},
    config::RedisAddress,
};

/// Where a server is.
#[derive(Debug, Clone)]
pub(super) enum Whereabouts {
    At(RedisAddress),
    /// Wherever these sentinels say.
    Master {
        sentinels: Vec<RedisAddress>,
        name: String,
    },
}

pub(super) struct Server {
    way: Arc<Way>,
    whereabouts: Whereabouts,
    seats: Box<[Mutex<Seat>]>,
    turn: AtomicUsize,
    /// Tells those who wait for a connection that something has changed.
    changes: watch::Sender<()>,
    /// Since when there has been none.
    away: Mutex<Option<Instant>>,
    looked_at: AtomicBool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How {
    /// Although the slot of the key is still another server's.
    pub beforehand: bool,
    /// On a connection that was made after this if there is to be one: when one breaks, the others of that time have broken
    /// as well, only nobody may have noticed.
    pub after: Option<Instant>,
}

/// One of the connections. No lock is held while anything is waited for: a task of its own connects.
#[derive(Default)]
struct Seat {
    state: State,
    /// In a row: attempts that failed, and connections that were of no use for long.
    failures: u32,
}

#[derive(Default)]
enum State {
    /// Nobody has asked for it.
    #[default]
    Unused,
    /// Being connected for the first time, or since it broke: worth waiting for.
    Opening,
    Open(RedisAddress, Open),
    /// The last attempt failed, and there will be others: not worth waiting for.
    Away(String),
}

impl Server {
    pub fn new(way: Arc<Way>, whereabouts: Whereabouts, connections: usize) -> Arc<Server> {
        let server = Arc::new(Server {
            way,
            whereabouts,
            seats: (0..connections.max(1)).map(|_| Mutex::default()).collect(),
            turn: AtomicUsize::new(0),
            changes: watch::Sender::new(()),
            away: Mutex::default(),
            looked_at: AtomicBool::new(false),
        });
        server.watch();
        server
    }

    /// Asks the sentinels now and then whether the master is another one.
    fn watch(self: &Arc<Self>) {
        let Whereabouts::Master { sentinels, name } = self.whereabouts.clone() else { return };
        let (weak, way) = (Arc::downgrade(self), self.way.clone());
        self.way.background.spawn(async move {
            loop {
                sleep(NOW_AND_THEN).await;
                if weak.strong_count() == 0 {
                    return;
                }
                let greeting = Greeting { master: true, about: false };
                // If there is none to be found, those who have a connection may still be served.
                let Ok((now, _)) = master(&way, &sentinels, &name, greeting).await else { continue };
                let Some(server) = weak.upgrade() else { return };
                server.replace_all(&format!("{} is the master now", shown(&now)), |address| *address != now);
            }
        });
    }

    /// Sends one command on one connection. What is wrong with the connection afterwards has been seen to.
    pub async fn ask(self: &Arc<Self>, command: &Cmd, how: How, deadline: Deadline) -> Result<Value, Trouble> {
        let (seat, address, mut open) = self.connection(how.after, deadline).await?;
        let sent = Instant::now();
        let answer =
            async { if how.beforehand { open.ask_beforehand(command).await } else { open.ask(command).await } };
        let trouble = match timeout_at(deadline, answer).await {
            Ok(Ok(value)) => {
                open.answered(&self.way);
                return Ok(value);
            }
            Ok(Err(error)) => Trouble::of(&error, &address),
            Err(_) => Trouble::Late(format!("{}: no answer in time", shown(&address))),
        };
        match &trouble {
            Trouble::Broken(text) | Trouble::Refused(text) => self.replace(seat, open.number, text),
            // If others had answers on it meanwhile, only this command takes so long.
            Trouble::Late(text) if open.silent_for(sent.elapsed(), &self.way) => self.replace(seat, open.number, text),
            Trouble::Late(_) => {}
            _ => open.answered(&self.way),
        }
        Err(trouble)
    }

    /// Has every connection made anew: it may lead to a server that is not the right one any more.
    pub fn doubt(self: &Arc<Self>, why: &str) {
        self.replace_all(why, |_| true);
    }

    fn replace_all(self: &Arc<Self>, why: &str, those_to: impl Fn(&RedisAddress) -> bool) {
        for index in 0..self.seats.len() {
            let number = match &self.seat(index).state {
                State::Open(address, open) if those_to(address) => open.number,
                State::Open(..) | State::Unused | State::Opening | State::Away(_) => continue,
            };
            self.replace(index, number, why);
        }
    }

    pub fn is_away(&self) -> bool {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What is published there, on a connection of its own.
    pub async fn listen(&self, channels: &[String]) -> Result<PubSubStream, String> {
        match &self.whereabouts {
            Whereabouts::At(address) => self.way.listen(address, channels).await,
            Whereabouts::Master { sentinels, name } => {
                let (address, _) = master(&self.way, sentinels, name, Greeting { master: true, about: false }).await?;
                self.way.listen(&address, channels).await
            }
        }
    }

    /// The next connection that is open, or the first that comes to be.
    async fn connection(
        self: &Arc<Self>,
        after: Option<Instant>,
        deadline: Deadline,
    ) -> Result<(usize, RedisAddress, Open), Trouble> {
        let mut changes = self.changes.subscribe();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        loop {
            changes.borrow_and_update();
            let (mut older, mut opening, mut why) = (None, false, None);
            for index in (0..self.seats.len()).map(|offset| first.wrapping_add(offset) % self.seats.len()) {
                let mut seat = self.seat(index);
                match &seat.state {
                    State::Open(address, open) => {
                        let found = (index, address.clone(), open.clone());
                        if after.is_none_or(|after| open.since >= after) {
                            return Ok(found);
                        }
                        older = Some(found);
                    }
                    State::Unused => {
                        seat.state = State::Opening;
                        drop(seat);
                        self.connect(index, Duration::ZERO);
                        opening = true;
                    }
                    State::Opening => opening = true,
                    State::Away(text) => why = Some(text.clone()),
                }
            }
            match (opening, why, older) {
                (true, why, _) => {
                    if timeout_at(deadline, changes.changed()).await.is_err() {
                        let why = why.unwrap_or_else(|| format!("{}: not connected in time", self.shown()));
                        return Err(Trouble::Away(why));
                    }
                }
                (false, Some(why), _) => return Err(Trouble::Away(why)),
                (false, None, Some(older)) => return Ok(older),
                (false, None, None) => return Err(Trouble::Away(format!("{}: no connection", self.shown()))),
            }
        }
    }

    /// Lets go of connection `number`, unless somebody else has before.
    fn replace(self: &Arc<Self>, index: usize, number: u64, why: &str) {
        let mut seat = self.seat(index);
        match &seat.state {
            State::Open(_, open) if open.number == number => {
                let was_good = open.since.elapsed() >= LONGEST_PAUSE;
                seat.failures = if was_good { 0 } else { seat.failures + 1 };
            }
            State::Open(..) | State::Unused | State::Opening | State::Away(_) => return,
        }
        // One that breaks again and again is not waited for.
        seat.state = if seat.failures <= 1 { State::Opening } else { State::Away(why.to_owned()) };
        let pause = pause(seat.failures);
        drop(seat);
        self.changes.send_replace(());
        self.connect(index, pause);
    }

    /// A task that connects, and tries until it has, or nobody holds the server any more.
    fn connect(self: &Arc<Self>, index: usize, mut pause: Duration) {
        let weak = Arc::downgrade(self);
        let (way, whereabouts) = (self.way.clone(), self.whereabouts.clone());
        self.way.background.spawn(async move {
            loop {
                sleep(pause).await;
                let Some(about) = weak.upgrade().map(|server| !server.looked_at.swap(true, Ordering::Relaxed)) else {
                    return;
                };
                let attempt = async {
                    match &whereabouts {
                        Whereabouts::At(address) => {
                            let open = way.open(address, Greeting { master: false, about }).await?;
                            Ok((address.clone(), open))
                        }
                        Whereabouts::Master { sentinels, name } => {
                            master(&way, sentinels, name, Greeting { master: true, about }).await
                        }
                    }
                };
                let mut attempt = pin!(attempt);
                let opened = match timeout(way.timeout, &mut attempt).await {
                    Ok(opened) => opened,
                    // It may still come to something, but not in time for those who wait.
                    Err(_) => {
                        match weak.upgrade() {
                            Some(server) => server.slow(index),
                            None => return,
                        }
                        attempt.await
                    }
                };
                let Some(server) = weak.upgrade() else { return };
                match opened {
                    Ok((address, open)) => {
                        let (number, closed) = (open.number, open.closed());
                        let why = format!("{}: the connection was closed", shown(&address));
                        server.opened(index, address, open);
                        drop(server);
                        closed.await;
                        if let Some(server) = weak.upgrade() {
                            server.replace(index, number, &why);
                        }
                        return;
                    }
                    Err(why) => pause = server.failed(index, why, about),
                }
            }
        });
    }

    fn opened(&self, index: usize, address: RedisAddress, open: Open) {
        self.way.metrics.connected.inc();
        self.seat(index).state = State::Open(address.clone(), open);
        self.changes.send_replace(());
        if let Some(since) = self.away.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let after = since.elapsed().as_secs_f32();
            tracing::info!(server = shown(&address), after, "the server of the session store is back");
        }
    }

    fn slow(&self, index: usize) {
        let mut seat = self.seat(index);
        if matches!(seat.state, State::Opening) {
            seat.state = State::Away(format!("{}: not connected in time", self.shown()));
            drop(seat);
            self.changes.send_replace(());
        }
    }

    /// How long to wait before the next attempt.
    fn failed(&self, index: usize, why: String, about: bool) -> Duration {
        self.way.metrics.failed.inc();
        if about {
            self.looked_at.store(false, Ordering::Relaxed);
        }
        let pause = {
            let mut seat = self.seat(index);
            seat.state = State::Away(why.clone());
            seat.failures = seat.failures.saturating_add(1);
            pause(seat.failures)
        };
        self.changes.send_replace(());
        let none = (0..self.seats.len()).all(|index| !matches!(self.seat(index).state, State::Open(..)));
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if none && away.is_none() {
            *away = Some(Instant::now());
            tracing::warn!(error = why, "a server of the session store is away; it is tried again until it is back");
        }
        pause
    }

    fn seat(&self, index: usize) -> MutexGuard<'_, Seat> {
        self.seats[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> String {
        match &self.whereabouts {
            Whereabouts::At(address) => shown(address),
            Whereabouts::Master { name, .. } => format!("master {name:?}"),
        }
    }
}

/// All sentinels are asked at once, so that one that is stuck stops nobody. The one whose master was elected last is
/// believed, once that server says so too: after a failover some still tell of the old one, which may not know either.
async fn master(
    way: &Way,
    sentinels: &[RedisAddress],
    name: &str,
    greeting: Greeting,
) -> Result<(RedisAddress, Open), String> {
    let mut asked: FuturesUnordered<_> = sentinels.iter().map(|sentinel| way.ask_sentinel(sentinel, name)).collect();
    let (mut told, mut tried, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(answer) = asked.next().await {
        let mut note = |answer| match answer {
            Ok(master) => told.push(master),
            Err(error) => errors.push(error),
        };
        note(answer);
        // The others are not far behind, if they answer at all.
        let soon = Deadline::now() + BEHIND;
        while let Ok(Some(answer)) = timeout_at(soon, asked.next()).await {
            note(answer);
        }
        let Some(&(newest, _)) = told.iter().max_by_key(|(epoch, _)| *epoch) else { continue };
        for (_, address) in told.iter().filter(|(epoch, _)| *epoch == newest) {
            if tried.contains(address) {
                continue;
            }
            match way.open(address, greeting).await {
                Ok(open) => return Ok((address.clone(), open)),
                Err(error) => errors.push(error),
            }
            tried.push(address.clone());
        }
    }
    Err(errors.join("; "))
}

pub(super) fn pause(failures: u32) -> Duration {
    if failures == 0 { Duration::ZERO } else { between(failures, SHORTEST_PAUSE, LONGEST_PAUSE, chance()) }
}

/// How long to wait for other sentinels when one has answered.
const BEHIND: Duration = Duration::from_millis(50);
/// How often sentinels are asked although all is well: a master that was cut off from them answers us as before.
const NOW_AND_THEN: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
