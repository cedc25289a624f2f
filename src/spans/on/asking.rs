//! The span of a question to somebody else: an upstream, an authority, an issuer.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, Method, StatusCode};

use super::{
    super::Attribute,
    Current, Kind, Place, Span, current,
    parent::{Parent, TRACEPARENT, TRACESTATE},
    serving::known,
};

/// A question on its way; it ends with what came of it, or without if nobody waits any more.
pub struct Asking(Option<Box<Asked>>);

struct Asked {
    asker: Arc<Current>,
    place: Place,
    name: &'static str,
    attributes: Vec<Attribute>,
    started: Instant,
}

/// A request is sent on with `headers`, which then say that it belongs to this span.
pub fn sending(headers: &mut HeaderMap, method: &Method, described: impl FnOnce() -> Vec<Attribute>) -> Asking {
    let Some(asker) = current() else { return Asking(None) };
    let place = Place::within(Some(asker.place.trace));
    headers.insert(TRACEPARENT, Parent { place, flags: asker.flags }.header());
    if asker.first {
        // It speaks of a trace that nobody knows (section 3.3.1).
        headers.remove(TRACESTATE);
    }
    Asking::begin(asker, place, method, described)
}

/// Somebody is asked in words of sidegate's own, and not told of the trace: old servers refuse what they do not know.
pub fn asking(method: &Method, described: impl FnOnce() -> Vec<Attribute>) -> Asking {
    let Some(asker) = current() else { return Asking(None) };
    let place = Place::within(Some(asker.place.trace));
    Asking::begin(asker, place, method, described)
}

impl Asking {
    fn begin(asker: Arc<Current>, place: Place, method: &Method, described: impl FnOnce() -> Vec<Attribute>) -> Asking {
        if asker.recording.is_none() {
            return Asking(None);
        }
        let mut attributes = described();
        let name = known(method);
        attributes.push(("http.request.method", name.unwrap_or("_OTHER").into()));
        let name = name.unwrap_or("HTTP");
        Asking(Some(Box::new(Asked { asker, place, name, attributes, started: Instant::now() })))
    }

    /// It was answered, or why not.
    pub fn end(mut self, outcome: Result<StatusCode, &'static str>) {
        if let Some(asked) = self.0.take() {
            asked.record(outcome);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(asked) = self.0.take() {
            asked.record(Err("cancelled"));
        }
    }
}

impl Asked {
    fn record(mut self, outcome: Result<StatusCode, &'static str>) {
        let Some(recording) = &self.asker.recording else { return };
        let error = match outcome {
            Ok(status) => {
                self.attributes.push(("http.response.status_code", status.as_u16().into()));
                (status.as_u16() >= 400).then(|| status.as_str().to_owned().into())
            }
            Err(error) => Some(error.into()),
        };
        let failed = error.is_some();
        self.attributes.extend(error.map(|error| ("error.type", error)));
        recording.outlet.take(Span {
            place: self.place,
            parent: Some(self.asker.place.id),
            remote: false,
            kind: Kind::Client,
            name: self.name.to_owned(),
            start: recording.clock.of(self.started),
            end: recording.clock.of(Instant::now()),
            attributes: self.attributes,
            links: Vec::new(),
            failed,
        });
    }
}
