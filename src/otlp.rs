//! Spans to a collector: OTLP over HTTP in protobuf (OpenTelemetry protocol 1.x), in batches, beside the workers.
//!
//! Requests never wait for it. What the collector does not take in time is lost, and counted.

mod batch;
mod deliver;
pub mod wire;

use std::{mem, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::mpsc::Receiver,
    time::{Instant, timeout_at},
};

use self::{batch::Batch, deliver::Collector};
use crate::{
    config::Otlp,
    spans::{Item, Outlet, Span, Spans},
    telemetry::metrics::{LostSpan, Metrics},
};

/// Where the spans of requests go from now on. The task that sends them ends with its last span, once no request can bring
/// another one.
pub fn start(settings: &Otlp, metrics: &Arc<Metrics>, background: &Handle) -> Spans {
    let counts = metrics.clone();
    let lost = move || counts.spans.lost(LostSpan::NoRoom, 1);
    let (outlet, waiting) = Outlet::new(settings.queue, settings.sample, settings.anyone, lost);
    let collector = Collector::new(settings, metrics.clone());
    background.spawn(run(waiting, Batch::new(settings), collector, settings.interval));
    Spans::to(outlet)
}

async fn run(mut waiting: Receiver<Item>, mut batch: Batch, collector: Collector, interval: Duration) {
    let mut spans: Vec<Span> = Vec::new();
    while let Some(first) = waiting.recv().await {
        let deadline = Instant::now() + interval;
        let mut next = Some(first);
        let mut flushed = None;
        while let Some(item) = next.take() {
            match item {
                Item::Span(span) => spans.push(*span),
                Item::Flush(done) => {
                    flushed = Some(done);
                    break;
                }
            }
            if spans.len() == LARGEST {
                break;
            }
            next = timeout_at(deadline, waiting.recv()).await.ok().flatten();
        }
        if !spans.is_empty() {
            let count = spans.len() as u64;
            collector.deliver(batch.write(mem::take(&mut spans)), count).await;
        }
        if let Some(done) = flushed {
            let _ = done.send(());
        }
    }
}

/// Spans in one request: what the collectors' own exporters send.
const LARGEST: usize = 512;
