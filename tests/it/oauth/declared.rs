//! Token APIs that only the configuration knows, served by the local authority.

mod outside;

use std::{fs, path::Path};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    dialects::check_bad_requests,
    house::{PASSWORD, SECRET, authority, basic, client, hash, is_active, public, user},
};
use crate::{
    secrets::Program,
    support::{Reply, Sidegate, issuer::scratch, send},
};

const SESSIONS: &str = "/acme/v1/sessions";
const TOKEN: &str = "/acme/v1/token";
const MACHINES: &str = "/acme/v1/machines";
const API_KEY: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

/// The dialects of `tests/golden/declared/FILE.yaml`.
fn dialects(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/declared");
    fs::read_to_string(folder.join(format!("{file}.yaml"))).unwrap()
}

/// A configuration that serves them.
fn house(file: &str, mounts: &str) -> String {
    house_of(file, mounts, "")
}

/// The same, and `more` of its clients.
fn house_of(file: &str, mounts: &str, more: &str) -> String {
    let grants = "grants: [password, client_credentials, api_key, refresh_token]";
    let app = client("app", &format!("{grants}, scopes: [orders, stock]{more}"));
    let pos = public("pos", &format!("grants: [api_key, password, refresh_token], scopes: [orders]{more}"));
    let keyed = format!("api_key_hashes: [\"{}\"], claims: {{ number: \"6\", external: false }}", hash(API_KEY));
    let endpoints = format!("  endpoints:\n    declared: [{mounts}]\n");
    dialects(file) + &authority(&[app, pos], &[user("ana", &keyed)], &endpoints)
}

async fn acme() -> Sidegate {
    Sidegate::start(&house("acme", "{ dialect: acme, client: pos }")).await
}

async fn post(
    sidegate: &Sidegate,
    path: &str,
    media: &str,
    headers: &[(&str, &str)],
    body: impl Into<String>,
) -> Reply {
    let mut request = Request::post(path).header("host", "api.test").header("content-type", media);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(sidegate.public, request.body(Full::from(Bytes::from(body.into()))).unwrap()).await
}

async fn get(sidegate: &Sidegate, target: &str) -> Reply {
    send(sidegate.public, Request::get(target).header("host", "api.test").body(Full::default()).unwrap()).await
}

fn login(password: &str) -> Value {
    json!({
        "kind": "password", "version": 2, "user": { "name": "ana", "secret": password },
        "client": { "id": "app", "secret": SECRET }, "scope": "scope:orders",
    })
}

