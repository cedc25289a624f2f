//! What operators see of it, and what nobody does.

use serde_json::{Value, json};

use super::house::{By, House, IMPATIENT, dead};
use crate::support::{
    authority::{CANARY, Mood},
    log::written,
};

#[tokio::test]
async fn operators_see_how_it_stands_and_never_the_token() {
    written();
    let house = House::with(By::Password, IMPATIENT, |_| ()).await;
    house.kept(1).await;
    house.sidegate.time.advance(100);
    let status = house.status().await;
    let place = format!("http://{}/oauth20/token", house.authority.address);
    assert_eq!((&status["dialect"], &status["place"]), (&json!("oauth2"), &json!(place)));
    assert_eq!(
        (&status["valid"], &status["degraded"], &status["last_error"]),
        (&json!(true), &json!(false), &Value::Null)
    );
    assert!((100..=102).contains(&status["age"].as_u64().unwrap()), "{status}");
    assert!((3498..=3500).contains(&status["expires_in"].as_u64().unwrap()), "{status}");
    // The issuer's keys may still be on their way.
    house.until(async || house.degraded().await == json!([])).await;
    let page = house.sidegate.status_page("localhost", "text/html").await;
    assert!(page.text().contains("good for 58 minutes"), "{}", page.text());

    house.authority.is(Mood::Status(500));
    house.sidegate.time.advance(3445);
    house.until(async || house.status().await["degraded"] == true).await;
    let status = house.status().await;
    assert_eq!((&status["valid"], &status["last_error"]), (&json!(true), &json!("the authority answered 500")));
    assert!(status["again_in"].as_u64().unwrap() <= 2, "{status}");
    assert_eq!(house.degraded().await, json!([{"upstream": "vendor", "reason": "the authority answered 500"}]));

    house.authority.is(Mood::InvalidClient);
    house.sidegate.time.advance(600);
    assert_eq!(house.get("/").await.status, 503);
    house.until(async || house.status().await["last_error"].to_string().contains("401")).await;
    assert_eq!(house.status().await["valid"], false);
    house.authority.is(Mood::Good);
    house.sidegate.time.advance(31);
    house.kept(2).await;
    assert_eq!(house.get("/").await.status, 200);

    let text = written().text();
    let told = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!((told("the service token cannot be had"), told("the service token is renewed again")), (1, 1));
    let page = house.sidegate.health("/metrics").await;
    let readyz = house.sidegate.health("/readyz").await;
    let status = house.sidegate.status_page("localhost", "application/json").await;
    for shown in [&text, page.text(), readyz.text(), status.text()] {
        assert!(!shown.contains(CANARY), "{:?}", shown.lines().find(|line| line.contains(CANARY)));
    }
}

#[tokio::test]
async fn while_there_is_none_the_upstream_is_degraded_and_sidegate_is_ready() {
    let house = House::with(By::ClientCredentials, IMPATIENT, dead).await;
    house.asked(1).await;
    house.until(async || house.degraded().await[0]["reason"].to_string().contains("the authority")).await;
    assert_eq!(house.degraded().await[0]["upstream"], "vendor");
    let valid = "sidegate_service_token_valid{upstream=\"vendor\"}";
    let ends = "sidegate_service_token_expires_timestamp_seconds{upstream=\"vendor\"}";
    assert_eq!((house.sidegate.series(valid).await, house.sidegate.series(ends).await), (0.0, 0.0));
    // It is told apart from the authority that vouches for users.
    let asked = "sidegate_authority_requests_total{authority=\"service:vendor\",dialect=\"oauth2\",\
                 grant=\"client_credentials\",result=\"temporarily_unavailable\"}";
    assert!(house.sidegate.series(asked).await >= 1.0);
    let closed = "sidegate_authority_breaker_state{authority=\"service:vendor\",state=\"closed\"}";
    assert_eq!(house.sidegate.series(closed).await, 1.0);
    let failed = "sidegate_renewals_total{kind=\"service\",reason=\"unavailable\",result=\"failed\"}";
    assert!(house.sidegate.series(failed).await >= 1.0);
    house.authority.is(Mood::Good);
    house.sidegate.time.advance(31);
    house.kept(1).await;
    assert_eq!(house.degraded().await, json!([]));
    assert_eq!(house.sidegate.series(valid).await, 1.0);
    let end = house.sidegate.time.now().plus(3600).0 as f64;
    assert!((end - house.sidegate.series(ends).await).abs() < 10.0);
}

#[tokio::test]
async fn each_renewal_is_one_line_of_the_audit_stream() {
    written();
    let house = House::with(By::ClientCredentials, IMPATIENT, |_| ()).await;
    house.kept(1).await;
    house.authority.is(Mood::InvalidClient);
    house.sidegate.time.advance(3600);
    house.asked(2).await;
    house.until(async || !house.status().await["last_error"].is_null()).await;
    house.authority.is(Mood::Good);
    house.sidegate.time.advance(2);
    house.kept(2).await;
    let lines = written().text();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told: Vec<_> = lines
        .filter(|line| line["target"] == "sidegate::audit" && line["upstream"] == "vendor")
        .map(|line| json!([line["event"], line["reason"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["service_renewed", "obtained"]),
            json!(["service_not_renewed", "misconfigured"]),
            json!(["service_renewed", "obtained"]),
        ]
    );
}

#[tokio::test]
async fn explain_says_what_the_upstream_would_see_and_asks_nobody() {
    let house = House::new(By::ClientCredentials).await;
    house.kept(1).await;
    let (text, machine) = house.sidegate.explained(&house.token()).await;
    let says =
        format!("the service token that the serving process gets by oauth2 at http://{}", house.authority.address);
    assert!(text.contains(&says), "{text}");
    assert!(text.contains("authorization: Bearer …"), "{text}");
    assert!(!text.contains(CANARY) && !machine.contains(CANARY));

    // Beside the process that serves nothing is asked.
    let written = super::house::yaml(&house.issuer, &house.upstream, &By::ClientCredentials.yaml(&house.authority), "");
    let config = crate::support::sidegate::parse(&written);
    let time = sidegate::model::Time::default();
    let alone = sidegate::app::App::gate_alone(config, &time, &tokio::runtime::Handle::current()).unwrap();
    let question = crate::support::sidegate::question("/", &house.token());
    let report = sidegate::explain::explain(&alone, question).await.unwrap();
    let sight = report.upstream.expect("it would be forwarded");
    assert!(sight.credential.starts_with("the service token"), "{}", sight.credential);
    assert_eq!(house.authority.asked().len(), 1);
    assert_eq!(house.upstream.count(), 0);
}
