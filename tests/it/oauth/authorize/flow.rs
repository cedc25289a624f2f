//! From the link of an application to the code.

use super::*;

#[tokio::test]
async fn a_user_signs_in_and_the_application_gets_a_code() {
    let (_sidegate, browser) = start("").await;
    let page = browser.get(APP).await;
    assert_page(&page, 200);
    let reply = browser.submit(&page, &ALICE).await;
    let (uri, said) = assert_redirect(&reply, 303);
    assert_eq!(uri, "https://app.test/cb");
    assert!(said["code"].starts_with("sgc1_"));
    assert_eq!(said["state"], "xyz");
    assert_eq!(said.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
}

#[tokio::test]
async fn the_query_of_a_redirect_uri_stays() {
    let (_sidegate, browser) = start("").await;
    let query = "client_id=many&response_type=code&redirect_uri=https%3A%2F%2Fmany.test%2Fb%3Fc%3Dd%26e%3Df";
    let reply = browser.submit(&browser.get(query).await, &ALICE).await;
    let location = reply.header("location").unwrap();
    assert!(location.starts_with("https://many.test/b?c=d&e=f&code=sgc1_"), "{location}");
}

#[tokio::test]
async fn the_state_comes_back_byte_for_byte_right_or_wrong() {
    let (_sidegate, browser) = start("").await;
    let bytes: Vec<u8> = (0..=255).collect();
    let state: String = form_urlencoded::byte_serialize(&bytes).collect();
    let query = format!("client_id=app&response_type=code&state={state}");
    let good = browser.submit(&browser.get(&query).await, &ALICE).await;
    let bad = browser.get(&format!("{query}&scope=none")).await;
    for reply in [good, bad] {
        let location = reply.header("location").unwrap();
        assert!(location.contains(&format!("&state={state}&iss=")), "{location}");
    }
}

#[tokio::test]
async fn a_native_application_is_answered_on_whatever_port_it_listens() {
    let (_sidegate, browser) = start("").await;
    let query = format!(
        "client_id=phone&response_type=code&code_challenge={CHALLENGE}&code_challenge_method=S256\
         &redirect_uri=http://127.0.0.1:51234/cb"
    );
    let page = browser.get(&query).await;
    let (uri, _) = assert_redirect(&browser.submit(&page, &ALICE).await, 303);
    assert_eq!(uri, "http://127.0.0.1:51234/cb");
}

/// S09.
#[tokio::test]
async fn an_implicit_token_stands_in_the_fragment_lives_ten_minutes_and_has_no_refresh_token() {
    let (_sidegate, browser) = start("").await;
    let page = browser.get("client_id=script&response_type=token&state=xyz").await;
    let reply = browser.submit(&page, &ALICE).await;
    let (uri, said) = assert_redirect(&reply, 303);
    assert_eq!(uri, "https://script.test/cb");
    let location = reply.header("location").unwrap();
    assert!(location.starts_with("https://script.test/cb#access_token=sga1_"), "{location}");
    let names = ["access_token", "expires_in", "iss", "scope", "state", "token_type"];
    assert_eq!(said.keys().collect::<Vec<_>>(), names);
    assert_eq!((said["token_type"].as_str(), said["expires_in"].as_str()), ("bearer", "600"));
    assert_eq!((said["state"].as_str(), said["scope"].as_str()), ("xyz", ""));
}

#[tokio::test]
async fn a_request_may_be_posted_as_well() {
    let (_sidegate, browser) = start("").await;
    let page = browser.post_raw(APP).await;
    assert_page(&page, 200);
    assert_redirect(&browser.submit(&page, &ALICE).await, 303);
    let (_, said) = assert_redirect(&browser.post_raw(&format!("{APP}&scope=none")).await, 303);
    assert_eq!(said["error"], "invalid_scope");
}
