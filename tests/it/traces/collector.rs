//! A collector that keeps what it is sent, and the spans in it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use prost::Message;
use sidegate::otlp::wire::{
    Any, ExportTraceServiceRequest, ExportTraceServiceResponse, PartialSuccess, ResourceSpans, Span,
};

use crate::support::{Upstream, must};

#[derive(Clone)]
pub struct Collector {
    inner: Arc<Inner>,
}

struct Inner {
    server: Upstream,
    script: Arc<Script>,
}

#[derive(Default)]
struct Script {
    /// How it answers next: status and `Retry-After`; then 200.
    answers: Mutex<Vec<(u16, Option<&'static str>)>>,
    rejects: AtomicUsize,
}

/// One span, its attributes as text.
#[derive(Debug, Clone)]
pub struct Told {
    pub span: Span,
    pub attributes: BTreeMap<String, String>,
}

impl Told {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    pub fn id(&self) -> (Vec<u8>, Vec<u8>) {
        (self.span.trace_id.clone(), self.span.span_id.clone())
    }

    pub fn is_server(&self) -> bool {
        self.span.kind == 2
    }

    pub fn is_client(&self) -> bool {
        self.span.kind == 3
    }

    pub fn is_linked_to(&self, other: &Told) -> bool {
        self.span.links.iter().any(|link| (link.trace_id.clone(), link.span_id.clone()) == other.id())
    }

    pub fn failed(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code == 2)
    }
}

impl Collector {
    pub async fn start() -> Collector {
        let script = Arc::new(Script::default());
        let shared = script.clone();
        let server = Upstream::answering(move |_| {
            let mut answers = shared.answers.lock().unwrap();
            if answers.is_empty() {
                let rejected_spans = i64::try_from(shared.rejects.load(SeqCst)).unwrap();
                let partial_success = (rejected_spans > 0).then_some(PartialSuccess { rejected_spans });
                let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
                return Response::new(Full::new(body.into()));
            }
            let (status, retry_after) = answers.remove(0);
            let mut response = Response::builder().status(status);
            if let Some(seconds) = retry_after {
                response = response.header("retry-after", seconds);
            }
            response.body(Full::new(Bytes::new())).unwrap()
        })
        .await;
        Collector { inner: Arc::new(Inner { server, script }) }
    }

    /// The section of a configuration that sends spans here, with `more` keys.
    pub fn yaml(&self, more: &str) -> String {
        format!(
            "traces: {{ otlp: {{ url: \"http://{}/v1/traces\", interval: 10ms{more} }} }}\n",
            self.inner.server.address
        )
    }

    /// The next questions are answered so.
    pub fn answer(&self, answers: &[(u16, Option<&'static str>)]) {
        self.inner.script.answers.lock().unwrap().extend(answers);
    }

    /// Of each message it does not take so many.
    pub fn reject(&self, spans: usize) {
        self.inner.script.rejects.store(spans, SeqCst);
    }

    pub fn messages(&self) -> Vec<crate::support::upstream::Seen> {
        self.inner.server.seen()
    }

    pub fn resources(&self) -> Vec<ResourceSpans> {
        let messages = self.messages();
        let decoded = messages.iter().map(|seen| ExportTraceServiceRequest::decode(seen.body.clone()).unwrap());
        decoded.flat_map(|message| message.resource_spans).collect()
    }

    pub fn spans(&self) -> Vec<Told> {
        let spans =
            self.resources().into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        spans.map(told).collect()
    }

    /// Waits until `count` spans have come.
    pub async fn collected(&self, count: usize) -> Vec<Told> {
        must(async {
            loop {
                let spans = self.spans();
                if spans.len() >= count {
                    return spans;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

fn told(span: Span) -> Told {
    let attributes = span.attributes.iter().map(|attribute| {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()).unwrap() {
            Any::String(text) => text.clone(),
            Any::Bool(yes) => yes.to_string(),
            Any::Int(number) => number.to_string(),
        };
        (attribute.key.clone(), value)
    });
    Told { attributes: attributes.collect(), span }
}
