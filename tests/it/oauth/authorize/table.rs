//! The whole table of answers to a request, before any user is asked.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Request, Response};
use http_body_util::Full;
use proptest::{prelude::*, test_runner::TestRunner};

use super::{
    super::{
        browser::encode,
        house::{SECRET, token},
    },
    *,
};
use crate::support::{Upstream, request, send};

/// Rows "400 HTML page, no Location": nobody knows where an answer should go.
#[tokio::test]
async fn a_request_with_nowhere_to_answer_to_gets_a_page_and_no_redirect() {
    let (_sidegate, browser) = start("").await;
    let long = format!("{APP}&x={}", "x".repeat(9000));
    let rows = [
        ("", "does not say"),
        ("response_type=code&redirect_uri=https://evil.test/", "does not say"),
        ("client_id=&response_type=code", "does not say"),
        ("client_id=app&client_id=app&response_type=code", "does not say"),
        ("client_id=nobody&response_type=code&redirect_uri=https://evil.test/", "not known"),
        ("client_id=gone&response_type=code", "not known"),
        ("client_id=many&response_type=code", "where to send you"),
        ("client_id=app&response_type=code&redirect_uri=https://app.test/cb&redirect_uri=https://app.test/cb", "where"),
        ("client_id=app&response_type=code&redirect_uri=https://evil.test/", "not registered"),
        ("client_id=app&response_type=code&redirect_uri=https://app.test/cb%23here", "not registered"),
        ("client_id=app&response_type=code&redirect_uri=https://APP.test/cb", "not registered"),
        ("client_id=app&response_type=code&redirect_uri=https://app.test/CB", "not registered"),
        ("client_id=app&response_type=code&redirect_uri=https://app.test/cb/", "not registered"),
        ("client_id=app&response_type=code&redirect_uri=https://app.test:443/cb", "not registered"),
        ("client_id=app&response_type=code&redirect_uri=https://app.test:8443/cb", "not registered"),
        ("client_id=many&response_type=code&redirect_uri=https://many.test/b%3Fe%3Df%26c%3Dd", "not registered"),
        ("client_id=phone&response_type=code&redirect_uri=http://localhost:1/cb", "not registered"),
        ("client_id=phone&response_type=code&redirect_uri=http://127.0.0.1:1@evil.test/cb", "not registered"),
        (&long, "too long"),
    ];
    for (query, said) in rows {
        for reply in [browser.get(query).await, browser.post_raw(query).await] {
            assert_page(&reply, 400);
            assert!(reply.text().contains(said), "{query}: {}", reply.text());
            assert!(!reply.text().contains("evil.test"), "{query}");
            assert!(!reply.text().contains("<form") && !reply.text().contains("<a "), "{query}");
        }
    }
}

