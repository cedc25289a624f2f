use std::time::Duration;

use http::HeaderName;
use serde_json::json;
use tokio::runtime::Handle;

use super::{
    super::ask::{
        Asker,
        tests::{LONG, word},
    },
    *,
};
use crate::{
    config::{Inquiry, KeySource, Way},
    fetch::testing::{Provider, Reply},
    jose::testing::{ISSUER, NOW, issuer},
};

/// A server that names its users at /me, asked by GET.
async fn setup(change: impl FnOnce(&mut config::Probe)) -> (Provider, Asker) {
    let server = Provider::start().await;
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let mut probe = config::Probe {
        url: server.url("/me"),
        method: Method::GET,
        header: AUTHORIZATION,
        headers: HeaderMap::new(),
        accept: vec![StatusCode::OK],
        refuse: vec![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN],
        claims: pairs(&[
            ("sub", "/user/id"),
            ("client_id", "/client"),
            ("scope", "/roles"),
            ("aud", "/audience"),
            ("exp", "/expires"),
            ("iss", "/issuer"),
            ("cnf", "/bound"),
            ("company", "/user/a~1b"),
        ]),
        require: vec![("/active".to_owned(), vec![json!(true), json!("yes"), json!(1)]), ("/user".to_owned(), vec![])],
        subject: Some("nobody".to_owned()),
        audiences: vec!["orders-api".to_owned()],
        scopes: vec!["orders".to_owned(), "profile".to_owned()],
    };
    change(&mut probe);
    let inquiry = Inquiry {
        way: Way::Probe(Box::new(probe)),
        cache_ttl: Duration::from_secs(60),
        negative_ttl: Duration::from_secs(10),
        max_concurrent: 4,
        timeout: LONG,
    };
    let issuer = config::Issuer { inquiry: Some(inquiry), ..issuer(KeySource::None) };
    (server, Asker::new(&issuer, Handle::current()).unwrap())
}

fn answer(changes: Value) -> String {
    let mut answer = json!({"active": true, "user": {"id": "alice"}});
    answer.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    answer.to_string()
}

