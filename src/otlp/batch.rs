//! Spans → one message.

use bytes::Bytes;
use prost::Message;

use super::wire::{
    Any, AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
    ScopeSpans, Span, Status,
};
use crate::{
    config::Otlp,
    model::build,
    spans::{self, Attribute, Kind, Place, Value},
};

/// What stands around the spans of every message.
pub struct Batch {
    message: ExportTraceServiceRequest,
}

impl Batch {
    pub fn new(settings: &Otlp) -> Batch {
        let text = |key: &str, text: &str| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(Any::String(text.to_owned())) }),
        };
        let attributes = settings.resource.iter().map(|(key, value)| text(key, value)).collect();
        let scope = InstrumentationScope { name: "sidegate".to_owned(), version: build::VERSION.to_owned() };
        let message = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes }),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans: Vec::new() }],
                schema_url: SCHEMA.to_owned(),
            }],
        };
        Batch { message }
    }

    pub fn write(&mut self, spans: Vec<spans::Span>) -> Bytes {
        let room = &mut self.message.resource_spans[0].scope_spans[0].spans;
        room.extend(spans.into_iter().map(span));
        let bytes = self.message.encode_to_vec().into();
        self.message.resource_spans[0].scope_spans[0].spans.clear();
        bytes
    }
}

fn span(span: spans::Span) -> Span {
    Span {
        trace_id: trace(span.place),
        span_id: id(span.place.id),
        parent_span_id: span.parent.map(id).unwrap_or_default(),
        name: span.name,
        kind: match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: span.attributes.into_iter().map(attribute).collect(),
        links: span.links.into_iter().map(link).collect(),
        status: span.failed.then_some(Status { code: 2 }),
        flags: SAMPLED | KNOWN | if span.remote && span.parent.is_some() { REMOTE } else { 0 },
    }
}

fn link(place: Place) -> Link {
    Link { trace_id: trace(place), span_id: id(place.id), flags: SAMPLED | KNOWN }
}

fn attribute((key, value): Attribute) -> KeyValue {
    let value = match value {
        Value::Word(word) => Any::String(word.into_owned()),
        Value::Name(name) => Any::String(name.as_ref().to_owned()),
        Value::Number(number) => Any::Int(number),
        Value::Yes => Any::Bool(true),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn trace(place: Place) -> Vec<u8> {
    place.trace.to_be_bytes().to_vec()
}

fn id(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

/// The semantic conventions that the names of attributes are from.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";
/// The flags of a span: those of W3C, and whether it is known that the parent is somebody else's.
const SAMPLED: u32 = 1;
const KNOWN: u32 = 1 << 8;
const REMOTE: u32 = 1 << 9;
