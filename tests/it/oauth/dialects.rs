//! `redex` and `consinco`, served by the local authority.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::house::{PASSWORD, SECRET, authority, client, hash, public, user};
use crate::support::{Reply, Sidegate, send};

pub const API_KEY: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
const KEYED: &str = "/public/v2/connect/token";
const RENEW: &str = "/public/v2/connect/token/refresh";
const LOGIN: &str = "/api/v1/auth/login";
const REFRESH: &str = "/api/v1/auth/refresh-token";
const JSON: &str = "application/json";

/// Ana, with a key and in company 12; `app` for redex and `pos` for consinco.
fn house(key: &str) -> String {
    let app = client("app", "grants: [api_key, refresh_token, password], scopes: [orders, stock]");
    let pos = public("pos", "grants: [password, refresh_token], scopes: [orders]");
    let claims = "claims: { number: 6, sequence: 8, external: false, company: \"12\" }";
    let ana = user("ana", &format!("{key}{claims}"));
    authority(&[app, pos], &[ana], ENDPOINTS)
}

pub fn keyed() -> String {
    house(&format!("api_key_hashes: [\"{}\"], ", hash(API_KEY)))
}

const ENDPOINTS: &str = "  endpoints:
    redex: {}
    consinco: { client: pos, claims: { id: number, userSequence: sequence, isExt: external } }
";

async fn post(sidegate: &Sidegate, path: &str, media: &str, body: &str) -> Reply {
    send(sidegate.public, request(path, media, body)).await
}

pub async fn by_key(sidegate: &Sidegate, key: &str) -> Reply {
    send(sidegate.public, key_request(key)).await
}

/// How `app` begins a session.
pub fn key_request(key: &str) -> Request<Full<Bytes>> {
    let body = format!(r#"{{"ApiKey":"{key}","GrantType":"api_key","ClientId":"app","ClientSecret":"{SECRET}"}}"#);
    request(KEYED, JSON, &body)
}

fn request(path: &str, media: &str, body: &str) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", "api.test").header("content-type", media);
    request.body(Full::from(Bytes::from(body.to_owned()))).unwrap()
}

pub async fn renew(sidegate: &Sidegate, token: &str) -> Reply {
    let body = format!(
        r#"{{"RefreshToken":"{token}","GrantType":"refresh_token","ClientId":"app","ClientSecret":"{SECRET}"}}"#
    );
    post(sidegate, RENEW, JSON, &body).await
}

pub async fn login(sidegate: &Sidegate, company: &str) -> Reply {
    let body = format!(r#"{{"company":"{company}","username":"ana","password":"{PASSWORD}"}}"#);
    post(sidegate, LOGIN, JSON, &body).await
}

pub async fn renew_xml(sidegate: &Sidegate, token: &str) -> Reply {
    let body = format!(
        "<ConsincoRefreshTokenBindingModel xmlns=\"http://schemas.datacontract.org/2004/07/AuthenticationServer.Models\">\
         <Refreshtoken>{token}</Refreshtoken></ConsincoRefreshTokenBindingModel>"
    );
    post(sidegate, REFRESH, "text/xml", &body).await
}

#[track_caller]
pub fn in_data(reply: &Reply, name: &str) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["Data"][name].as_str().unwrap().to_owned()
}

#[track_caller]
pub fn member(reply: &Reply, name: &str) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()[name].as_str().unwrap().to_owned()
}

/// Refused with this code in the envelope, which agrees with the status.
#[track_caller]
pub fn assert_refused(reply: &Reply, code: &str) {
    assert_eq!((reply.status.as_u16(), &reply.json()["StatusCode"]), (401, &401.into()), "{}", reply.text());
    assert_eq!((&reply.json()["Errors"][0]["Key"], &reply.json()["Data"]), (&code.into(), &serde_json::Value::Null));
}

#[tokio::test]
async fn an_api_key_begins_a_session_and_a_reused_refresh_token_ends_it() {
    let sidegate = Sidegate::start(&keyed()).await;
    let first = by_key(&sidegate, API_KEY).await;
    assert_eq!(in_data(&first, "Scope"), "orders stock");
    let first = in_data(&first, "RefreshToken");
    let second = in_data(&renew(&sidegate, &first).await, "RefreshToken");
    assert_ne!(first, second);
    in_data(&renew(&sidegate, &second).await, "AccessToken");
    sidegate.time.advance(120);
    assert_refused(&renew(&sidegate, &first).await, "invalid_grant");
    assert_refused(&renew(&sidegate, &second).await, "invalid_grant");
    assert_refused(&by_key(&sidegate, "f47ac10b-58cc-4372-a567-000000000000").await, "invalid_grant");
}

#[tokio::test]
async fn a_session_ends_when_the_api_key_that_began_it_is_taken_away() {
    let sidegate = Sidegate::start(&keyed()).await;
    let by_key = in_data(&by_key(&sidegate, API_KEY).await, "RefreshToken");
    let by_password = member(&login(&sidegate, "12").await, "refresh_token");
    sidegate.reload(&house("")).await;
    assert_refused(&renew(&sidegate, &by_key).await, "invalid_grant");
    assert_eq!(renew_xml(&sidegate, &by_password).await.status, 200, "the password is still the same");
}

