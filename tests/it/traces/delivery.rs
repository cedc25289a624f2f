//! How spans come to the collector, and what becomes of those that do not.

use super::collector::Collector;
use crate::support::{Issuer, Scripted, Sidegate, Upstream, get, issuer::scratch, must, sidegate::protecting};

const NO_ROOM: &str = "sidegate_spans_dropped_total{reason=\"no_room\"}";
const REFUSED: &str = "sidegate_spans_dropped_total{reason=\"refused\"}";
const UNANSWERED: &str = "sidegate_spans_dropped_total{reason=\"unanswered\"}";
const EXPORTED: &str = "sidegate_spans_exported_total";

async fn house(traces: &str) -> (Upstream, Issuer, Sidegate) {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, traces).await;
    (upstream, issuer, sidegate)
}

/// Waits until `series` is `value`.
async fn until(sidegate: &Sidegate, series: &str, value: f64) {
    must(async {
        while sidegate.series(series).await != value {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_is_protobuf_with_the_headers_of_the_files() {
    let collector = Collector::start().await;
    let file = scratch("traces").join("key");
    std::fs::write(&file, "Bearer canary-collector-key\n").unwrap();
    let more = format!(", header_files: {{ Authorization: {} }}", file.display());
    let (_upstream, _issuer, sidegate) = house(&collector.yaml(&more)).await;
    get(sidegate.public, "/", "").await;
    collector.collected(1).await;
    let message = collector.messages().remove(0);
    assert_eq!((message.method.as_str(), message.target.as_str()), ("POST", "/v1/traces"));
    assert_eq!(message.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(message.header("authorization"), Some("Bearer canary-collector-key"));
    assert_eq!(message.header("traceparent"), None, "nobody is told of what tells");
    until(&sidegate, EXPORTED, 1.0).await;
}

#[tokio::test]
async fn a_collector_that_has_no_time_is_sent_the_same_again() {
    let collector = Collector::start().await;
    collector.answer(&[(503, Some("0")), (429, Some("0"))]);
    let (_upstream, _issuer, sidegate) = house(&collector.yaml("")).await;
    get(sidegate.public, "/", "").await;
    until(&sidegate, EXPORTED, 1.0).await;
    let bodies: Vec<_> = collector.messages().into_iter().map(|message| message.body).collect();
    assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(sidegate.series(UNANSWERED).await, 0.0);
}

#[tokio::test]
async fn a_collector_that_never_has_time_is_given_up() {
    let collector = Collector::start().await;
    collector.answer(&[(503, Some("0")); 5]);
    let (_upstream, _issuer, sidegate) = house(&collector.yaml("")).await;
    get(sidegate.public, "/", "").await;
    until(&sidegate, UNANSWERED, 1.0).await;
    assert_eq!(collector.messages().len(), 5);
    get(sidegate.public, "/", "").await;
    until(&sidegate, EXPORTED, 1.0).await;
}

#[tokio::test]
async fn what_a_collector_does_not_want_is_counted_and_not_sent_again() {
    let collector = Collector::start().await;
    collector.answer(&[(400, None)]);
    let (_upstream, _issuer, sidegate) = house(&collector.yaml("")).await;
    get(sidegate.public, "/", "").await;
    until(&sidegate, REFUSED, 1.0).await;
    assert_eq!(collector.messages().len(), 1);
    collector.reject(1);
    get(sidegate.public, "/", "").await;
    until(&sidegate, REFUSED, 2.0).await;
    assert_eq!(sidegate.series(EXPORTED).await, 0.0);
}

#[tokio::test]
async fn requests_do_not_notice_a_collector_that_does_not_answer_and_what_it_misses_is_counted() {
    let silent = Scripted::start().await;
    let traces =
        format!("traces: {{ otlp: {{ url: \"http://{}/v1/traces\", interval: 10ms, queue: 4 }} }}\n", silent.address);
    let (_upstream, issuer, sidegate) = house(&traces).await;
    let token = issuer.token();
    for _ in 0..40 {
        assert_eq!(get(sidegate.public, "/", &token).await.status, 200);
    }
    assert!(sidegate.series(NO_ROOM).await > 0.0);
    assert_eq!(sidegate.series(EXPORTED).await, 0.0);
}

#[tokio::test]
async fn a_drain_sends_what_still_waits() {
    let collector = Collector::start().await;
    let traces = collector.yaml("").replace("10ms", "60s");
    let (_upstream, _issuer, sidegate) = house(&traces).await;
    get(sidegate.public, "/", "").await;
    sidegate.app.begin_drain();
    must(sidegate.app.drained()).await;
    assert_eq!(collector.spans().len(), 1);
}

#[tokio::test]
async fn a_reload_sends_spans_to_another_collector_and_what_waits_to_the_first() {
    let (first, second) = (Collector::start().await, Collector::start().await);
    let (upstream, issuer, sidegate) = house(&first.yaml("").replace("10ms", "60s")).await;
    get(sidegate.public, "/", "").await;
    sidegate.reload(&protecting(&upstream, &issuer, &second.yaml(""))).await;
    get(sidegate.public, "/", "").await;
    second.collected(1).await;
    first.collected(1).await;
    sidegate.reload(&protecting(&upstream, &issuer, "")).await;
    assert_eq!(get(sidegate.public, "/", "").await.status, 401);
    assert_eq!((first.spans().len(), second.spans().len()), (1, 1));
}
