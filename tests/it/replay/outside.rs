//! The token of an authority outside, of which each refresh token is good for one use.

use futures_util::future::join_all;
use serde_json::json;

use super::{REFUSAL, refusal, refusing_the_first};
use crate::{
    authority_token::house::{House, Outside, yaml},
    support::{Scripted, Sidegate, Upstream, Wire, client::request, get, look::assert_invalid_token, send},
};

async fn before(upstream: Upstream, more: &str, route: &str) -> House {
    let outside = Outside::start().await;
    let yaml = yaml(&outside, &upstream, "", &format!("store: {{ memory: {{}} }}\n{more}"));
    let yaml = yaml.replace("name: all, ", &format!("name: all, {route}"));
    let sidegate = Sidegate::start(&yaml).await;
    House { outside, upstream, sidegate }
}

/// In front of an upstream that refuses the first token it is shown, now and later.
async fn house() -> House {
    before(Upstream::answering(refusing_the_first()).await, "", "").await
}

/// In front of one that refuses them all.
async fn refusing() -> House {
    before(Upstream::answering(|_| refusal()).await, "", "").await
}

async fn forced(house: &House, result: &str) -> f64 {
    let series = format!("sidegate_forced_renewals_total{{credential=\"authority_token\",result=\"{result}\"}}");
    house.sidegate.series(&series).await
}

fn shown(house: &House) -> Vec<String> {
    let seen = house.upstream.seen();
    seen.iter()
        .map(|seen| seen.header("authorization").unwrap().strip_prefix("Bearer canary-at-").unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_token_that_the_upstream_refuses_is_redeemed_once_and_the_request_sent_once_more() {
    for http2 in [false, true] {
        let house = if http2 {
            let upstream = Upstream::http2(refusing_the_first()).await;
            let outside = Outside::start().await;
            let yaml = yaml(&outside, &upstream, "", "store: { memory: {} }\n");
            let sidegate = Sidegate::start(&yaml.replace("name: shown, ", "name: shown, protocol: http2, ")).await;
            House { outside, upstream, sidegate }
        } else {
            house().await
        };
        let token = house.access().await;
        let asked = request("POST", "/a?b", &token).map(|_| http_body_util::Full::new("some body".into()));
        assert_eq!(send(house.sidegate.public, asked).await.status, 200);
        assert_eq!((shown(&house), house.outside.refreshes()), (vec!["1".to_owned(), "2".to_owned()], 1));
        assert!(house.upstream.seen().iter().all(|seen| seen.body == "some body" && seen.target == "/a?b"));
        assert_eq!(house.get(&token).await.status, 200);
        assert_eq!((house.shown().as_str(), house.outside.refreshes()), ("Bearer canary-at-2", 1));
        assert_eq!(forced(&house, "renewed").await, 1.0);
        assert_eq!(house.sidegate.series("sidegate_replays_total{result=\"accepted\",route=\"all\"}").await, 1.0);
    }
}

#[tokio::test]
async fn many_requests_that_are_refused_at_once_redeem_once_and_all_go_through() {
    let house = house().await;
    let token = house.access().await;
    let replies = join_all((0..64).map(|_| house.get(&token))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!((house.outside.refreshes(), forced(&house, "renewed").await), (1, 1.0));
}

#[tokio::test]
async fn an_upstream_that_refuses_everything_has_the_authority_asked_once_in_30_seconds() {
    let house = refusing().await;
    let (token, other) = (house.access().await, house.access().await);
    for round in 1..=3 {
        for _ in 0..4 {
            let replies = join_all((0..4).map(|_| house.get(&token))).await;
            assert!(replies.iter().all(|reply| reply.status == 401 && reply.text() == "who are you?"));
        }
        assert_eq!(house.outside.refreshes(), round);
        // The clock goes on by itself as well.
        house.sidegate.time.advance(15);
        house.get(&token).await;
        assert_eq!(house.outside.refreshes(), round, "within 30 seconds");
        house.sidegate.time.advance(15);
    }
    assert_eq!(forced(&house, "renewed").await, 3.0);
    // Of another session nothing was said.
    house.get(&other).await;
    assert_eq!(house.outside.refreshes(), 4);
}

#[tokio::test]
async fn a_client_that_hangs_up_while_its_request_waits_loses_nothing() {
    let house = house().await;
    let token = house.access().await;
    house.outside.hold(true);
    let mut client = Wire::connect(house.sidegate.public).await;
    client.say(format!("GET / HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n\r\n")).await;
    house.until(async || house.outside.refreshes() == 1).await;
    drop(client);
    house.outside.hold(false);
    house.until(async || forced(&house, "renewed").await == 1.0).await;
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!((house.shown().as_str(), house.outside.refreshes()), ("Bearer canary-at-2", 1));
}

#[tokio::test]
async fn while_the_authority_is_away_the_401_goes_to_the_client_and_the_session_lives() {
    let house = house().await;
    let token = house.access().await;
    house.outside.broken(503, None, json!({}));
    for _ in 0..5 {
        let reply = house.get(&token).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (401, "who are you?"));
        house.sidegate.time.advance(5);
    }
    assert_eq!((house.outside.refreshes(), forced(&house, "failed").await), (1, 1.0));
    house.outside.mended();
    house.sidegate.time.advance(30);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.shown(), "Bearer canary-at-2");
}

#[tokio::test]
async fn an_authority_that_is_too_slow_helps_those_who_come_next() {
    let house = before(Upstream::answering(refusing_the_first()).await, "refresh: { wait: 100ms }\n", "").await;
    let token = house.access().await;
    house.outside.hold(true);
    assert_eq!(house.get(&token).await.text(), "who are you?");
    house.outside.hold(false);
    house.until(async || forced(&house, "renewed").await == 1.0).await;
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.outside.refreshes(), 1);
}

