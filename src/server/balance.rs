//! Which worker serves a connection: the one that accepted it, unless another has clearly fewer.
//!
//! All workers wake up for a new connection and the quickest takes it. That is right for many short ones, and wrong for
//! a few that stay: of two workers, one would often serve all of eight HTTP/2 connections.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Handle, RuntimeMetrics},
    sync::mpsc,
};

use super::{
    connection::Guard,
    listener::Settings,
    socket::{Detached, Stream},
};
use crate::model::Peer;

/// How old the view of how busy the workers are may be.
const VIEW: Duration = Duration::from_secs(1);

/// So much more of its time may a worker be busy and still be given a connection: few connections may be much work.
const BUSIER: f64 = 0.25;

/// An accepted connection on its way to the worker that serves it.
pub(super) struct Arrival<S = Stream> {
    pub(super) stream: S,
    pub(super) peer: Peer,
    pub(super) guard: Guard,
    pub(super) settings: Arc<Settings>,
}

pub(super) type Inbox = mpsc::UnboundedReceiver<Arrival<Detached>>;

/// The workers of one server.
pub(super) struct Team {
    members: Box<[Member]>,
    load: Mutex<Load>,
}

struct Member {
    connections: AtomicUsize,
    inbox: mpsc::UnboundedSender<Arrival<Detached>>,
    metrics: OnceLock<RuntimeMetrics>,
}

impl Team {
    pub(super) fn new(workers: usize) -> (Arc<Self>, Vec<Inbox>) {
        let (members, inboxes) = (0..workers)
            .map(|_| {
                // Unbounded: every arrival holds one of the listener's permits.
                let (inbox, received) = mpsc::unbounded_channel();
                (Member { connections: AtomicUsize::new(0), inbox, metrics: OnceLock::new() }, received)
            })
            .unzip::<_, _, Vec<_>, _>();
        (Arc::new(Team { members: members.into(), load: Mutex::new(Load::new(workers, Instant::now())) }), inboxes)
    }

    /// To be called on the runtime of `worker`, when it begins.
    pub(super) fn begins(&self, worker: usize) {
        let _ = self.members[worker].metrics.set(Handle::current().metrics());
    }

    /// Finds the worker for a connection that `accepted_by` took, and counts it there.
    pub(super) fn seat(self: &Arc<Self>, accepted_by: usize) -> Seat {
        let connections = |worker: usize| self.members[worker].connections.load(Relaxed);
        let fewest = (0..self.members.len()).min_by_key(|worker| connections(*worker)).unwrap_or(accepted_by);
        let better = clearly_fewer(connections(fewest), connections(accepted_by)) && !self.busier(fewest, accepted_by);
        let worker = if better { fewest } else { accepted_by };
        self.members[worker].connections.fetch_add(1, Relaxed);
        Seat { team: self.clone(), worker }
    }

    /// Gives a connection to the worker of its seat, or back if that one has ended.
    pub(super) fn hand_over(&self, worker: usize, arrival: Arrival<Detached>) -> Result<(), Arrival<Detached>> {
        self.members[worker].inbox.send(arrival).map_err(|refused| refused.0)
    }

    fn busier(&self, worker: usize, than: usize) -> bool {
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        load.look(Instant::now(), |worker| {
            let metrics = self.members[worker].metrics.get();
            metrics.map_or(Duration::ZERO, |metrics| metrics.worker_total_busy_duration(0))
        });
        load.share[worker] > load.share[than] + BUSIER
    }
}

/// One connection in the count of a worker, until it is dropped.
pub(super) struct Seat {
    team: Arc<Team>,
    pub(super) worker: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.team.members[self.worker].connections.fetch_sub(1, Relaxed);
    }
}

/// Few connections are shared out evenly; of many, a small difference is not worth the way.
fn clearly_fewer(fewer: usize, than: usize) -> bool {
    than > fewer + than / 8
}

/// What share of its time each worker was busy, between the last two looks.
struct Load {
    looked: Instant,
    total: Box<[Duration]>,
    share: Box<[f64]>,
}

impl Load {
    fn new(workers: usize, now: Instant) -> Self {
        Load { looked: now, total: vec![Duration::ZERO; workers].into(), share: vec![0.0; workers].into() }
    }

    fn look(&mut self, now: Instant, total: impl Fn(usize) -> Duration) {
        let passed = now.saturating_duration_since(self.looked);
        if passed < VIEW {
            return;
        }
        self.looked = now;
        for (worker, (before, share)) in self.total.iter_mut().zip(&mut self.share).enumerate() {
            let total = total(worker);
            *share = total.saturating_sub(*before).as_secs_f64() / passed.as_secs_f64();
            *before = total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_are_spread_evenly_whoever_accepts_them() {
        let (team, _inboxes) = Team::new(3);
        let seats: Vec<Seat> = (0..9).map(|_| team.seat(1)).collect();
        for worker in 0..3 {
            assert_eq!(seats.iter().filter(|seat| seat.worker == worker).count(), 3);
        }
        drop(seats);
        assert_eq!(team.seat(2).worker, 2);
    }

    #[test]
    fn among_many_a_small_difference_stays() {
        let (team, _inboxes) = Team::new(2);
        let _mine: Vec<Seat> = (0..40).map(|_| team.seat(0)).collect();
        let counts = [0, 1].map(|worker| team.members[worker].connections.load(Relaxed));
        assert!(counts[0] > counts[1] && counts[0] - counts[1] <= 4, "{counts:?}");
    }

    #[test]
    fn a_worker_that_is_much_busier_is_given_nothing() {
        let (team, _inboxes) = Team::new(2);
        let _first = team.seat(0);
        team.load.lock().unwrap().share = [0.1, 0.9].into();
        assert_eq!(team.seat(0).worker, 0);
        team.load.lock().unwrap().share = [0.8, 0.9].into();
        assert_eq!(team.seat(0).worker, 1);
    }

    #[test]
    fn the_share_is_that_of_the_time_since_the_last_look() {
        let start = Instant::now();
        let mut load = Load::new(2, start);
        let busy = [Duration::from_millis(500), Duration::from_millis(50)];
        load.look(start + Duration::from_secs(1), |worker| busy[worker]);
        assert_eq!(*load.share, [0.5, 0.05]);
        // Too soon to say anything new.
        load.look(start + Duration::from_millis(1950), |_| Duration::from_secs(9));
        assert_eq!(*load.share, [0.5, 0.05]);
        load.look(start + Duration::from_secs(3), |worker| busy[worker] * 2);
        assert_eq!(*load.share, [0.25, 0.025]);
    }
}