async fn log_in(sidegate: &Sidegate) -> Reply {
    let reply = post(sidegate, SESSIONS, "application/json", &[], login(PASSWORD).to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

async fn renew(sidegate: &Sidegate, renewal: &str) -> Reply {
    let body = json!({
        "kind": "renewal", "version": "2", "renewal": renewal, "client": { "id": "app", "secret": SECRET },
    });
    post(sidegate, SESSIONS, "application/json", &[], body.to_string()).await
}

fn renewal(reply: &Reply) -> String {
    reply.json()["session"]["renewal"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

#[tokio::test]
async fn a_made_up_api_begins_a_session_and_goes_on_with_it_at_one_path() {
    let sidegate = acme().await;
    let first = log_in(&sidegate).await;
    let answer = first.json();
    assert_eq!(
        (first.header("cache-control"), first.header("content-type")),
        (Some("no-store"), Some("application/json"))
    );
    assert_eq!((&answer["session"]["seconds"], &answer["session"]["rights"]), (&json!("3600"), &json!(["orders"])));
    assert_eq!(answer["user"], json!({ "name": "ana", "number": 6, "external": false }));
    assert!(answer["times"]["login"].is_u64(), "{answer}");
    let order = ["\"ok\"", "\"session\"", "\"token\"", "\"renewal\"", "\"user\"", "\"times\"", "\"until\""];
    let at: Vec<usize> = order.iter().map(|name| first.text().find(name).unwrap()).collect();
    assert!(at.is_sorted(), "{}", first.text());
    let token = answer["session"]["token"].as_str().unwrap().strip_prefix("Acme ").unwrap().to_owned();
    assert!(is_active(&sidegate, &token).await);

    let second = renew(&sidegate, &renewal(&first)).await;
    assert_ne!(renewal(&first), renewal(&second));
    sidegate.time.advance(120);
    let reused = renew(&sidegate, &renewal(&first)).await;
    assert_eq!((reused.status.as_u16(), &reused.json()["error"]["code"]), (403, &json!("4031")), "{}", reused.text());
    assert_eq!(reused.json()["error"]["text"], "403 Forbidden: sign in again");
    assert_eq!(renew(&sidegate, &renewal(&second)).await.status, 403, "the session has ended");
}

#[tokio::test]
async fn the_same_api_speaks_xml() {
    let sidegate = acme().await;
    let login = format!(
        "<x:Login xmlns:x=\"urn:acme:v1\"><x:Client><x:Secret>{SECRET}</x:Secret><x:Id>app</x:Id></x:Client>\
         <x:Kind>password</x:Kind><x:User><x:Name>ana</x:Name><x:Secret>{PASSWORD}</x:Secret></x:User></x:Login>"
    );
    let reply = post(&sidegate, SESSIONS, "application/xml", &[], login.clone()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (200, Some("application/xml")),
        "{}",
        reply.text()
    );
    for part in
        ["<Session xmlns:i=", "<Seconds>3600</Seconds>", "<User><Name>ana</Name><Number>6</Number><External>false"]
    {
        assert!(reply.text().contains(part), "{}", reply.text());
    }
    let (_, renewal) = reply.text().split_once("<Renewal>").unwrap();
    let renewal = renewal.split_once("</Renewal>").unwrap().0;
    let body = format!(
        "<Renewal xmlns=\"urn:acme:v1\"><Kind>renewal</Kind><Token>{renewal}</Token><Client><Id>app</Id>\
         <Secret>{SECRET}</Secret></Client></Renewal>"
    );
    let reply = post(&sidegate, SESSIONS, "application/xml", &[("accept", "application/json")], body).await;
    assert_eq!(reply.json()["ok"], true, "{}", reply.text());
    for (wrong, problem) in [
        (login.replace("urn:acme:v1", "urn:acme:v2"), "root element"),
        (login.replace("</x:User>", "<x:Name>bea</x:Name></x:User>"), "repeated"),
        (format!("<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>{login}"), "without a DTD"),
    ] {
        let reply = post(&sidegate, SESSIONS, "application/xml", &[], wrong).await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().starts_with("<Fault") && reply.text().contains(problem), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_get_begins_a_session_and_no_log_has_its_key() {
    let directory = scratch("declared-query");
    let config = house("acme", "{ dialect: acme, client: pos }");
    let here = "listeners: [{ name: public, address: \"127.0.0.1:0\" }]\nlog: { level: debug, format: json }\n";
    let program = Program::start(&directory, &format!("{here}{config}"));
    let address = program.address("public").await;
    let ask = async |query: &str| {
        let request =
            Request::get(format!("{TOKEN}?{query}")).header("host", "api.test").body(Full::default()).unwrap();
        send(address, request).await
    };
    let reply = ask(&format!("key={API_KEY}&scope=orders")).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["session"]["rights"]),
        (200, &json!(["orders"])),
        "{}",
        reply.text()
    );
    let token = reply.json()["session"]["token"].as_str().unwrap().to_owned();
    for (bad, status) in [
        ("key=00000000-canary", 403),
        ("key=canary&key=canary", 400),
        ("key=canary%zz", 400),
        ("key=canary&format=short", 422),
        ("", 400),
    ] {
        let reply = ask(bad).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["ok"]), (status, &json!(false)), "{bad}: {}", reply.text());
        assert!(!reply.text().contains("canary"), "{}", reply.text());
    }
    program.signal("-TERM");
    let written = program.written();
    assert!(written.contains("acme:token"), "{written}");
    for secret in [API_KEY, "canary", token.trim_start_matches("Acme ")] {
        assert!(!written.contains(secret), "{written}");
    }
}

#[tokio::test]
async fn a_client_may_prove_itself_by_basic() {
    let sidegate = acme().await;
    let ask = async |headers: &[(&str, &str)], body: &str| {
        post(&sidegate, MACHINES, "application/x-www-form-urlencoded", headers, body).await
    };
    let (good, bad) = (basic("app", SECRET), basic("app", "guess"));
    let reply = ask(&[("authorization", &good)], "kind=machine&scope=stock").await;
    assert_eq!(
        (&reply.json()["session"]["rights"], &reply.json()["session"]["renewal"]),
        (&json!(["stock"]), &Value::Null)
    );
    for headers in [&[("authorization", &*bad)][..], &[], &[("authorization", "Bearer x")]] {
        let reply = ask(headers, "kind=machine").await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]["code"]),
            (401, &json!("E_CLIENT")),
            "{}",
            reply.text()
        );
        assert!(reply.header("www-authenticate").unwrap().starts_with("Basic realm="));
    }
    let reply = ask(&[("authorization", &good)], "kind=human").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (422, &json!("unsupported_grant_type")));
}

