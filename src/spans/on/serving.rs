//! The span of a request, from its head to the head of its answer.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use http::{HeaderMap, Method, StatusCode};

use super::{
    super::Attribute, Around, Clock, Current, Kind, Outlet, Place, Recording, SAMPLED, Span, around, parent::Parent,
};
use crate::model::{TraceId, UnixMillis};

/// Where the spans of one configuration go; nowhere unless it has `traces`.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<Outlet>>);

impl Spans {
    pub fn to(outlet: Arc<Outlet>) -> Spans {
        Spans(Some(outlet))
    }

    /// Returns once everything that is over was sent, or cannot be.
    pub async fn flush(&self) {
        if let Some(outlet) = &self.0 {
            outlet.flush().await;
        }
    }

    /// A request came with `headers` at this moment, which is known by two clocks. `trusted`: from a proxy that may decide
    /// for others.
    pub fn begin(
        &self,
        headers: &HeaderMap,
        method: &Method,
        (moment, started): (UnixMillis, Instant),
        trusted: impl FnOnce() -> bool,
    ) -> Serving {
        let Some(outlet) = &self.0 else { return Serving(None) };
        let parent = Parent::of(headers);
        let recorded = match parent.filter(|_| outlet.anyone || trusted()) {
            Some(parent) => parent.is_sampled(),
            None => outlet.samples(),
        };
        // Flags that we know nothing of are passed on with the trace that they speak of (section 3.2.2.5).
        let flags = parent.map_or(0, |parent| parent.flags) & !SAMPLED | u8::from(recorded);
        let clock = Clock { nanoseconds: moment.0.saturating_mul(1_000_000), at: started };
        let recording = recorded.then(|| Recording { outlet: outlet.clone(), clock, links: Mutex::default() });
        let place = Place::within(parent.map(|parent| parent.place.trace));
        Serving(Some(Begun {
            current: Arc::new(Current { place, flags, first: parent.is_none(), recording }),
            parent: parent.map(|parent| parent.place.id),
            method: method.clone(),
            started,
        }))
    }
}

/// A request on its way; it ends with what came of it, or without if the client is gone.
pub struct Serving(Option<Begun>);

struct Begun {
    current: Arc<Current>,
    parent: Option<u64>,
    method: Method,
    started: Instant,
}

impl Serving {
    /// The trace that it belongs to, if spans are told of at all.
    pub fn trace(&self) -> Option<TraceId> {
        self.0.as_ref().map(|begun| TraceId::new(begun.current.place.trace))
    }

    /// Whatever `work` asks belongs to this span.
    pub fn around<F: Future>(&self, work: F) -> Around<F> {
        around(self.0.as_ref().map(|begun| &begun.current), work)
    }

    /// It was answered with `status`; `error` says what failed on our side or behind us. `described`: what the span is
    /// called after its method, and what else is known.
    pub fn end(
        mut self,
        status: StatusCode,
        error: Option<&'static str>,
        described: impl FnOnce() -> (String, Vec<Attribute>),
    ) {
        let Some(begun) = self.0.take().filter(|begun| begun.current.recording.is_some()) else { return };
        let (name, mut attributes) = described();
        attributes.push(("http.response.status_code", status.as_u16().into()));
        let failed = status.is_server_error();
        if failed {
            attributes.push(("error.type", error.map_or_else(|| status.as_str().to_owned().into(), Into::into)));
        }
        begun.record(&name, attributes, failed);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(begun) = self.0.take() {
            begun.record("", vec![("error.type", "cancelled".into())], true);
        }
    }
}

impl Begun {
    fn record(self, name: &str, mut attributes: Vec<Attribute>, failed: bool) {
        let Some(recording) = &self.current.recording else { return };
        let method = known(&self.method);
        attributes.push(("http.request.method", method.unwrap_or("_OTHER").into()));
        let method = method.unwrap_or("HTTP");
        recording.outlet.take(Span {
            place: self.current.place,
            parent: self.parent,
            remote: true,
            kind: Kind::Server,
            name: if name.is_empty() { method.to_owned() } else { format!("{method} {name}") },
            start: recording.clock.of(self.started),
            end: recording.clock.of(Instant::now()),
            attributes,
            links: recording.take_links(),
            failed,
        });
    }
}

/// Anything else is what a client made up.
pub(super) fn known(method: &Method) -> Option<&'static str> {
    Some(match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => return None,
    })
}
