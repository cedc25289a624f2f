//! What is written of a sign-in at the provider: each step in the audit stream and in the metrics, and no secret.

use serde_json::{Value, json};

use super::{APP, CALLBACK, House, provider::SECRET_THERE};
use crate::{
    oauth::{browser::answer, house::text},
    support::log::written,
};

#[tokio::test]
async fn each_step_of_a_sign_in_there_is_audited_and_counted_and_no_secret_is_written() {
    let log = written();
    let house = House::new().await;
    let browser = house.browser();
    let sent = house.away(&browser, &format!("{APP}&nonce=canary-own-nonce&login_hint=canary-hint")).await;
    let mut marks = vec!["canary-", SECRET_THERE].into_iter().map(str::to_owned).collect::<Vec<_>>();
    marks.extend(["state", "nonce", "code_challenge"].map(|name| sent[name].clone()));
    marks.extend(browser.cookies.borrow().values().cloned());
    let told = browser.visit(&format!("{CALLBACK}?{}", house.provider.sign_in(&sent))).await;
    marks.push(answer(&told).1["code"].clone());
    let verifier = house.provider.state().asked[0]["code_verifier"].clone();
    let given = house.redeem(&told).await;
    marks.extend([verifier, text(&given, "access_token"), text(&given, "refresh_token")]);
    house.get(&text(&given, "access_token")).await;
    house.sent_back(&browser, APP, "canary-error").await;
    house.sent_back(&browser, APP, "access_denied").await;
    browser.visit(&format!("{CALLBACK}?code=canary-code&state=canary-state")).await;
    house.provider.state().claims = json!({"nonce": "canary-nonce"});
    house.signed_in(&browser, APP).await;
    house.provider.state().broken = Some(400);
    house.signed_in(&browser, APP).await;

    let written = log.text();
    let seen: Vec<&String> = marks.iter().filter(|mark| written.contains(mark.as_str())).collect();
    assert!(seen.is_empty(), "{seen:?} in {written}");
    let lines = written.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let audited: Vec<Value> = lines
        .filter(|line| line["target"] == "sidegate::audit")
        .map(|line| json!([line["event"], line["client"], line["subject"], line["reason"]]))
        .collect();
    let expected = [
        json!(["signed_in", "app", "u-1", null]),
        json!(["granted", "app", "u-1", null]),
        json!(["sign_in_failed", "app", null, "unknown_error"]),
        json!(["sign_in_failed", "app", null, "access_denied"]),
        json!(["sign_in_failed", "app", null, "nonce_differs"]),
        json!(["sign_in_failed", "app", null, "authority_refuses_us"]),
    ];
    assert_eq!(audited, expected);
    let counted = async |endpoint: &str, grant: &str, result: &str| {
        let labels = format!("dialect=\"oauth2\",endpoint=\"{endpoint}\",grant=\"{grant}\",result=\"{result}\"");
        house.sidegate.metric(&format!("sidegate_oauth_requests_total{{{labels}}}")).await
    };
    assert_eq!(counted("authorize", "authorization_code", "away").await, 5);
    assert_eq!(counted("callback", "authorization_code", "ok").await, 1);
    assert_eq!(counted("callback", "authorization_code", "access_denied").await, 1);
    assert_eq!(counted("callback", "authorization_code", "server_error").await, 3);
    assert_eq!(counted("callback", "none", "page").await, 1);
    let page = house.sidegate.health("/metrics").await;
    assert!(page.text().contains("route=\"oauth2:callback\""), "its requests have a route of their own");
}
