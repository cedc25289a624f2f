//! Renewals, and who waited for them.

use futures_util::future::join_all;

use super::collector::{Collector, Told};
use crate::{
    authority_token::house::{House, PASSWORD_THERE},
    support::{Upstream, get, request, send},
};

async fn house(collector: &Collector) -> House {
    House::with("", &format!("store: {{ memory: {{}} }}\n{}", collector.yaml(""))).await
}

fn named<'t>(spans: &'t [Told], name: &str) -> Vec<&'t Told> {
    spans.iter().filter(|told| told.span.name == name).collect()
}

#[tokio::test]
async fn a_renewal_is_linked_with_every_request_that_waited_for_it() {
    let collector = Collector::start().await;
    let house = house(&collector).await;
    let token = house.access().await;
    house.outside.hold(true);
    house.sidegate.time.advance(400);
    let replies = async {
        let waiting = join_all((0..3).map(|_| house.get(&token)));
        let release = async {
            house.until(async || house.outside.refreshes() == 1).await;
            house.until(async || house.sidegate.series(IN_FLIGHT).await == 3.0).await;
            // From there to the renewal they need microseconds.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            house.outside.hold(false);
        };
        futures_util::join!(waiting, release).0
    };
    assert!(replies.await.iter().all(|reply| reply.status == 200));
    // The sign-in and its question; three requests and their upstream; the renewal and its question.
    let spans = collector.collected(10).await;
    let [renewal] = named(&spans, "renew authority_token")[..] else { panic!("{spans:?}") };
    assert_eq!((renewal.span.kind, renewal.get("sidegate.result")), (1, Some("renewed")));
    assert!(renewal.span.parent_span_id.is_empty(), "it goes on whoever hangs up");
    let requests: Vec<_> = spans.iter().filter(|told| told.get("sidegate.route") == Some("all")).collect();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert!(request.is_linked_to(renewal) && renewal.is_linked_to(request), "{request:?}\n{renewal:?}");
    }
    let question = spans.iter().find(|told| told.span.parent_span_id == renewal.span.span_id).unwrap();
    assert!(question.is_client() && question.get("sidegate.upstream").is_none());
    assert_eq!(question.get("http.request.method"), Some("POST"));
}

#[tokio::test]
async fn a_sign_in_is_a_span_of_its_endpoint_with_the_question_to_the_authority() {
    let collector = Collector::start().await;
    let house = house(&collector).await;
    house.signed_in().await;
    let spans = collector.collected(2).await;
    let server = spans.iter().find(|told| told.is_server()).unwrap();
    assert_eq!(server.get("sidegate.endpoint"), Some("oauth2:token"), "{server:?}");
    let question = spans.iter().find(|told| told.is_client()).unwrap();
    assert_eq!(question.span.parent_span_id, server.span.span_id);
    let told = collector.messages().into_iter().flat_map(|message| message.body).collect::<Vec<u8>>();
    let told = String::from_utf8_lossy(&told);
    for secret in [PASSWORD_THERE, crate::oauth::house::SECRET, "canary", "ana"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

#[tokio::test]
async fn a_renewal_for_nobody_who_is_recorded_is_not_recorded() {
    let collector = Collector::start().await;
    let more = format!("store: {{ memory: {{}} }}\n{}", collector.yaml(", sample: 0"));
    let house = House::with("", &more).await;
    let token = house.access().await;
    house.sidegate.time.advance(400);
    assert_eq!(house.get(&token).await.status, 200);
    let mut asked = request("GET", "/", &token);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    asked.headers_mut().insert("traceparent", parent.parse().unwrap());
    send(house.sidegate.public, asked).await;
    let spans = collector.collected(2).await;
    assert!(spans.iter().all(|told| told.is_server() || told.get("sidegate.upstream") == Some("shown")), "{spans:?}");
}

#[tokio::test]
async fn a_question_to_an_issuer_belongs_to_the_request_that_needs_its_answer() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let issuer = Upstream::answering(|_| {
        let body = br#"{"active":true,"sub":"ana","aud":"orders-api","iss":"http://issuer.test"}"#;
        http::Response::new(http_body_util::Full::new(bytes::Bytes::from_static(body)))
    })
    .await;
    let secret = crate::support::issuer::scratch("asked").join("secret");
    std::fs::write(&secret, "0123456789abcdef").unwrap();
    let yaml = format!(
        "issuers:\n  - {{ name: corp, issuer: \"http://issuer.test\", algorithms: [], introspection: {{ endpoint: \"http://{}/introspect\", \
         client_id: sidegate, client_secret_file: {} }} }}\nupstreams: [{{ name: app, url: \"http://{}\", credential: {{ none: {{}} }} }}]\n\
         routes: [{{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}]\n{}",
        issuer.address,
        secret.display(),
        upstream.address,
        collector.yaml("")
    );
    let sidegate = crate::support::Sidegate::start(&yaml).await;
    assert_eq!(get(sidegate.public, "/", "opaque-canary").await.status, 200);
    let spans = collector.collected(3).await;
    let server = spans.iter().find(|told| told.is_server()).unwrap();
    let port = issuer.address.port().to_string();
    let question = spans.iter().find(|told| told.get("server.port") == Some(&port)).unwrap();
    assert_eq!(question.span.parent_span_id, server.span.span_id);
}

const IN_FLIGHT: &str = "sidegate_http_requests_in_flight{listener=\"main\"}";
