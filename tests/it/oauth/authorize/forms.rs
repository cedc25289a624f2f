//! What a form of ours is good for: one browser, one purpose, a while.

use super::{super::browser::hidden, *};

/// S07.
#[tokio::test]
async fn a_form_from_another_browser_is_refused() {
    let (sidegate, browser) = start("").await;
    let page = browser.get(APP).await;
    let other = Browser::new(&sidegate);
    assert_page(&other.submit(&page, &ALICE).await, 403);
    other.get(APP).await;
    assert_page(&other.submit(&page, &ALICE).await, 403);
    let consent = browser.submit(&browser.get("client_id=asks&response_type=code").await, &ALICE).await;
    assert_page(&other.submit(&consent, &[("decision", "allow")]).await, 403);
    assert_redirect(&browser.submit(&page, &ALICE).await, 303);
}

/// Row "form without or with a wrong anti-forgery token".
#[tokio::test]
async fn a_form_that_is_not_ours_is_refused() {
    let (_sidegate, browser) = start("").await;
    let good = hidden(&browser.get(APP).await);
    let last = if good.ends_with('A') { 'B' } else { 'A' };
    let changed = format!("{}{last}", &good[..good.len() - 1]);
    for form in ["x", "AAAA", &changed, &good[..20], &format!("{good}AAAA")] {
        let fields = [("form", form), ALICE[0], ALICE[1]];
        assert_page(&browser.post(&fields).await, 403);
    }
    browser.cookies.borrow_mut().clear();
    assert_page(&browser.post(&[("form", &good), ALICE[0], ALICE[1]]).await, 403);
}

#[tokio::test]
async fn a_form_of_another_start_is_refused() {
    let (_sidegate, browser) = start("").await;
    let page = browser.get(APP).await;
    let again = Sidegate::start(&yaml("")).await;
    let elsewhere = Browser::new(&again);
    *elsewhere.cookies.borrow_mut() = browser.cookies.borrow().clone();
    assert_page(&elsewhere.submit(&page, &ALICE).await, 403);
}

#[tokio::test]
async fn a_form_that_lay_open_for_too_long_offers_to_start_again() {
    let (sidegate, browser) = start("").await;
    let query = format!("{APP}&nonce=%3C%22%26");
    let page = browser.get(&query).await;
    sidegate.time.advance(15 * 60);
    let reply = browser.submit(&page, &ALICE).await;
    assert_page(&reply, 400);
    assert!(reply.text().contains("has expired") && !reply.text().contains("<form"), "{}", reply.text());
    let (_, rest) = reply.text().split_once("href=\".&#x2f;authorize?").unwrap();
    let again = rest.split('"').next().unwrap().replace("&amp;", "&");
    assert_eq!(again, query, "the link says what the application had said");
    assert_redirect(&browser.submit(&browser.get(&again).await, &ALICE).await, 303);
}

#[tokio::test]
async fn a_request_is_judged_by_the_configuration_of_the_moment() {
    let (sidegate, browser) = start("").await;
    let page = browser.get(APP).await;
    sidegate.reload(&yaml("").replacen("https://app.test/cb", "https://app.test/new", 1)).await;
    let reply = browser.submit(&page, &ALICE).await;
    assert_redirect(&reply, 303);
    assert!(reply.header("location").unwrap().starts_with("https://app.test/new?code="));
    let page = browser.get(APP).await;
    sidegate.reload(&yaml("").replacen("{ id: app, ", "{ id: app, enabled: false, ", 1)).await;
    assert_page(&browser.submit(&page, &ALICE).await, 400);
}

/// S05, S06.
#[tokio::test]
async fn a_wrong_password_shows_the_form_again_and_a_good_one_answers_303() {
    let (_sidegate, browser) = start("").await;
    let page = browser.get(APP).await;
    let mut seen = Vec::new();
    for (username, password) in [("alice", "Zq9"), ("nobody", PASSWORD), ("<b>\"x\"", "Zq9<b>"), ("alice", "ΩZq9")] {
        let reply = browser.submit(&page, &[("username", username), ("password", password)]).await;
        assert_page(&reply, 200);
        let text = reply.text().to_owned();
        assert!(
            text.contains("<p class=\"problem\" id=\"problem\" role=\"alert\">That username and password"),
            "{text}"
        );
        assert!(!text.contains(password) && !text.contains("<b>"), "{text}");
        let escaped = username.replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let form = hidden(&reply);
        seen.push(text.replace(&escaped, "NAME").replace(&form, "FORM"));
    }
    assert!(seen.iter().all(|text| *text == seen[0]), "S38: nobody can tell why: {seen:?}");
    for fields in [&[("username", "alice")][..], &[("password", "x")], &[("username", ""), ("password", "")]] {
        assert_page(&browser.submit(&page, fields).await, 200);
    }
    assert_page(&browser.submit(&page, &[ALICE[0], ALICE[0], ALICE[1]]).await, 400);
    assert_redirect(&browser.submit(&page, &ALICE).await, 303);
}

#[tokio::test]
async fn too_many_attempts_are_asked_to_wait() {
    let (sidegate, browser) = start("  throttle: { per_pair: { requests: 1, per: 1m, burst: 3 } }\n").await;
    let page = browser.get(APP).await;
    let mut last = None;
    for _ in 0..5 {
        last = Some(browser.submit(&page, &[("username", "alice"), ("password", "wrong")]).await);
    }
    let reply = last.unwrap();
    assert_page(&reply, 429);
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!(reply.text().contains(&format!("Wait {seconds} seconds")), "{}", reply.text());
    sidegate.time.advance(i64::try_from(seconds).unwrap());
    assert_redirect(&browser.submit(&page, &ALICE).await, 303);
}
