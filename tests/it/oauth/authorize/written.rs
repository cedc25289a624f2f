//! What the program writes while users sign in: each step in the audit stream, and no secret anywhere.

use std::fs;

use http::Request;
use http_body_util::Full;
use serde_json::Value;

use super::{super::browser::hidden, *};
use crate::{
    secrets::Program,
    support::{issuer::scratch, send},
};

#[tokio::test]
async fn each_step_of_a_sign_in_is_audited_and_no_secret_is_written() {
    let directory = scratch("pages");
    let more = "  pages: { remember: 1h }\n  throttle: { per_pair: { requests: 1, per: 1h, burst: 2 } }\n";
    let log = "listeners: [{ name: main, address: \"127.0.0.1:0\" }]\nworkers: 1\nlog: { level: debug, access: all }\n";
    let program = Program::start(&directory, &(yaml(more) + log));
    let browser = Browser::at(program.address("main").await);
    let mut marks = vec![PASSWORD.to_owned(), "canary-password".to_owned()];

    let state = "canary-state";
    let query = format!("client_id=asks&response_type=code&state={state}&nonce=canary-nonce");
    let page = browser.get(&query).await;
    for _ in 0..3 {
        browser.submit(&page, &[("username", "bob"), ("password", "canary-password")]).await;
    }
    let consent = browser.submit(&page, &[ALICE[0], ALICE[1], ("remember", "yes")]).await;
    let given = browser.submit(&consent, &[("decision", "allow")]).await;
    browser.submit(&consent, &[("decision", "deny")]).await;
    let implicit = browser.get("client_id=script&response_type=token").await;
    browser.get(&format!("client_id=nobody&state={state}")).await;

    marks.extend([hidden(&page), hidden(&consent)]);
    marks.extend(browser.cookies.borrow().values().cloned());
    marks.extend([answer(&given).1["code"].clone(), answer(&implicit).1["access_token"].clone()]);
    marks.extend([state.to_owned(), "canary-nonce".to_owned()]);
    for page in [&page, &consent] {
        assert!(!page.text().contains(PASSWORD) && !page.text().contains("canary-"), "only sealed: {}", page.text());
    }
    program.signal("-TERM");
    let mut program = program;
    assert!(program.ended().await.success());
    let written = program.written();
    fs::remove_dir_all(&directory).unwrap();

    let seen: Vec<&String> = marks.iter().filter(|mark| written.contains(mark.as_str())).collect();
    assert!(seen.is_empty(), "{seen:?}");
    let lines = written.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let audited: Vec<Value> = lines.filter(|line| line["target"] == "sidegate::audit").collect();
    let told = |line: &Value| {
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        (word("event"), word("client"), word("subject"))
    };
    let expected = [
        ("sign_in_failed", "asks", "bob"),
        ("sign_in_failed", "asks", "bob"),
        ("throttled", "asks", "bob"),
        ("signed_in", "asks", "sub-alice"),
        ("consent_given", "asks", "sub-alice"),
        ("consent_refused", "asks", "sub-alice"),
        ("granted", "script", "sub-alice"),
    ];
    let expected = expected.map(|(event, client, subject)| (event.to_owned(), client.to_owned(), subject.to_owned()));
    assert_eq!(audited.iter().map(told).collect::<Vec<_>>(), expected, "{audited:#?}");
    for line in &audited {
        assert_eq!(line["address"], "127.0.0.1", "{line}");
        assert!(line["request_id"].is_string() && line["grant"].is_string(), "{line}");
    }
}

/// Metrics know what came of it.
#[tokio::test]
async fn every_answer_is_counted_by_grant_and_outcome() {
    let (sidegate, browser) = start("").await;
    let page = browser.get(APP).await;
    browser.submit(&page, &[("username", "alice"), ("password", "x")]).await;
    browser.submit(&page, &ALICE).await;
    browser.get(&format!("{APP}&prompt=none")).await;
    browser.get("client_id=nobody").await;
    let wrong = Request::put(AUTHORIZE).header("host", "api.test").body(Full::default()).unwrap();
    send(sidegate.public, wrong).await;
    for (grant, result, count) in [
        ("authorization_code", "page", 2),
        ("authorization_code", "ok", 1),
        ("authorization_code", "login_required", 1),
        ("none", "page", 2),
    ] {
        let labels = format!("dialect=\"oauth2\",endpoint=\"authorize\",grant=\"{grant}\",result=\"{result}\"");
        let series = format!("sidegate_oauth_requests_total{{{labels}}}");
        assert_eq!(sidegate.metric(&series).await, count, "{series}");
    }
}
