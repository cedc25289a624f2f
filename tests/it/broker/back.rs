//! A return counts in the browser that was sent away, for what it was sent away with, and once (S03, S07, S43).

use super::{APP, CALLBACK, House, assert_page, assert_told, provider::query};
use crate::{
    oauth::browser::answer,
    support::{request, send},
};

#[tokio::test]
async fn a_return_that_does_not_belong_to_this_browser_is_a_page_and_goes_nowhere() {
    let house = House::new().await;
    let victim = house.browser();
    let attacker = house.browser();
    let sent = house.away(&attacker, APP).await;
    let back = house.provider.sign_in(&sent);
    assert_page(&victim.visit(&format!("{CALLBACK}?{back}")).await, 403);
    house.away(&victim, APP).await;
    assert_page(&victim.visit(&format!("{CALLBACK}?{back}")).await, 403);
    assert_eq!(house.provider.asked(), 0);
    let own = query(&[("code", "x"), ("state", "x"), ("iss", &house.provider.issuer)]);
    assert_page(&victim.visit(&format!("{CALLBACK}?{own}")).await, 403);
    assert_page(&victim.visit(&format!("{CALLBACK}?code=x&redirect_uri=https://evil.test")).await, 403);
    assert_page(&victim.visit(CALLBACK).await, 403);
}

#[tokio::test]
async fn a_cookie_is_opened_by_its_own_state_alone() {
    let house = House::new().await;
    let browser = house.browser();
    let first = house.away(&browser, APP).await;
    let planted: Vec<String> = browser.cookies.borrow().values().cloned().collect();
    let second = house.away(&browser, APP).await;
    browser.cookies.borrow_mut().values_mut().for_each(|value| value.clone_from(&planted[0]));
    assert_page(&browser.visit(&format!("{CALLBACK}?{}", house.provider.sign_in(&second))).await, 403);
    let told = browser.visit(&format!("{CALLBACK}?{}", house.provider.sign_in(&first))).await;
    assert_eq!(told.status, 302);
}

#[tokio::test]
async fn a_return_counts_once_even_with_a_cookie_that_was_kept() {
    let house = House::new().await;
    let browser = house.browser();
    let sent = house.away(&browser, APP).await;
    let kept = browser.cookies.borrow().clone();
    let back = format!("{CALLBACK}?{}", house.provider.sign_in(&sent));
    assert_eq!(browser.visit(&back).await.status, 302);
    assert_page(&browser.visit(&back).await, 403);
    *browser.cookies.borrow_mut() = kept;
    assert_page(&browser.visit(&back).await, 403);
    assert_eq!(house.provider.asked(), 1);
}

#[tokio::test]
async fn a_return_that_comes_too_late_offers_to_start_again() {
    let house = House::new().await;
    let browser = house.browser();
    let sent = house.away(&browser, APP).await;
    house.sidegate.time.advance(15 * 60);
    let page = browser.visit(&format!("{CALLBACK}?{}", house.provider.sign_in(&sent))).await;
    assert_page(&page, 400);
    assert!(page.text().contains("href=\".&#x2f;authorize?client_id=app"), "{}", page.text());
    assert_eq!(house.provider.asked(), 0);
}

#[tokio::test]
async fn a_repeated_parameter_is_refused_whatever_it_says() {
    let house = House::new().await;
    let browser = house.browser();
    let sent = house.away(&browser, APP).await;
    let back = house.provider.sign_in(&sent);
    for name in ["code", "state", "iss", "error", "x"] {
        let twice = format!("{CALLBACK}?{back}&{name}=1&{name}=2");
        assert_page(&browser.visit(&twice).await, 400);
    }
    assert_eq!(browser.visit(&format!("{CALLBACK}?{back}")).await.status, 302, "nothing was spent");
}

#[tokio::test]
async fn a_return_that_says_nothing_is_the_provider_s_fault() {
    let house = House::new().await;
    let browser = house.browser();
    let sent = house.away(&browser, APP).await;
    let back = query(&[("state", &sent["state"]), ("iss", &house.provider.issuer)]);
    assert_told(&browser.visit(&format!("{CALLBACK}?{back}")).await, "server_error");
}

#[tokio::test]
async fn only_get_comes_back() {
    let house = House::new().await;
    for method in ["POST", "HEAD", "PUT"] {
        let reply = send(house.sidegate.public, request(method, CALLBACK, "")).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("GET")), "{method}");
    }
}

#[tokio::test]
async fn a_flood_of_made_up_codes_does_not_become_one_at_the_provider() {
    let house = House::new().await;
    let browser = house.browser();
    for _ in 0..70 {
        let sent = house.away(&browser, APP).await;
        let back = query(&[("code", "made-up"), ("state", &sent["state"]), ("iss", &house.provider.issuer)]);
        let told = browser.visit(&format!("{CALLBACK}?{back}")).await;
        if answer(&told).1["error"] == "temporarily_unavailable" {
            assert!(house.provider.asked() >= 50);
            return;
        }
    }
    panic!("each of {} codes was asked about", house.provider.asked());
}
