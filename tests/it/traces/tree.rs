//! Who belongs to whom, what is recorded, and what is said of it.

use http::HeaderValue;

use super::collector::{Collector, Told};
use crate::support::{Issuer, Reply, Sidegate, Upstream, get, request, send, sidegate::protecting};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

struct House {
    collector: Collector,
    upstream: Upstream,
    issuer: Issuer,
    sidegate: Sidegate,
}

impl House {
    async fn new(more: &str) -> House {
        let (collector, upstream, issuer) = (Collector::start().await, Upstream::start().await, Issuer::new());
        let sidegate = Sidegate::protecting(&upstream, &issuer, &collector.yaml(more)).await;
        House { collector, upstream, issuer, sidegate }
    }

    async fn ask(&self, path: &str, headers: &[(&'static str, &str)]) -> Reply {
        let mut asked = request("GET", path, &self.issuer.token());
        for (name, value) in headers {
            asked.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
        }
        send(self.sidegate.public, asked).await
    }

    /// The span of the request and that of the question to the upstream, of one request.
    async fn pair(&self) -> (Told, Told) {
        let spans = self.collector.collected(2).await;
        assert_eq!(spans.len(), 2, "{spans:?}");
        let (server, client) = (spans.iter().find(|told| told.is_server()), spans.iter().find(|told| told.is_client()));
        (server.unwrap().clone(), client.unwrap().clone())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{PARENT}-{flags}")
}

#[tokio::test]
async fn the_client_s_span_is_the_parent_of_ours_and_ours_of_the_upstream_s() {
    let house = House::new("").await;
    let headers = [("traceparent", &*parent(TRACE, "01")), ("tracestate", "vendor=a")];
    assert_eq!(house.ask("/orders/7", &headers).await.status, 200);
    let (server, client) = house.pair().await;
    assert_eq!((hex(&server.span.trace_id), hex(&server.span.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert_eq!((&client.span.trace_id, &client.span.parent_span_id), (&server.span.trace_id, &server.span.span_id));
    assert_eq!((server.span.flags, client.span.flags), (0x301, 0x101), "the first parent is somebody else's");
    let seen = house.upstream.last();
    assert_eq!(seen.header("traceparent"), Some(&*format!("00-{TRACE}-{}-01", hex(&client.span.span_id))));
    assert_eq!(seen.header("tracestate"), Some("vendor=a"));
    let (outer, inner) = (&server.span, &client.span);
    assert!(outer.start_time_unix_nano <= inner.start_time_unix_nano, "one lies within the other");
    assert!(inner.start_time_unix_nano <= inner.end_time_unix_nano);
    assert!(inner.end_time_unix_nano <= outer.end_time_unix_nano);
}

#[tokio::test]
async fn spans_speak_the_words_of_opentelemetry_and_of_the_decision() {
    let house = House::new(", resource: { deployment.environment.name: test }").await;
    house.ask("/orders/7", &[]).await;
    let (server, client) = house.pair().await;
    let port = house.upstream.address.port().to_string();
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("sidegate.route", "all"),
        ("sidegate.listener", "main"),
        ("sidegate.decision", "allow"),
        ("sidegate.reason", "allowed"),
    ] {
        assert_eq!(server.get(name), Some(value), "{name}");
    }
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("sidegate.upstream", "app"),
    ] {
        assert_eq!(client.get(name), Some(value), "{name}");
    }
    assert_eq!((server.span.name.as_str(), client.span.name.as_str()), ("GET all", "GET"));
    let resource = house.collector.resources().remove(0).resource.unwrap();
    let names: Vec<_> = resource.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(names, ["deployment.environment.name", "service.name", "service.version"]);
}

#[tokio::test]
async fn a_trace_that_the_client_does_not_record_is_not_recorded_and_goes_on() {
    let house = House::new("").await;
    house.ask("/", &[("traceparent", &parent(TRACE, "00"))]).await;
    let told = house.upstream.last().header("traceparent").unwrap().to_owned();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    house.ask("/", &[]).await;
    let (server, _) = house.pair().await;
    assert_ne!(hex(&server.span.trace_id), TRACE);
    assert!(server.span.parent_span_id.is_empty(), "nobody was there before");
}

#[tokio::test]
async fn of_those_without_a_trace_the_configured_share_is_recorded() {
    let house = House::new(", sample: 0").await;
    house.ask("/", &[]).await;
    let told = house.upstream.last().header("traceparent").unwrap().to_owned();
    assert!(told.ends_with("-00"), "the upstream records nothing either: {told}");
    house.ask("/", &[("traceparent", &parent(TRACE, "01"))]).await;
    let (server, _) = house.pair().await;
    assert_eq!(hex(&server.span.trace_id), TRACE);
}

#[tokio::test]
async fn what_is_no_trace_begins_a_new_one() {
    let house = House::new("").await;
    let upper = parent(&TRACE.to_uppercase(), "01");
    house.ask("/", &[("traceparent", &upper), ("tracestate", "vendor=a")]).await;
    let (server, client) = house.pair().await;
    assert!(server.span.parent_span_id.is_empty());
    let seen = house.upstream.last();
    let expected = format!("00-{}-{}-01", hex(&server.span.trace_id), hex(&client.span.span_id));
    assert_eq!(seen.header("traceparent"), Some(&*expected));
    assert_eq!(seen.header("tracestate"), None, "it speaks of a trace that nobody knows");
}

#[tokio::test]
async fn strangers_decide_nothing_where_only_trusted_proxies_are_followed() {
    let house = House::new(", sample: 0, follow: trusted_proxies").await;
    house.ask("/", &[("traceparent", &parent(TRACE, "01"))]).await;
    let told = house.upstream.last().header("traceparent").unwrap().to_owned();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");

    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let more =
        format!("trusted_proxies: [127.0.0.1/32]\n{}", house.collector.yaml(", sample: 0, follow: trusted_proxies"));
    let behind = Sidegate::protecting(&upstream, &issuer, &more).await;
    let mut asked = request("GET", "/", &issuer.token());
    asked.headers_mut().insert("traceparent", HeaderValue::from_str(&parent(TRACE, "01")).unwrap());
    send(behind.public, asked).await;
    let (server, _) = house.pair().await;
    assert_eq!(hex(&server.span.trace_id), TRACE);
}

#[tokio::test]
async fn a_refusal_says_why_and_an_upstream_that_is_away_what_failed() {
    let house = House::new("").await;
    assert_eq!(get(house.sidegate.public, "/", "").await.status, 401);
    let refused = house.collector.collected(1).await.remove(0);
    assert_eq!(
        (refused.get("sidegate.decision"), refused.get("sidegate.reason")),
        (Some("deny"), Some("token_missing"))
    );
    assert!(!refused.failed(), "the fault of a client is none of ours");

    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = protecting(&house.upstream, &house.issuer, &house.collector.yaml(""))
        .replace(&house.upstream.address.to_string(), &nobody.to_string());
    let away = Sidegate::start(&away).await;
    assert_eq!(get(away.public, "/", &house.issuer.token()).await.status, 503);
    let spans = house.collector.collected(3).await;
    let client = spans.iter().find(|told| told.is_client()).unwrap();
    assert_eq!(client.get("error.type"), Some("upstream_unavailable"));
    let server = spans.iter().find(|told| told.get("http.response.status_code") == Some("503")).unwrap();
    assert!(client.failed() && server.failed());
    assert_eq!(server.get("error.type"), Some("upstream_unavailable"));
}

#[tokio::test]
async fn nothing_that_a_client_sends_is_told_but_its_method_and_its_trace() {
    let house = House::new("").await;
    let token = house.issuer.token();
    let mut asked = request("CANARYMETHOD", "/canary-path?canary=query", &token);
    for (name, value) in [
        ("cookie", "canary-cookie=1"),
        ("user-agent", "canary-agent"),
        ("x-request-id", "canary-id"),
        ("tracestate", "canary=state"),
        ("host", "canary-host.test"),
        ("x-forwarded-for", "203.0.113.99"),
    ] {
        asked.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    asked.headers_mut().insert("traceparent", HeaderValue::from_str(&parent(TRACE, "01")).unwrap());
    send(house.sidegate.public, asked).await;
    let (server, _) = house.pair().await;
    assert_eq!((server.get("http.request.method"), server.span.name.as_str()), (Some("_OTHER"), "HTTP all"));
    let told = house.collector.messages().into_iter().flat_map(|message| message.body).collect::<Vec<u8>>();
    let told = String::from_utf8_lossy(&told).to_lowercase();
    let signature = token.rsplit('.').next().unwrap().to_lowercase();
    for secret in ["canary", "203.0.113.99", "ana@example.com", "\"ana\"", &signature] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

#[tokio::test]
async fn without_traces_a_client_s_trace_is_passed_on_as_it_came() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;
    let mut asked = request("GET", "/", &issuer.token());
    asked.headers_mut().insert("traceparent", HeaderValue::from_str(&parent(TRACE, "01")).unwrap());
    send(sidegate.public, asked).await;
    assert_eq!(upstream.last().header("traceparent"), Some(&*parent(TRACE, "01")));
}