#[tokio::test]
async fn every_refusal_has_the_form_of_the_api() {
    let sidegate = acme().await;
    let ask = async |body: Value| post(&sidegate, SESSIONS, "application/json", &[], body.to_string()).await;
    let problems = |reply: &Reply| -> Vec<(String, String)> {
        let members = reply.json()["members"].as_array().unwrap().clone();
        let text = |member: &Value, name: &str| member[name].as_str().unwrap().to_owned();
        members.iter().map(|member| (text(member, "name"), text(member, "problem"))).collect()
    };
    let with = |pointer: &str, value: Value| {
        let mut body = login(PASSWORD);
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (body, status, member, problem) in [
        (with("/user/name", json!("")), 400, "user.name", "it is missing"),
        (with("/user", json!(7)), 400, "user.name", "it is missing"),
        (with("/user/secret", json!(["x"])), 400, "user.secret", "it is not a text"),
        (with("/user/name", json!("a".repeat(21))), 400, "user.name", "it is too long"),
        (with("/scope", json!("orders")), 400, "scope", "it is not of the form that is expected"),
        (with("/version", json!(3)), 422, "unsupported_grant_type", "unsupported_grant_type"),
        (with("/kind", json!("code")), 422, "unsupported_grant_type", "unsupported_grant_type"),
        (with("/client/secret", json!("guess")), 401, "E_CLIENT", "E_CLIENT"),
        (with("/user/secret", json!("guess")), 403, "4031", "sign in again"),
        (with("/scope", json!("scope:other")), 400, "invalid_scope", "invalid_scope"),
    ] {
        let reply = ask(body.clone()).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        assert_eq!(problems(&reply)[0], (member.to_owned(), problem.to_owned()), "{body}: {}", reply.text());
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    let twice = login(PASSWORD).to_string().replacen('{', "{\"kind\":\"password\",", 1);
    let reply = post(&sidegate, SESSIONS, "application/json", &[], twice).await;
    assert_eq!((reply.status.as_u16(), problems(&reply).len()), (400, 8), "{}", reply.text());
    let reply = post(&sidegate, SESSIONS, "text/plain", &[], "x").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["ok"]), (415, &json!(false)));
    let reply = post(&sidegate, SESSIONS, "application/json", &[], "x".repeat(100 * 1024)).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["ok"]), (413, &json!(false)));
}

#[tokio::test]
async fn each_place_says_which_methods_it_takes() {
    let sidegate = acme().await;
    for path in [SESSIONS, MACHINES] {
        let reply = get(&sidegate, path).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("POST")), "{path}");
    }
    let reply = post(&sidegate, TOKEN, "application/json", &[], "{}").await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("GET")));
}

#[tokio::test]
async fn a_declared_dialect_is_served_where_it_is_mounted_and_counted_by_its_name() {
    let mount = "{ dialect: acme, paths: { api_key: off, client_credentials: /machines, password: /in } }";
    let sidegate = Sidegate::start(&house("acme", mount)).await;
    assert_eq!(get(&sidegate, TOKEN).await.header("content-type"), Some("application/problem+json"));
    let reply = post(&sidegate, "/in", "application/json", &[], login(PASSWORD).to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // What was at one path with it is still where the dialect says.
    assert_eq!(renew(&sidegate, &renewal(&reply)).await.status, 200);
    for (grant, count) in [("password", 1.0), ("refresh_token", 1.0)] {
        let series = format!("sidegate_tokens_issued_total{{dialect=\"acme\",grant=\"{grant}\"}}");
        assert!((sidegate.series(&series).await - count).abs() < 0.1, "{series}");
    }
}

/// Every golden request that cannot be read, on the wire.
#[tokio::test]
async fn the_declared_twins_refuse_bad_requests_as_the_golden_files_show() {
    let redex = Sidegate::start(&house("redex", "{ dialect: current }")).await;
    let consinco = Sidegate::start(&house("consinco", "{ dialect: documented, client: pos }")).await;
    let checked = [check_bad_requests(&redex, "redex").await, check_bad_requests(&consinco, "consinco").await];
    assert!(checked.iter().sum::<usize>() > 30, "{checked:?}");
}