/// Rows "redirect".
#[tokio::test]
async fn whatever_else_is_wrong_is_told_to_the_application() {
    let (_sidegate, browser) = start("").await;
    let app = |more: &str| format!("{APP}{more}");
    let pkce =
        |more: &str| format!("client_id=phone&response_type=code&redirect_uri=http://127.0.0.1:5/cb&state=xyz{more}");
    let bank = |more: &str| format!("client_id=bank&response_type=code&state=xyz{more}");
    let challenge = format!("&code_challenge={CHALLENGE}");
    let rows = [
        (app("&scope=orders&scope=orders"), "invalid_request", None),
        (app("&nonce=a&nonce=b"), "invalid_request", None),
        ("client_id=app&state=xyz".to_owned(), "invalid_request", None),
        ("client_id=app&state=xyz&response_type=".to_owned(), "invalid_request", None),
        ("client_id=app&state=xyz&response_type=id_token".to_owned(), "unsupported_response_type", None),
        ("client_id=app&state=xyz&response_type=code+id_token".to_owned(), "unsupported_response_type", None),
        ("client_id=app&state=xyz&response_type=token".to_owned(), "unauthorized_client", None),
        ("client_id=machine&state=xyz&response_type=code".to_owned(), "unauthorized_client", None),
        ("client_id=script&state=xyz&response_type=code".to_owned(), "unauthorized_client", None),
        ("client_id=script&state=xyz&response_type=token&scope=x".to_owned(), "invalid_scope", None),
        (app("&scope=orders+admin"), "invalid_scope", None),
        (app("&scope=orders,admin"), "invalid_scope", None),
        // S11
        (pkce(""), "invalid_request", Some("code_challenge is missing")),
        (pkce(&challenge), "invalid_request", Some("code_challenge_method must be S256")),
        (
            pkce(&format!("{challenge}&code_challenge_method=plain")),
            "invalid_request",
            Some("code_challenge_method must be S256"),
        ),
        (
            pkce("&code_challenge=short&code_challenge_method=S256"),
            "invalid_request",
            Some("code_challenge is malformed"),
        ),
        (app("&code_challenge_method=S256"), "invalid_request", Some("code_challenge is missing")),
        (app("&prompt=none"), "login_required", None),
        (app("&prompt=none+login"), "invalid_request", None),
        (app("&request=e30.e30."), "request_not_supported", None),
        (app("&request_uri=https://evil.test/"), "request_uri_not_supported", None),
        (app("&resource=https://evil.test/"), "invalid_target", None),
        (app("&response_mode=form_post"), "invalid_request", None),
        (bank(""), "invalid_request", Some("INTENT_ID_MISSING")),
        (bank("&itype=payments"), "invalid_request", Some("INTENT_ID_MISSING")),
        (bank("&intentid=i-1"), "invalid_request", Some("ITYPE_MISSING_OR_INVALID")),
        (bank("&intentid=i-1&itype=loans"), "invalid_request", Some("ITYPE_MISSING_OR_INVALID")),
    ];
    for (query, error, description) in rows {
        for (reply, status) in [(browser.get(&query).await, 302), (browser.post_raw(&query).await, 303)] {
            let (uri, said) = assert_redirect(&reply, status);
            assert_eq!(said["error"], error, "{query}");
            if description.is_some() {
                assert_eq!(said.get("error_description").map(String::as_str), description, "{query}");
            }
            assert_eq!(said["state"], "xyz", "{query}");
            assert!(!said.contains_key("code") && !said.contains_key("access_token"));
            let location = reply.header("location").unwrap();
            // S03: of what a request says, only the registered URI is gone to.
            assert!(!location.contains("evil.test"), "{location}");
            // S16
            assert!(!location.contains(CHALLENGE), "{location}");
            let fragment = query.contains("response_type=token");
            assert!(location.starts_with(&format!("{uri}{}error=", if fragment { '#' } else { '?' })), "{location}");
        }
    }
}

/// S01.
#[tokio::test]
async fn any_change_of_a_redirect_uri_gets_a_page() {
    let (sidegate, browser) = start("").await;
    let registered = "https://many.test/b?c=d&e=f";
    let same = format!("client_id=many&response_type=code&redirect_uri={}", encoded(registered.as_bytes()));
    assert_page(&browser.get(&same).await, 200);
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let changed =
            (0..registered.len(), any::<u8>(), 0..3_u8).prop_filter_map("unchanged", move |(at, byte, how)| {
                let mut uri = registered.as_bytes().to_vec();
                match how {
                    0 => uri[at] = byte,
                    1 => uri.insert(at, byte),
                    _ => drop(uri.remove(at)),
                }
                (uri != registered.as_bytes()).then_some(uri)
            });
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        TestRunner::new(config).run(&changed, |uri| {
            let query = format!("client_id=many&response_type=code&redirect_uri={}", encoded(&uri));
            let reply = handle.block_on(browser.get(&query));
            prop_assert_eq!(reply.status.as_u16(), 400, "{}", query);
            prop_assert_eq!(reply.header("location"), None);
            Ok(())
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    drop(sidegate);
}

fn encoded(bytes: &[u8]) -> String {
    form_urlencoded::byte_serialize(bytes).collect()
}

/// S03.
#[tokio::test]
async fn no_parameter_but_a_registered_uri_is_ever_gone_to() {
    let (_sidegate, browser) = start("").await;
    for name in [
        "redirect_uri",
        "request_uri",
        "request",
        "state",
        "nonce",
        "login_hint",
        "scope",
        "resource",
        "prompt",
        "response_mode",
        "next",
        "return_to",
        "continue",
        "url",
        "target_link_uri",
        "post_logout_redirect_uri",
        "form",
        "action",
        "iss",
        "client_uri",
        "id_token_hint",
        "ui_locales",
        "acr_values",
        "display",
        "max_age",
    ] {
        for evil in ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)"] {
            let query = format!("{APP}&{}", encode(&[(name, evil)]));
            let reply = browser.get(&query).await;
            let reply = if reply.status == 200 { browser.submit(&reply, &ALICE).await } else { reply };
            if let Some(location) = reply.header("location") {
                assert!(location.starts_with("https://app.test/cb?"), "{name}: {location}");
            }
        }
    }
}

