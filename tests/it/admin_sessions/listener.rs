use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::json;

use super::{Setup, TOKEN, write_token, yaml};
use crate::support::raw;

#[tokio::test]
async fn sessions_are_listed_by_user_and_client_and_a_page_at_a_time() {
    let setup = Setup::new().await;
    let (mut of_ana, mut at_app) = (BTreeSet::new(), BTreeSet::new());
    for (user, client) in [("ana", "shop"), ("ana", "app"), ("bob", "shop"), ("ana", "shop"), ("bob", "app")] {
        let (id, _) = setup.open(user, client).await;
        if user == "ana" {
            of_ana.insert(id.clone());
        }
        if client == "app" {
            at_app.insert(id.clone());
        }
    }
    let ids = |reply: &crate::support::Reply| -> BTreeSet<String> {
        let sessions = reply.json()["sessions"].as_array().unwrap().clone();
        sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&setup.ask("GET", "/sessions").await).len(), 5);
    for user in ["ana", "u-ana"] {
        assert_eq!(ids(&setup.ask("GET", &format!("/sessions?user={user}")).await), of_ana);
    }
    assert_eq!(ids(&setup.ask("GET", "/sessions?client=app").await), at_app);
    assert_eq!(ids(&setup.ask("GET", "/sessions?client=app&user=ana").await).len(), 1);
    assert_eq!(ids(&setup.ask("GET", "/sessions?user=nobody").await).len(), 0);

    let (mut seen, mut after, mut pages) = (BTreeSet::new(), String::new(), 0);
    loop {
        let page = setup.ask("GET", &format!("/sessions?limit=2{after}")).await;
        seen.extend(ids(&page));
        pages += 1;
        match page.json()["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages), (5, 3));
}

#[tokio::test]
async fn a_session_is_shown_without_a_token_a_digest_or_a_salt() {
    let setup = Setup::new().await;
    let (id, token) = setup.open("ana", "shop").await;
    for path in ["/sessions".to_owned(), format!("/sessions/{id}")] {
        let reply = setup.ask("GET", &path).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let session = if path == "/sessions" { reply.json()["sessions"][0].clone() } else { reply.json() };
        let members: Vec<String> = session.as_object().unwrap().keys().cloned().collect();
        let expected = "id client subject username grant scope audiences alive revoked created authenticated refreshed \
                        idle_until expires generation access_tokens";
        assert_eq!(members.join(" "), expected);
        assert_eq!(session["subject"], "u-ana");
        assert_eq!(session["username"], "ana");
        assert_eq!(session["scope"], "orders profile");
        assert_eq!((&session["alive"], &session["revoked"]), (&json!(true), &json!(null)));
        assert_eq!((&session["access_tokens"], &session["generation"]), (&json!(1), &json!(1)));
        let secret_part = &token["sga1_".len() + 22..];
        for hidden in [secret_part, "canary-claim", "salt", "digest", "sga1_", "sg1."] {
            assert!(!reply.text().contains(hidden), "{hidden} in {}", reply.text());
        }
    }
}

#[tokio::test]
async fn a_revoked_session_is_refused_on_the_next_request_and_stays_as_a_tombstone() {
    let setup = Setup::new().await;
    let ((id, token), (_, other)) = (setup.open("ana", "shop").await, setup.open("bob", "shop").await);
    assert_eq!((setup.forwarded(&token).await, setup.forwarded(&other).await), (200, 200));

    let path = format!("/sessions/{id}");
    assert_eq!(setup.ask("DELETE", &path).await.json(), json!({"revoked": 1}));
    assert_eq!((setup.forwarded(&token).await, setup.forwarded(&other).await), (401, 200));
    assert_eq!(setup.ask("DELETE", &path).await.json(), json!({"revoked": 0}));
    let shown = setup.ask("GET", &path).await.json();
    assert_eq!((&shown["alive"], &shown["revoked"]["reason"]), (&json!(false), &json!("operator")));
    assert_eq!(shown["access_tokens"], 0);
    assert_eq!(setup.ask("GET", "/sessions").await.json()["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(setup.ask("GET", "/sessions?alive=any").await.json()["sessions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn all_sessions_of_a_user_end_at_once_and_those_of_others_go_on() {
    let setup = Setup::new().await;
    let mut tokens = Vec::new();
    for _ in 0..90 {
        tokens.push(setup.open("ana", "shop").await.1);
    }
    let (_, at_app) = setup.open("ana", "app").await;
    let (_, of_bob) = setup.open("bob", "shop").await;
    assert_eq!(setup.ask("DELETE", "/sessions?user=ana&client=shop").await.json(), json!({"revoked": 90}));
    for token in &tokens {
        assert_eq!(setup.forwarded(token).await, 401);
    }
    assert_eq!((setup.forwarded(&at_app).await, setup.forwarded(&of_bob).await), (200, 200));
    assert_eq!(setup.ask("DELETE", "/sessions?user=u-ana").await.json(), json!({"revoked": 1}));
    assert_eq!((setup.forwarded(&at_app).await, setup.forwarded(&of_bob).await), (401, 200));
}

#[tokio::test]
async fn a_request_that_is_not_understood_ends_nothing() {
    let setup = Setup::new().await;
    let (id, token) = setup.open("ana", "shop").await;
    for (method, path, status, code) in [
        ("DELETE", "/sessions", 400, "filter_missing"),
        ("DELETE", "/sessions?limit=10", 400, "filter_missing"),
        ("DELETE", "/sessions?user=", 400, "query_wrong"),
        ("DELETE", "/sessions?user=ana&clent=app", 400, "query_wrong"),
        ("DELETE", "/sessions?user=bob&user=ana", 400, "query_wrong"),
        ("GET", "/sessions?limit=100000", 400, "query_wrong"),
        ("DELETE", "/sessions/", 404, "session_unknown"),
        ("DELETE", "/sessions/AAAAAAAAAAAAAAAAAAAAAA", 404, "session_unknown"),
        ("GET", &format!("/sessions/{id}/x"), 404, "session_unknown"),
    ] {
        let reply = setup.ask(method, path).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{method} {path}");
    }
    for (method, path) in [("POST", "/sessions"), ("PUT", "/sessions/x"), ("DELETE", "/status")] {
        let reply = setup.ask(method, path).await;
        assert_eq!(reply.status, 405, "{method} {path}");
        assert!(reply.header("allow").is_some());
    }
    assert_eq!(setup.ask("GET", "/elsewhere").await.status, 404);
    assert_eq!(setup.forwarded(&token).await, 200);
}

#[tokio::test]
async fn without_the_token_nothing_is_told_and_wrong_ones_are_slowed_down() {
    let setup = Setup::new().await;
    let (id, token) = setup.open("ana", "shop").await;
    let path = format!("/sessions/{id}");
    let reply = setup.ask_with("GET", "/sessions", "").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (401, "token_missing"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"sidegate admin\""));
    for wrong in ["x", &TOKEN[1..], &format!("{TOKEN}x"), &TOKEN.to_uppercase()] {
        let reply = setup.ask_with("DELETE", &path, wrong).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (401, "token_wrong"), "{wrong}");
    }
    let twice = format!(
        "GET /sessions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    assert!(raw(setup.sidegate.admin, twice.as_bytes()).await.starts_with("HTTP/1.1 401"));
    let elsewhere = format!(
        "GET /sessions HTTP/1.1\r\nhost: evil.test\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    assert!(raw(setup.sidegate.admin, elsewhere.as_bytes()).await.starts_with("HTTP/1.1 421"));

    // Whoever asks slowly enough is not slowed down, and a busy machine asks slowly: until both come within a second.
    let mut last = None;
    for _ in 0..200 {
        let wrong = setup.ask_with("GET", "/sessions", "wrong").await;
        // Otherwise a guess that comes too early would still tell whether it is right.
        let right = setup.ask("GET", "/sessions").await;
        if (wrong.status, right.status) == (StatusCode::TOO_MANY_REQUESTS, StatusCode::TOO_MANY_REQUESTS) {
            last = Some(wrong);
            break;
        }
    }
    let last = last.expect("wrong tokens are never slowed down");
    assert_eq!(last.code(), "throttled");
    assert_eq!(last.header("retry-after"), Some("1"));
    assert!(setup.sidegate.series("sidegate_rate_limited_total{scope=\"admin\"}").await >= 2.0);
    assert_eq!(setup.ask_with("GET", "/status", "").await.status, 200);
    setup.sidegate.time.advance(60);
    assert_eq!(setup.ask("GET", "/sessions").await.status, 200);
    assert_eq!(setup.forwarded(&token).await, 200);
}

#[tokio::test]
async fn without_a_token_file_sessions_are_off_and_a_reload_switches_them_on_or_changes_the_token() {
    let setup = Setup::new().await;
    setup.sidegate.reload(&yaml(&setup.upstream_url, "")).await;
    let reply = setup.ask("GET", "/sessions").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, "administration_off"));
    assert!(reply.text().contains("admin.token_file"), "{}", reply.text());

    write_token(&setup.token_file, "another-token-of-operators-77");
    setup.sidegate.reload(&yaml(&setup.upstream_url, &format!(", token_file: {}", setup.token_file.display()))).await;
    assert_eq!(setup.ask("GET", "/sessions").await.status, 401);
    assert_eq!(setup.ask_with("GET", "/sessions", "another-token-of-operators-77").await.status, 200);
}

#[tokio::test]
async fn the_status_tells_of_the_authority_and_its_sessions() {
    let setup = Setup::new().await;
    setup.open("ana", "shop").await;
    let status = setup.ask_with("GET", "/status", "").await.json();
    let journal =
        json!({"state": "not_needed", "waiting": 0, "unreadable": 0, "failing_for": null, "last_error": null});
    let sessions =
        json!({"store": "memory", "up": true, "alive": 1, "error": null, "journal": journal, "replicas": null});
    assert_eq!(status["sessions"], sessions);
    let authority = &status["authority"];
    assert_eq!(
        (&authority["clients"], &authority["users"], &authority["users_by"]),
        (&json!(2), &json!(3), &json!("listed"))
    );
    assert_eq!(authority["issuer"], "http://127.0.0.1:8080");
    assert_eq!(authority["signing_keys"].as_array().unwrap().len(), 1);
    assert_eq!(authority["signing_keys"][0]["stage"], "current");
    assert!(authority["signing_keys"][0]["age"].as_u64().unwrap() < 60, "{authority}");
    let page = setup.sidegate.status_page("localhost", "text/html").await;
    for part in
        ["Signing keys", "Token endpoints", "oauth20", ">Sessions</h2>", "memory", "the store ends with the process"]
    {
        assert!(page.text().contains(part), "{part}");
    }
    assert_eq!(setup.sidegate.series("sidegate_sessions{store=\"memory\"}").await, 1.0);
    assert_eq!(setup.sidegate.series("sidegate_session_store_up{store=\"memory\"}").await, 1.0);
}

#[tokio::test]
async fn signing_keys_are_rotated_behind_the_token_and_the_status_shows_the_next_one() {
    let setup = Setup::new().await;
    assert_eq!(setup.ask_with("POST", "/keys/rotate", "").await.status, 401);
    assert_eq!(setup.ask("GET", "/keys/rotate").await.status, 405);
    assert_eq!(setup.ask("POST", "/keys/rotate?now").await.status, 400);
    let stages = async || {
        let status = setup.ask_with("GET", "/status", "").await.json();
        let keys = status["authority"]["signing_keys"].as_array().unwrap().clone();
        let mut stages: Vec<String> = keys.iter().map(|key| key["stage"].as_str().unwrap().to_owned()).collect();
        stages.sort();
        stages
    };
    assert_eq!(stages().await, ["current"]);
    let rotated = setup.ask("POST", "/keys/rotate").await;
    assert_eq!(rotated.status, 200);
    assert!(rotated.json()["signs_from"].as_str().unwrap().ends_with('Z'));
    assert_eq!(stages().await, ["current", "next"]);
    assert_eq!(setup.ask("POST", "/keys/rotate?now=true").await.status, 200);
    assert!(stages().await.contains(&"previous".to_owned()), "{:?}", stages().await);
}
