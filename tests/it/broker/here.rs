//! Sign-in on our own page, with what the provider gives for the password that was typed there.

use serde_json::json;

use super::{APP, House, yaml};
use crate::oauth::{
    browser::answer,
    house::{assert_refused, sessions, text},
};

const PASSWORD: &str = ", authorize: password, scopes: [orders]";
const ANA: [(&str, &str); 3] = [("username", "ana"), ("password", "right"), ("remember", "yes")];

#[tokio::test]
async fn a_password_typed_here_is_judged_there_and_its_tokens_stay_with_the_session() {
    let house = House::with(PASSWORD).await;
    let browser = house.browser();
    let page = browser.get(APP).await;
    assert_eq!(page.status, 200, "our own page");
    assert!(!page.text().contains("name=\"remember\""), "what the provider gives cannot be remembered");
    let again = browser.submit(&page, &[("username", "ana"), ("password", "wrong")]).await;
    assert_eq!((again.status.as_u16(), again.header("location")), (200, None));
    let told = browser.submit(&page, &ANA).await;
    assert_eq!(told.status, 303);
    assert!(browser.cookies.borrow().keys().all(|name| name == "sidegate-form"), "{:?}", browser.cookies);
    let given = house.redeem(&told).await;
    assert_eq!(given.status, 200, "{}", given.text());
    assert_eq!(house.get(&text(&given, "access_token")).await.status, 200);
    assert!(house.shown().starts_with("Bearer canary-at-there-"));
    let refresh = format!("grant_type=refresh_token&refresh_token={}", text(&given, "refresh_token"));
    assert_eq!(house.token(&refresh).await.status, 200);
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_as_that_on_our_own_page_too() {
    let house = House::with(PASSWORD).await;
    let browser = house.browser();
    let page = browser.get(APP).await;
    house.provider.state().broken = Some(503);
    assert_eq!(answer(&browser.submit(&page, &ANA).await).1["error"], "temporarily_unavailable");
}

#[tokio::test]
async fn no_callback_is_served_where_nobody_signs_in_there() {
    let house = House::with(PASSWORD).await;
    let reply = house.browser().visit(super::CALLBACK).await;
    assert_eq!(reply.status, 401, "a path like any other: {}", reply.text());
}

/// They ask for more there than a password, perhaps; and it is not for us to see.
#[tokio::test]
async fn a_page_from_before_users_were_sent_there_takes_no_password_any_more() {
    let house = House::with(PASSWORD).await;
    let browser = house.browser();
    let page = browser.get(APP).await;
    house.sidegate.reload(&yaml(&house.provider, &house.upstream, "")).await;
    let reply = browser.submit(&page, &ANA).await;
    assert_eq!(reply.header("location"), None);
    assert!(!reply.text().contains("type=\"password\""), "{}", reply.text());
    assert_eq!(house.provider.asked(), 0);
}

/// Whoever signs in there is known by the subject of an ID token, which others may be called like.
#[tokio::test]
async fn a_password_without_an_id_token_begins_nothing_where_others_are_known_by_theirs() {
    let house = House::new().await;
    let allowed = yaml(&house.provider, &house.upstream, "").replacen(
        "[authorization_code,",
        "[authorization_code, password,",
        1,
    );
    house.sidegate.reload(&allowed).await;
    let typed = "grant_type=password&username=u-1&password=right";
    assert_eq!(house.token(typed).await.status, 200);
    let before = sessions(&house.sidegate).store().count().await.unwrap();
    house.provider.state().answer = json!({"id_token": null});
    assert_refused(&house.token(typed).await, 503, "temporarily_unavailable");
    assert_eq!(sessions(&house.sidegate).store().count().await.unwrap(), before);
}
