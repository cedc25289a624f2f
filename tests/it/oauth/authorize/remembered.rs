//! A browser in which a user wants to be remembered.

use super::{
    super::{
        browser::hidden,
        house::{SECRET, hash, token},
    },
    *,
};
use crate::support::{Upstream, request, send};

const REMEMBER: &str = "  pages: { remember: 1h }\n";
const TICKED: [(&str, &str); 3] = [ALICE[0], ALICE[1], ("remember", "yes")];

#[tokio::test]
async fn a_remembered_user_needs_no_password_for_the_next_application() {
    let (sidegate, browser) = start(REMEMBER).await;
    let page = browser.get(APP).await;
    assert!(page.text().contains("name=\"remember\""));
    assert_redirect(&browser.submit(&page, &TICKED).await, 303);
    let (_, said) = assert_redirect(&browser.get(&format!("{APP}&prompt=none")).await, 302);
    let code = &said["code"];
    let body = format!("grant_type=authorization_code&client_id=app&client_secret={SECRET}&code={code}");
    assert_eq!(token(&sidegate, &body).await.status, 200);
    let page = browser.get("client_id=asks&response_type=code").await;
    assert!(page.text().contains("asks for access"), "consent is another matter");
    let (_, said) = assert_redirect(&browser.get("client_id=asks&response_type=code&prompt=none").await, 302);
    assert_eq!(said["error"], "consent_required");
    for more in ["&prompt=login", "&prompt=select_account", "&max_age=0"] {
        assert!(browser.get(&format!("{APP}{more}")).await.text().contains("name=\"password\""), "{more}");
    }
    sidegate.time.advance(600);
    assert!(browser.get(&format!("{APP}&max_age=599")).await.text().contains("name=\"password\""));
    assert_redirect(&browser.get(&format!("{APP}&max_age=601")).await, 302);
    sidegate.time.advance(3000);
    assert!(browser.get(APP).await.text().contains("name=\"password\""), "an hour is over");
}

#[tokio::test]
async fn nobody_is_remembered_who_has_not_asked_for_it() {
    let (_sidegate, browser) = start(REMEMBER).await;
    assert_redirect(&browser.submit(&browser.get(APP).await, &ALICE).await, 303);
    assert_page(&browser.get(APP).await, 200);
    let (_sidegate, browser) = start("").await;
    let page = browser.get(APP).await;
    assert!(!page.text().contains("name=\"remember\""));
    assert_redirect(&browser.submit(&page, &TICKED).await, 303);
    assert_page(&browser.get(APP).await, 200);
}

#[tokio::test]
async fn another_user_takes_the_place_of_the_one_before() {
    let (_sidegate, browser) = start(REMEMBER).await;
    browser.submit(&browser.get(APP).await, &TICKED).await;
    let page = browser.get(&format!("{APP}&prompt=login")).await;
    assert_redirect(&browser.submit(&page, &[("username", "bob"), ALICE[1]]).await, 303);
    assert_page(&browser.get(APP).await, 200);
}

#[tokio::test]
async fn a_remembered_user_whose_password_changes_signs_in_again() {
    let (sidegate, browser) = start(REMEMBER).await;
    browser.submit(&browser.get(APP).await, &TICKED).await;
    sidegate.reload(&yaml(REMEMBER)).await;
    assert_redirect(&browser.get(APP).await, 302);
    let new = yaml(REMEMBER).replacen(&hash(PASSWORD), &hash("something else"), 1);
    sidegate.reload(&new).await;
    assert_page(&browser.get(APP).await, 200);
}

#[tokio::test]
async fn a_cookie_is_good_only_for_what_it_was_made_for() {
    let (_sidegate, browser) = start(REMEMBER).await;
    let page = browser.submit(&browser.get("client_id=asks&response_type=code").await, &TICKED).await;
    let consent = hidden(&page);
    let user = browser.cookies.borrow()["sidegate-user"].clone();
    let fields = [("form", user.as_str()), ("decision", "allow")];
    assert_page(&browser.post(&fields).await, 403);
    browser.cookies.borrow_mut().insert("sidegate-user".to_owned(), consent);
    assert_page(&browser.get(APP).await, 200);
}

#[tokio::test]
async fn cookies_are_kept_from_scripts_from_other_sites_and_from_the_upstream() {
    let upstream = Upstream::start().await;
    let yaml = yaml(REMEMBER)
        .replace("http://127.0.0.1:9\"", &format!("http://{}\"", upstream.address))
        .replace("policy: { audiences: [orders-api] }", "public: true")
        .replace(ISSUER, "https://auth.example.com");
    let sidegate = Sidegate::start(&yaml).await;
    let browser = Browser::new(&sidegate);
    let page = browser.get(APP).await;
    let reply = browser.submit(&page, &TICKED).await;
    let set = |reply: &Reply| reply.header("set-cookie").unwrap().to_owned();
    let planted = set(&page);
    assert!(planted.starts_with("__Host-sidegate-form=") && !planted.contains("Max-Age"), "{planted}");
    let remembered = set(&reply);
    assert!(remembered.starts_with("__Host-sidegate-user=") && remembered.contains("; Max-Age=3600"), "{remembered}");
    for cookie in [planted, remembered] {
        for word in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
    let mut asked = request("GET", "/", "");
    let cookies: Vec<String> = browser.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
    asked.headers_mut().insert("cookie", format!("a=b; {}; c=d", cookies.join("; ")).parse().unwrap());
    assert_eq!(send(sidegate.public, asked).await.status, 200);
    assert_eq!(upstream.last().header("cookie"), Some("a=b; c=d"));
}