#[tokio::test]
async fn if_the_authority_ends_the_session_the_answer_is_about_the_client_s_own_token() {
    let house = refusing().await;
    let token = house.access().await;
    house.outside.forget();
    assert_invalid_token(&house.get(&token).await);
    assert_eq!(house.upstream.count(), 1);
    assert_invalid_token(&house.get(&token).await);
    assert_eq!((house.upstream.count(), house.outside.refreshes(), forced(&house, "ended").await), (1, 1, 1.0));
}

#[tokio::test]
async fn the_same_token_once_more_is_not_worth_another_request() {
    let house = refusing().await;
    house.outside.same();
    let token = house.access().await;
    assert_eq!(house.get(&token).await.text(), "who are you?");
    assert_eq!((house.upstream.count(), house.outside.refreshes()), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_renewed_is_left_as_the_upstream_says() {
    let house = refusing().await;
    house.outside.bare();
    let token = house.access().await;
    for _ in 0..3 {
        assert_eq!(house.get(&token).await.text(), "who are you?");
    }
    assert_eq!((house.upstream.count(), house.outside.refreshes(), forced(&house, "failed").await), (3, 0, 1.0));
}

#[tokio::test]
async fn a_body_that_is_too_long_goes_once_and_the_token_is_renewed_for_the_next() {
    let upstream = Upstream::answering(refusing_the_first()).await;
    let house = before(upstream, "", "replay: { max_body_bytes: 4B }, ").await;
    let token = house.access().await;
    let asked = || request("POST", "/", &token).map(|_| http_body_util::Full::new("12345".into()));
    assert_eq!(send(house.sidegate.public, asked()).await.text(), "who are you?");
    house.until(async || forced(&house, "renewed").await == 1.0).await;
    assert_eq!(send(house.sidegate.public, asked()).await.status, 200);
    assert_eq!((house.upstream.count(), house.outside.refreshes()), (2, 1));
}

#[tokio::test]
async fn a_session_that_ends_while_the_upstream_is_busy_has_nothing_sent_once_more() {
    let house = refusing().await;
    let first = house.signed_in().await;
    let token = crate::oauth::house::text(&first, "access_token");
    house.outside.hold(true);
    let (reply, ()) = tokio::join!(get(house.sidegate.public, "/", &token), async {
        house.until(async || house.outside.refreshes() == 1).await;
        let body = format!("token={token}&client_id=app&client_secret={}", crate::oauth::house::SECRET);
        send(house.sidegate.public, crate::oauth::house::form("/oauth20/revoke", &body, &[])).await;
        house.outside.hold(false);
    });
    assert_invalid_token(&reply);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn renewals_by_force_take_half_of_the_places_at_the_authority_and_leave_the_others_to_those_that_are_due() {
    let (outside, upstream) = (Outside::start().await, Upstream::answering(|_| refusal()).await);
    let yaml = yaml(&outside, &upstream, ", max_concurrent: 2", "store: { memory: {} }\n");
    let sidegate = Sidegate::start(&yaml).await;
    let house = House { outside, upstream, sidegate };
    let due = house.access().await;
    house.sidegate.time.advance(250);
    let refused = join_all((0..4).map(|_| house.access())).await;
    house.outside.hold(true);
    let (asked, _) = tokio::join!(join_all(refused.iter().map(|token| house.get(token))), async {
        house.until(async || house.outside.refreshes() == 1).await;
        house.sidegate.time.advance(50);
        let renewed = house.get(&due);
        let (_, ()) = tokio::join!(renewed, async {
            house.until(async || house.outside.refreshes() == 2).await;
            house.outside.hold(false);
        });
    });
    assert!(asked.iter().all(|reply| reply.status == 401));
}

#[tokio::test]
async fn an_internal_token_is_not_minted_anew_for_a_session_that_has_ended() {
    let (outside, idle, upstream) = (Outside::start().await, Upstream::start().await, Scripted::start().await);
    let yaml = yaml(&outside, &idle, "", "store: { memory: {} }\n");
    let yaml = yaml.replace(&idle.address.to_string(), &upstream.address.to_string());
    let house = House { outside, upstream: idle, sidegate: Sidegate::start(&yaml).await };
    let token = house.access().await;
    let mut client = Wire::connect(house.sidegate.public).await;
    client.say(format!("GET /jwt HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n\r\n")).await;
    let mut answering = upstream.next().await;
    answering.head().await;
    let body = format!("token={token}&client_id=app&client_secret={}", crate::oauth::house::SECRET);
    assert_eq!(send(house.sidegate.public, crate::oauth::house::form("/oauth20/revoke", &body, &[])).await.status, 200);
    answering.say(REFUSAL).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 401") && head.contains("error=\"invalid_token\""), "{head}");
    assert!(upstream.is_untouched().await);
}
