//! The span of a renewal: nobody's child, since it goes on whoever hangs up, and linked with all who waited for it.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use super::{Around, Clock, Current, Kind, Place, Recording, SAMPLED, Span, around, current};

/// A renewal that requests may wait for. It is recorded if one of them is.
#[derive(Clone, Default)]
pub struct Renewing(Arc<State>);

#[derive(Default)]
struct State {
    begun: OnceLock<Instant>,
    /// Made for the first request that is recorded.
    current: OnceLock<Arc<Current>>,
}

impl Renewing {
    /// The request of this task has wanted it, or waits for it.
    pub fn join(&self) {
        let Some(asker) = current() else { return };
        let Some(recording) = &asker.recording else { return };
        let current = self.0.current.get_or_init(|| {
            let Recording { outlet, clock, .. } = recording;
            let recording = Recording { outlet: outlet.clone(), clock: *clock, links: Mutex::default() };
            Arc::new(Current { place: Place::within(None), flags: SAMPLED, first: true, recording: Some(recording) })
        });
        recording.link(current.place);
        if let Some(renewal) = &current.recording {
            renewal.link(asker.place);
        }
    }

    /// It begins now; whatever `work` asks belongs to its span.
    pub fn around<F: Future>(&self, work: F) -> Around<F> {
        let _ = self.0.begun.set(Instant::now());
        around(self.0.current.get(), work)
    }

    /// It is over: the word for what came of it, and whether that is a failure.
    pub fn end(&self, name: &'static str, result: &'static str, failed: bool) {
        let Some(current) = self.0.current.get() else { return };
        let Some(recording) = &current.recording else { return };
        let Clock { at, .. } = recording.clock;
        let mut attributes = vec![("sidegate.result", result.into())];
        if failed {
            attributes.push(("error.type", result.into()));
        }
        recording.outlet.take(Span {
            place: current.place,
            parent: None,
            remote: false,
            kind: Kind::Internal,
            name: name.to_owned(),
            start: recording.clock.of(self.0.begun.get().copied().unwrap_or(at)),
            end: recording.clock.of(Instant::now()),
            attributes,
            links: recording.take_links(),
            failed,
        });
    }
}