#[tokio::test]
async fn every_answer_comes_to_one_verdict() {
    let (server, asker) = setup(|_| {}).await;
    for (answer, expected) in [
        (answer(json!({})), "active"),
        (answer(json!({"active": "yes"})), "active"),
        (answer(json!({"active": 1})), "active"),
        (answer(json!({"active": 1.0})), "inactive"),
        (answer(json!({"active": false})), "inactive"),
        (answer(json!({"active": "true"})), "inactive"),
        (answer(json!({"active": null})), "inactive"),
        (answer(json!({"active": [true]})), "inactive"),
        (answer(json!({"user": null})), "inactive"),
        (json!({"error": "who are you?"}).to_string(), "inactive"),
        (json!({}).to_string(), "inactive"),
        (answer(json!({"user": {}})), "active"),
        (answer(json!({"user": {"id": 42}})), "active"),
        (answer(json!({"user": {"id": null}})), "active"),
        (answer(json!({"user": {"id": 4.2}})), "unavailable"),
        (answer(json!({"user": {"id": {}}})), "unavailable"),
        (answer(json!({"user": {"id": true}})), "unavailable"),
        (answer(json!({"client": 7, "roles": ["a", "b"], "audience": ["x"]})), "active"),
        (answer(json!({"roles": [7]})), "unavailable"),
        (answer(json!({"roles": 7})), "unavailable"),
        (answer(json!({"audience": 7})), "unavailable"),
        (answer(json!({"expires": NOW.0 + 60})), "active"),
        (answer(json!({"expires": NOW.0 - 30})), "expired"),
        (answer(json!({"expires": (NOW.0 + 60).to_string()})), "unavailable"),
        (answer(json!({"expires": 1.8e9})), "unavailable"),
        (answer(json!({"expires": -1})), "unavailable"),
        (answer(json!({"expires": null})), "unavailable"),
        (answer(json!({"issuer": ISSUER})), "active"),
        (answer(json!({"issuer": "https://other.test"})), "wrong_issuer"),
        (answer(json!({"bound": {"jkt": "x"}})), "bound_token"),
        (answer(json!({"bound": null})), "bound_token"),
        (answer(json!({"user": {"id": "alice", "a/b": ["x", 1, null]}})), "active"),
        (answer(json!({"x": "y".repeat(70_000)})), "unavailable"),
        (r#"{"active":false,"active":true,"user":{}}"#.to_owned(), "unavailable"),
        (json!([{"active": true}]).to_string(), "unavailable"),
        ("true".to_owned(), "unavailable"),
        ("<html>".to_owned(), "unavailable"),
        (String::new(), "unavailable"),
    ] {
        server.reply("/me", Reply::Json(answer.clone()));
        assert_eq!(word(asker.ask("token", [0; 16], NOW, || {}).await), expected, "{answer:.100}");
    }
}

#[tokio::test]
async fn members_become_claims_and_the_configuration_says_what_the_answer_does_not() {
    let (server, asker) = setup(|_| {}).await;
    let claims = async |answer: Value| {
        server.reply("/me", Reply::Json(answer.to_string()));
        match asker.ask("token", [0; 16], NOW, || {}).await {
            Ok(Answer::Active(claims)) => Value::Object(claims.members().to_map()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        claims(json!({"active": true, "user": {"id": 42, "a/b": "acme"}, "client": 7, "roles": ["a"], "audience": "x",
            "expires": NOW.0 + 60, "issuer": ISSUER, "more": "is not read"}))
        .await,
        json!({"sub": "42", "company": "acme", "client_id": "7", "scope": ["a"], "aud": "x", "exp": NOW.0 + 60,
            "iss": ISSUER}),
    );
    assert_eq!(
        claims(json!({"active": true, "user": {"id": null}, "roles": null, "audience": null})).await,
        json!({"sub": "nobody", "aud": ["orders-api"], "scope": "orders profile"}),
    );
}

#[tokio::test]
async fn a_status_is_a_yes_or_a_no_only_where_the_configuration_says_so() {
    let (server, asker) = setup(|probe| probe.refuse.push(StatusCode::FOUND)).await;
    for (reply, expected) in [
        (Reply::Status(401), "inactive"),
        (Reply::Status(403), "inactive"),
        (Reply::Redirect("/elsewhere".to_owned()), "inactive"),
        (Reply::Status(500), "unavailable"),
        (Reply::Status(503), "unavailable"),
        (Reply::Status(429), "unavailable"),
        (Reply::Status(400), "unavailable"),
        (Reply::Status(201), "unavailable"),
        (Reply::Status(204), "unavailable"),
        (Reply::Status(301), "unavailable"),
        (Reply::Status(404), "misconfigured"),
        (Reply::Status(405), "misconfigured"),
        (Reply::Broken, "unavailable"),
    ] {
        server.reply("/me", reply);
        assert_eq!(word(asker.ask("token", [0; 16], NOW, || {}).await), expected);
    }
    assert_eq!(server.hits("/elsewhere"), 0);
}

#[tokio::test]
async fn where_no_member_is_needed_the_body_is_not_read() {
    let (server, asker) = setup(|probe| {
        probe.claims.clear();
        probe.require.clear();
    })
    .await;
    for body in ["", "<html>", "{}", &"x".repeat(200_000)] {
        server.reply("/me", Reply::Json(body.to_owned()));
        assert_eq!(word(asker.ask("token", [0; 16], NOW, || {}).await), "active");
    }
}

#[tokio::test]
async fn the_token_stands_where_the_server_looks_for_it() {
    for (header, expected) in [("authorization", Some("Bearer a+b/c==")), ("x-token", None)] {
        let (server, asker) = setup(|probe| {
            probe.method = Method::POST;
            probe.header = HeaderName::from_static(header);
        })
        .await;
        server.reply("/me", Reply::Json(answer(json!({}))));
        assert_eq!(word(asker.ask("a+b/c==", [0; 16], NOW, || {}).await), "active");
        let seen = server.seen().remove(0);
        assert_eq!((seen.authorization.as_deref(), seen.body.as_str()), (expected, ""));
    }
}

#[tokio::test]
async fn a_token_that_is_no_header_is_no_question() {
    let (server, asker) = setup(|_| {}).await;
    assert_eq!(word(asker.ask("a\nb", [0; 16], NOW, || {}).await), "unavailable");
    assert_eq!(server.hits("/me"), 0);
}
