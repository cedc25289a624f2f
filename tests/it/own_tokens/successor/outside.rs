//! Sessions that an authority outside vouches for: it must go on doing so.

use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::{
    authority_token::house::{House, Outside, yaml},
    own_tokens::successor::house::{MINUTE, successor},
    support::{Reply, Sidegate, Upstream, look::assert_invalid_token, send},
};

async fn house() -> House {
    let (outside, upstream) = (Outside::start().await, Upstream::start().await);
    let grants = "grants: [password, client_credentials, refresh_token]";
    let more = "access_token: { renewal: successor, format: jwt, lifetime: 1h }";
    let yaml =
        yaml(&outside, &upstream, "", "store: { memory: {} }\n").replacen(grants, &format!("{grants}, {more}"), 1);
    House { sidegate: Sidegate::start(&yaml).await, outside, upstream }
}

/// Where the upstream is shown a token of ours, so that only the successor needs the authority.
async fn ask(house: &House, token: &str) -> Reply {
    let request = Request::get("/jwt").header("host", "api.test").header("authorization", format!("Bearer {token}"));
    send(house.sidegate.public, request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn a_successor_comes_after_the_authority_has_vouched_anew() {
    let house = house().await;
    let token = house.access().await;
    assert_eq!(successor(&ask(&house, &token).await), None);
    assert_eq!(house.outside.refreshes(), 0);
    house.sidegate.time.advance(40 * MINUTE);
    house.until(async || successor(&ask(&house, &token).await).is_some()).await;
    assert_eq!(house.outside.refreshes(), 1);
    let next = successor(&ask(&house, &token).await).unwrap();
    assert_eq!((ask(&house, &next).await.status.as_u16(), house.outside.refreshes()), (200, 1));
}

#[tokio::test]
async fn an_authority_that_is_away_fails_no_request_whose_token_is_good() {
    let house = house().await;
    let token = house.access().await;
    house.sidegate.time.advance(40 * MINUTE);
    house.outside.broken(503, None, json!({}));
    for _ in 0..3 {
        let reply = ask(&house, &token).await;
        assert_eq!((reply.status.as_u16(), successor(&reply)), (200, None));
    }
    house.outside.mended();
    let again = async || {
        house.sidegate.time.advance(5);
        successor(&ask(&house, &token).await).is_some()
    };
    house.until(again).await;
}

#[tokio::test]
async fn a_session_that_the_authority_has_ended_has_no_successor_and_is_over() {
    let house = house().await;
    let token = house.access().await;
    assert_eq!(successor(&ask(&house, &token).await), None);
    house.sidegate.time.advance(40 * MINUTE);
    house.outside.forget();
    house.until(async || ask(&house, &token).await.status == 401).await;
    assert_invalid_token(&ask(&house, &token).await);
}