/// Row "HEAD/PUT/...".
#[tokio::test]
async fn another_method_is_refused_with_those_that_are_good() {
    let (sidegate, _) = start("").await;
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let reply = send(sidegate.public, request(method, &format!("/oauth20/authorize?{APP}"), "")).await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("GET, POST"), "{method}");
        assert_no_cors(&reply);
    }
}

#[tokio::test]
async fn a_body_that_is_no_form_or_too_long_is_a_page() {
    let (sidegate, _) = start("").await;
    let posted = |media_type: &str, body: String| {
        let request = Request::post("/oauth20/authorize").header("host", "api.test").header("content-type", media_type);
        request.body(Full::from(body)).unwrap()
    };
    let form = "application/x-www-form-urlencoded";
    for (status, request) in [
        (400, posted("application/json", "{}".to_owned())),
        (400, posted("multipart/form-data; boundary=x", String::new())),
        (400, posted(form, "form=".to_owned())),
        (400, posted(form, "form=a&form=b".to_owned())),
        (413, posted(form, "x".repeat(70_000))),
    ] {
        assert_page(&send(sidegate.public, request).await, status);
    }
}

#[tokio::test]
async fn an_intent_is_asked_for_at_its_verifier_and_travels_with_the_grant() {
    let status = Arc::new(AtomicU16::new(200));
    let says = status.clone();
    let verifier = Upstream::answering(move |_| {
        Response::builder().status(says.load(Ordering::Relaxed)).body(Full::default()).unwrap()
    })
    .await;
    let (sidegate, browser) =
        start(&format!("  intent: {{ verifier_url: \"http://{}/intents\" }}\n", verifier.address)).await;
    let query = "client_id=bank&response_type=code&state=xyz&itype=payments&intentid=i-1";
    let page = browser.get(query).await;
    assert_page(&page, 200);
    let asked: serde_json::Value = serde_json::from_slice(&verifier.last().body).unwrap();
    assert_eq!(asked, serde_json::json!({ "intentid": "i-1", "itype": "payments", "client_id": "bank" }));
    let (_, said) = assert_redirect(&browser.submit(&page, &ALICE).await, 303);
    let code = &said["code"];
    let body = format!("grant_type=authorization_code&client_id=bank&client_secret={SECRET}&code={code}");
    let tokens = token(&sidegate, &body).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let claims = payload(tokens.json()["access_token"].as_str().unwrap());
    assert_eq!((&claims["intentid"], &claims["itype"]), (&"i-1".into(), &"payments".into()));
    assert_eq!(claims["email"], "alice@example.com");

    status.store(404, Ordering::Relaxed);
    let (_, said) = assert_redirect(&browser.get(query).await, 302);
    assert_eq!((said["error"].as_str(), said["error_description"].as_str()), ("invalid_request", "INTENT_NOT_FOUND"));
    status.store(500, Ordering::Relaxed);
    let (_, said) = assert_redirect(&browser.get(query).await, 302);
    assert_eq!(said["error"], "temporarily_unavailable");
    let (_sidegate, browser) = start("  intent: { verifier_url: \"http://127.0.0.1:9/intents\" }\n").await;
    let (_, said) = assert_redirect(&browser.get(query).await, 302);
    assert_eq!(said["error"], "temporarily_unavailable");
}

#[tokio::test]
async fn a_flood_of_requests_does_not_become_one_at_the_verifier_of_intents() {
    let asked = Arc::new(AtomicU16::new(0));
    let counts = asked.clone();
    let verifier = Upstream::answering(move |_| {
        counts.fetch_add(1, Ordering::Relaxed);
        Response::new(Full::default())
    })
    .await;
    let (_sidegate, browser) =
        start(&format!("  intent: {{ verifier_url: \"http://{}/intents\" }}\n", verifier.address)).await;
    let query = "client_id=bank&response_type=code&state=xyz&itype=payments&intentid=i-1";
    let mut pages = 0;
    let refused = loop {
        let reply = browser.get(query).await;
        if reply.status != 200 {
            break reply;
        }
        pages += 1;
        assert!(pages < 2000, "nobody stops the flood");
    };
    let (_, said) = assert_redirect(&refused, 302);
    assert_eq!(said["error"], "temporarily_unavailable");
    assert_eq!(asked.load(Ordering::Relaxed), pages);
}

fn payload(jwt: &str) -> serde_json::Value {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