#[tokio::test]
async fn a_session_that_began_in_json_goes_on_in_xml() {
    let sidegate = Sidegate::start(&keyed()).await;
    let first = login(&sidegate, "12").await;
    let reply = renew_xml(&sidegate, &member(&first, "refresh_token")).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, Some("text/xml; charset=utf-8")));
    for (name, text) in [("id", "6"), ("seqUser", "8"), ("isExt", "false"), ("company", "12"), ("loginId", "ana")] {
        let element = format!("_x003C_{name}_x003E_k__BackingField");
        assert!(reply.text().contains(&format!("<{element}>{text}</{element}>")), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_user_of_another_company_is_as_wrong_as_a_wrong_password() {
    let sidegate = Sidegate::start(&keyed()).await;
    let other = login(&sidegate, "13").await;
    let wrong = post(&sidegate, LOGIN, JSON, r#"{"company":"12","username":"ana","password":"guess"}"#).await;
    assert_eq!((other.status.as_u16(), other.text()), (401, wrong.text()));
}

#[tokio::test]
async fn a_refresh_token_of_one_dialect_is_nobodys_in_another() {
    let sidegate = Sidegate::start(&keyed()).await;
    let token = member(&login(&sidegate, "12").await, "refresh_token");
    assert_refused(&renew(&sidegate, &token).await, "invalid_grant");
    assert_eq!(renew_xml(&sidegate, &token).await.status, 200, "nothing was revoked");
}

#[tokio::test]
async fn a_client_without_its_secret_gets_nothing() {
    let sidegate = Sidegate::start(&keyed()).await;
    for (id, secret) in [("app", "guess"), ("nobody", SECRET), ("pos", SECRET)] {
        let body =
            format!(r#"{{"ApiKey":"{API_KEY}","GrantType":"api_key","ClientId":"{id}","ClientSecret":"{secret}"}}"#);
        assert_refused(&post(&sidegate, KEYED, JSON, &body).await, "invalid_client");
    }
}

#[tokio::test]
async fn what_http_itself_refuses_is_said_in_the_dialect() {
    let sidegate = Sidegate::start(&keyed()).await;
    let long = "x".repeat(100 * 1024);
    let reply = post(&sidegate, RENEW, JSON, &long).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["StatusCode"]), (413, &413.into()));
    let reply = post(&sidegate, REFRESH, "text/xml", &long).await;
    assert_eq!(reply.status, 413);
    assert!(reply.text().starts_with("<Error><Message>"), "{}", reply.text());
    for path in [KEYED, RENEW, LOGIN, REFRESH] {
        let request = Request::get(path).header("host", "api.test").body(Full::default()).unwrap();
        let reply = send(sidegate.public, request).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("POST")), "{path}");
    }
}

#[tokio::test]
async fn a_dialect_that_is_not_configured_is_not_there() {
    let app = client("app", "grants: [client_credentials]");
    let sidegate = Sidegate::start(&authority(&[app], &[], "")).await;
    for path in [KEYED, RENEW, LOGIN, REFRESH] {
        // The route that catches everything asks for a token.
        assert_eq!(post(&sidegate, path, JSON, "{}").await.header("content-type"), Some("application/problem+json"));
    }
}

/// Every golden request that cannot be read, on the wire.
#[tokio::test]
async fn bad_requests_are_refused_as_the_golden_files_show() {
    let sidegate = Sidegate::start(&keyed()).await;
    let checked = [check_bad_requests(&sidegate, "redex").await, check_bad_requests(&sidegate, "consinco").await];
    assert!(checked.iter().sum::<usize>() > 30, "{checked:?}");
}

/// How many golden requests of `dialect` cannot be read; each is refused as its file shows.
pub async fn check_bad_requests(sidegate: &Sidegate, dialect: &str) -> usize {
    let mut checked = 0;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(dialect);
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        let bad = ["# outcome: invalid_request\n", "# outcome: unsupported_grant_type\n"];
        if !bad.iter().any(|line| text.contains(line)) || text.contains("# options:") {
            continue;
        }
        let (request, expected) = text.split_once("\n\n###\n\n").unwrap();
        let request: String =
            request.lines().skip_while(|line| line.starts_with("# ")).map(|line| format!("{line}\n")).collect();
        let (head, body) = request.split_once("\n\n").unwrap_or((request.trim_end(), ""));
        let mut lines = head.lines();
        let mut asked = Request::post(lines.next().unwrap().split(' ').nth(1).unwrap());
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            asked = asked.header(name, value);
        }
        let reply = send(sidegate.public, asked.body(Full::from(body.trim_end().to_owned())).unwrap()).await;
        let (expected_head, expected_body) = expected.split_once("\n\n").unwrap();
        let name = file.display();
        assert!(expected_head.starts_with(&format!("HTTP/1.1 {} ", reply.status.as_u16())), "{name}: {reply:?}");
        let compact = |text: &str| text.replace(['\n', ' '], "");
        assert_eq!(compact(reply.text()), compact(expected_body), "{name}");
        checked += 1;
    }
    checked
}
