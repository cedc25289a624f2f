//! An operator who has mended what was wrong, and an authority that says when to come back.

use serde_json::json;

use super::house::{House, Outside, yaml};
use crate::{
    oauth::house::{assert_refused, text},
    support::{Sidegate, Upstream},
};

const STORE: &str = "store: { memory: {} }\n";

#[tokio::test]
async fn whoever_mends_the_settings_need_not_wait_until_what_failed_has_rested() {
    let (outside, upstream) = (Outside::start().await, Upstream::start().await);
    let sidegate = Sidegate::start(&yaml(&outside, &upstream, "", STORE)).await;
    let house = House { sidegate, outside, upstream };
    let token = house.access().await;
    house.sidegate.time.advance(300);
    house.outside.broken(401, None, json!({"error": "invalid_client"}));
    // One failure after the other, until the rest is too long for the real clock to matter.
    let mut rest = 0;
    for _ in 0..20 {
        house.sidegate.time.advance(rest);
        let refused = house.get(&token).await;
        assert_eq!(refused.status, 503);
        rest = refused.header("retry-after").unwrap().parse().unwrap();
        if rest >= 15 {
            break;
        }
    }
    assert!(rest >= 15);
    house.outside.mended();
    assert_eq!(house.get(&token).await.status, 503, "it rests");
    let asked = house.outside.refreshes();
    house.sidegate.reload(&yaml(&house.outside, &house.upstream, ", timeout: 4s", STORE)).await;
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.outside.refreshes(), asked + 1);
}

#[tokio::test]
async fn an_authority_that_says_when_it_is_back_is_asked_then_and_clients_are_told() {
    let house = House::new().await;
    let reply = house.signed_in().await;
    let (token, refresh) = (text(&reply, "access_token"), text(&reply, "refresh_token"));
    house.sidegate.time.advance(300);
    house.outside.broken(503, Some("40"), json!({}));
    let refused = house.refreshed(&refresh).await;
    assert_refused(&refused, 503, "temporarily_unavailable");
    assert_eq!(refused.header("retry-after"), Some("40"));
    for refused in [house.get(&token).await, house.get(&token).await] {
        assert_eq!(refused.status, 503);
        let rest: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((30..=40).contains(&rest), "{rest}");
    }
    let asked = house.outside.refreshes();
    house.outside.mended();
    house.sidegate.time.advance(25);
    assert_eq!(house.get(&token).await.status, 503);
    assert_eq!(house.outside.refreshes(), asked);
    house.sidegate.time.advance(20);
    assert_eq!(house.get(&token).await.status, 200);
}
