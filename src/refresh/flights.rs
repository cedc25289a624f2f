//! One renewal at a time for each session, shared by all who want it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::watch};

use super::Outcome;
use crate::session::SessionId;

type Landed = watch::Receiver<Option<Outcome>>;

/// Renewals under way. Outlives a reload: the next generation joins what the last one began.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<SessionId, Landed>>);

impl Flights {
    /// Joins the flight of `id`, or sends `flight` off. Detached: the authority may have spent the old refresh token by
    /// the time that whoever asked has hung up.
    pub(super) fn board(
        self: &Arc<Self>,
        id: SessionId,
        background: &Handle,
        flight: impl Future<Output = Outcome> + Send + 'static,
    ) -> Landed {
        let (landing, landed) = watch::channel(None);
        {
            let mut flights = self.lock();
            if let Some(under_way) = flights.get(&id) {
                return under_way.clone();
            }
            flights.insert(id, landed.clone());
        }
        // Without the lock: a runtime that shuts down drops the flight here, which then takes the lock itself.
        let place = Place { flights: self.clone(), id };
        background.spawn(async move {
            let outcome = flight.await;
            // First: who comes after the answer must look at the store, not join what is over.
            drop(place);
            landing.send_replace(Some(outcome));
        });
        landed
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Landed>> {
        // Insertion and removal are whole by themselves.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However a flight ends, its place is free again.
struct Place {
    flights: Arc<Flights>,
    id: SessionId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.id);
    }
}
