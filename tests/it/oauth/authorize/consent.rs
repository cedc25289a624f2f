//! The page that asks the user.

use super::*;

const ASKS: &str = "client_id=asks&response_type=code&state=xyz&scope=orders+payments";

#[tokio::test]
async fn the_user_is_told_who_asks_for_what_and_may_agree() {
    let (_sidegate, browser) = start("").await;
    let page = browser.submit(&browser.get(ASKS).await, &ALICE).await;
    assert_page(&page, 200);
    let text = page.text();
    assert!(text.contains("Tom &amp; Jerry&#x27;s &lt;shop&gt; asks for access"), "{text}");
    assert!(text.contains("<li>See &lt;your&gt; orders</li>") && text.contains("<li>payments</li>"), "{text}");
    assert!(text.contains("Signed in as alice") && text.contains("sent to asks.test."), "{text}");
    assert!(!text.contains(PASSWORD));
    let (uri, said) = assert_redirect(&browser.submit(&page, &[("decision", "allow")]).await, 303);
    assert_eq!(uri, "https://asks.test/cb");
    assert!(said["code"].starts_with("sgc1_"));
    assert_eq!((said["x"].as_str(), said["state"].as_str()), ("1", "xyz"));
}

#[tokio::test]
async fn a_user_who_refuses_goes_back_with_access_denied() {
    let (_sidegate, browser) = start("").await;
    let page = browser.submit(&browser.get(ASKS).await, &ALICE).await;
    let (_, said) = assert_redirect(&browser.submit(&page, &[("decision", "deny")]).await, 303);
    assert_eq!((said["error"].as_str(), said["state"].as_str()), ("access_denied", "xyz"));
    assert!(!said.contains_key("code"));
}

#[tokio::test]
async fn nothing_but_a_clear_yes_is_a_yes() {
    let (_sidegate, browser) = start("").await;
    let page = browser.submit(&browser.get(ASKS).await, &ALICE).await;
    for fields in [
        &[][..],
        &[("decision", "")],
        &[("decision", "ALLOW")],
        &[("decision", "allow"), ("decision", "deny")],
        &[("username", "alice"), ("password", PASSWORD)],
    ] {
        assert_page(&browser.submit(&page, fields).await, 400);
    }
}

#[tokio::test]
async fn a_sign_in_form_is_no_consent_form() {
    let (_sidegate, browser) = start("").await;
    let page = browser.get(ASKS).await;
    let reply = browser.submit(&page, &[("decision", "allow")]).await;
    assert_page(&reply, 200);
    assert!(reply.text().contains("do not match"), "nobody has signed in");
}

#[tokio::test]
async fn consent_is_asked_for_where_the_application_wants_it_so() {
    let (_sidegate, browser) = start("").await;
    let page = browser.submit(&browser.get(&format!("{APP}&prompt=consent")).await, &ALICE).await;
    assert_page(&page, 200);
    assert!(page.text().contains("asks for access"));
}

#[tokio::test]
async fn a_user_who_was_disabled_meanwhile_gives_nothing() {
    let (sidegate, browser) = start("").await;
    let page = browser.submit(&browser.get(ASKS).await, &ALICE).await;
    sidegate.reload(&yaml("").replacen("username: alice, ", "username: alice, enabled: false, ", 1)).await;
    let reply = browser.submit(&page, &[("decision", "allow")]).await;
    assert_page(&reply, 200);
    assert!(reply.text().contains("name=\"password\""), "{}", reply.text());
}
