//! Several tabs of one browser at once, and what their cookies are like.

use super::{APP, CALLBACK, House, assert_told, provider::sent};
use crate::support::Upstream;

#[tokio::test]
async fn two_tabs_sign_in_at_once_and_come_back_in_any_order() {
    let house = House::new().await;
    let browser = house.browser();
    let first = house.away(&browser, APP).await;
    let second = house.away(&browser, "client_id=asks&response_type=code&scope=orders").await;
    assert_eq!(browser.cookies.borrow().len(), 2);
    let page = browser.visit(&format!("{CALLBACK}?{}", house.provider.sign_in(&second))).await;
    assert_eq!(page.status, 200);
    let told = browser.visit(&format!("{CALLBACK}?{}", house.provider.sign_in(&first))).await;
    assert_eq!(told.status, 302);
    assert_eq!(house.redeem(&told).await.status, 200);
}

#[tokio::test]
async fn the_oldest_of_many_tabs_is_given_up() {
    let house = House::new().await;
    let browser = house.browser();
    let mut tabs = Vec::new();
    for _ in 0..9 {
        tabs.push(house.away(&browser, APP).await);
        house.sidegate.time.advance(1);
    }
    assert_eq!(browser.cookies.borrow().len(), 6);
    for (tab, status) in [(0, 403), (2, 403), (3, 302), (8, 302)] {
        let reply = browser.visit(&format!("{CALLBACK}?{}", house.provider.sign_in(&tabs[tab]))).await;
        assert_eq!(reply.status, status, "{tab}");
    }
}

#[tokio::test]
async fn the_cookie_is_of_this_host_alone_and_no_upstream_sees_it() {
    let house = House::new().await;
    let reply = house.browser().get(APP).await;
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("sidegate-away-"), "{cookie}");
    for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=900"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    assert!(!cookie.contains(&sent(&reply).1["state"]), "the cookie alone is worth nothing");
    let upstream = Upstream::start().await;
    let yaml =
        super::yaml(&house.provider, &upstream, "").replace("issuer: http://127.0.0.1:8080", "issuer: https://as.test");
    let secure = crate::support::Sidegate::start(&yaml).await;
    let reply = crate::oauth::browser::Browser::new(&secure).get(APP).await;
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-sidegate-away-") && cookie.contains("; Secure; Path=/;"), "{cookie}");
    assert_eq!(sent(&reply).1["redirect_uri"], format!("https://as.test{CALLBACK}"));
}

#[tokio::test]
async fn a_request_that_no_cookie_can_hold_is_refused() {
    let house = House::new().await;
    let query = format!("{APP}&login_hint={}", "x".repeat(3000));
    assert_told(&house.browser().get(&query).await, "invalid_request");
}
