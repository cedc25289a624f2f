//! Renewals that outlive a request, a configuration or the process that serves, and what is told of them.

use std::time::Duration;

use serde_json::json;
use sidegate::session::{Filter, Session};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::house::{House, Outside, yaml};
use crate::{
    oauth::{audited::events, house::sessions},
    support::{Sidegate, Upstream, log::written, must},
};

const STORE: &str = "store: { memory: {} }\n";

async fn session(house: &House) -> Session {
    sessions(&house.sidegate).list(Filter::default(), None, 10).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_renewal_lands_though_the_client_has_hung_up() {
    let house = House::new().await;
    let token = house.access().await;
    house.sidegate.time.advance(300);
    house.outside.hold(true);
    let mut stream = TcpStream::connect(house.sidegate.public).await.unwrap();
    stream
        .write_all(format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    house.until(async || house.outside.refreshes() == 1).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(20)).await;
    house.outside.hold(false);
    house.until(async || session(&house).await.state.vouched.unwrap().generation == 2).await;
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-2");
    assert_eq!(house.outside.refreshes(), 1);
}

#[tokio::test]
async fn a_refresh_token_is_shown_to_no_authority_but_the_one_that_gave_it() {
    let (outside, upstream) = (Outside::start().await, Upstream::start().await);
    let written = yaml(&outside, &upstream, "", STORE);
    let house = House { sidegate: Sidegate::start(&written).await, outside, upstream };
    let signed_in = house.signed_in().await.json();
    let refresh = signed_in["refresh_token"].as_str().unwrap();
    let token = signed_in["access_token"].as_str().unwrap();
    // The operator names another authority, for which this one's tokens are nothing.
    let another = Outside::start().await;
    house.sidegate.reload(&yaml(&another, &house.upstream, "", STORE)).await;
    assert_eq!(house.refreshed(refresh).await.status, 400);
    house.sidegate.time.advance(300);
    assert_eq!(house.get(token).await.status, 401);
    assert_eq!((another.refreshes(), house.outside.refreshes()), (0, 0));
}

#[tokio::test]
async fn a_reload_joins_the_renewals_that_are_under_way() {
    let (outside, upstream) = (Outside::start().await, Upstream::start().await);
    let written = yaml(&outside, &upstream, "", STORE);
    let house = House { sidegate: Sidegate::start(&written).await, outside, upstream };
    let token = house.access().await;
    house.sidegate.time.advance(300);
    house.outside.hold(true);
    let before = async { house.get(&token).await };
    let after = async {
        house.until(async || house.outside.refreshes() == 1).await;
        house.sidegate.reload(&written).await;
        let request = house.get(&token);
        let release = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            house.outside.hold(false);
        };
        tokio::join!(request, release).0
    };
    let (before, after) = tokio::join!(before, after);
    assert_eq!((before.status.as_u16(), after.status.as_u16()), (200, 200));
    assert_eq!(house.outside.refreshes(), 1);
}

#[tokio::test]
async fn a_drain_waits_for_renewals_that_no_request_waits_for() {
    let house = House::with("", &format!("{STORE}drain: {{ delay: 0s, timeout: 30s }}\n")).await;
    let token = house.access().await;
    house.sidegate.time.advance(280);
    house.outside.hold(true);
    assert_eq!(house.get(&token).await.status, 200);
    house.until(async || house.outside.refreshes() == 1).await;
    house.sidegate.app.begin_drain();
    let mut drained = tokio::spawn(house.sidegate.app.drained());
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut drained).await.is_err());
    house.outside.hold(false);
    must(drained).await.unwrap();
    assert_eq!(session(&house).await.state.vouched.unwrap().generation, 2);
}

#[tokio::test]
async fn an_authority_that_refuses_us_is_told_once_and_ends_no_session() {
    written();
    let house = House::new().await;
    let (one, other) = (house.access().await, house.access().await);
    house.outside.broken(401, None, json!({"error": "invalid_client"}));
    house.sidegate.time.advance(300);
    for token in [&one, &other, &one] {
        assert_eq!(house.get(token).await.status, 503);
    }
    let told = || written().text().lines().filter(|line| line.contains("refuses sidegate itself")).count();
    assert_eq!(told(), 1);
    house.outside.mended();
    house.sidegate.time.advance(2);
    for token in [&one, &other] {
        assert_eq!(house.get(token).await.status, 200);
    }
    assert!(written().text().contains("answers again"));
    let series = |reason: &str, result: &str| {
        format!("sidegate_renewals_total{{kind=\"authority\",reason=\"{reason}\",result=\"{result}\"}}")
    };
    assert_eq!(house.sidegate.series(&series("refreshed", "renewed")).await, 2.0);
    assert!(house.sidegate.series(&series("misconfigured", "failed")).await >= 2.0);
}

#[tokio::test]
async fn an_authority_in_trouble_is_not_flooded() {
    let house = House::new().await;
    let token = house.access().await;
    house.outside.broken(429, Some("30"), json!({}));
    house.sidegate.time.advance(300);
    for _ in 0..20 {
        assert_eq!(house.get(&token).await.status, 503);
    }
    assert_eq!(house.outside.refreshes(), 1);
    house.outside.mended();
    house.sidegate.time.advance(30);
    assert_eq!(house.get(&token).await.status, 200);
}

#[tokio::test]
async fn each_renewal_is_one_line_of_the_audit_stream_without_a_secret() {
    written();
    let house = House::new().await;
    let token = house.access().await;
    house.sidegate.time.advance(300);
    house.get(&token).await;
    house.sidegate.time.advance(300);
    house.outside.broken(503, None, json!({"error": "canary"}));
    house.get(&token).await;
    house.outside.mended();
    house.outside.forget();
    house.sidegate.time.advance(5);
    house.get(&token).await;
    let told: Vec<_> = events("app").iter().map(|line| (line["event"].clone(), line["reason"].clone())).collect();
    assert_eq!(
        told[1..],
        [
            (json!("authority_renewed"), json!("refreshed")),
            (json!("authority_not_renewed"), json!("unavailable")),
            (json!("authority_ended"), json!("invalid_grant")),
        ]
    );
    let text = written().text();
    assert!(!text.contains("canary"), "{:?}", text.lines().find(|line| line.contains("canary")));
    assert!(!house.sidegate.health("/metrics").await.text().contains("canary"));
}
