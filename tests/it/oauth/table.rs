//! The whole table of errors of the token, introspection and revocation endpoints: a row, a request, an answer.

use std::{net::SocketAddr, sync::atomic::Ordering};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;

use super::{
    away,
    house::{
        PASSWORD, REDIRECT, SECRET, VERIFIER, as_app, authority, basic, client, code, form, password, public, redeem,
        refresh, text, token, user,
    },
};
use crate::support::{Pair, Reply, Sidegate, issuer::scratch, send};

const TOKEN: &str = "/oauth20/token";
const REVOKE: &str = "/oauth20/revoke";
const INTROSPECT: &str = "/oauth20/introspect";
const CHALLENGE: (&str, &str) = ("www-authenticate", "Basic realm=\"sidegate\", charset=\"UTF-8\"");

struct Row {
    name: &'static str,
    to: SocketAddr,
    request: Request<Full<Bytes>>,
    status: u16,
    answer: Body,
    /// Besides those that every answer has.
    headers: Vec<(&'static str, &'static str)>,
}

enum Body {
    Error(&'static str),
    Exactly(&'static str),
}

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    to: Option<SocketAddr>,
}

impl Table {
    fn row(&mut self, name: &'static str, request: Request<Full<Bytes>>, status: u16, answer: Body) -> &mut Row {
        let headers = match (status, &answer) {
            (401, _) => vec![CHALLENGE],
            (405, _) => vec![("allow", "POST")],
            (503, _) => vec![("retry-after", "2")],
            _ => Vec::new(),
        };
        self.rows.push(Row { name, to: self.to.unwrap(), request, status, answer, headers });
        self.rows.last_mut().unwrap()
    }

    /// The token endpoint, asked by `app`.
    fn app(&mut self, name: &'static str, body: &str, status: u16, error: &'static str) {
        self.row(name, form(TOKEN, &as_app(body), &[]), status, Body::Error(error));
    }

    /// The token endpoint, with this and nothing else.
    fn bare(&mut self, name: &'static str, body: &str, headers: &[(&str, &str)], status: u16, error: &'static str) {
        self.row(name, form(TOKEN, body, headers), status, Body::Error(error));
    }
}

/// Where the three endpoints are asked: the same clients and users behind a gate, and with a store that goes away.
fn yaml() -> String {
    let keys = scratch("table").join("jwks.json");
    std::fs::write(&keys, json!({"keys": [Pair::new("ES256", "k").jwk]}).to_string()).unwrap();
    let grants = "authorization_code, client_credentials, password, refresh_token";
    let all = format!("grants: [{grants}], redirect_uris: [\"{REDIRECT}\"]");
    let clients = [
        client("app", &format!("{all}, scopes: [orders, refunds], default_scopes: [orders]")),
        client("narrow", &format!("{all}, scopes: [orders], refresh_token: {{ scope: narrow }}")),
        client("other", &format!("{all}, scopes: [orders]")),
        client("poor", "grants: [refresh_token]"),
        client("gone", &format!("enabled: false, {all}")),
        public("phone", &format!("grants: [authorization_code, refresh_token], redirect_uris: [\"{REDIRECT}\"]")),
        format!("{{ id: keys, jwks_file: {}, grants: [client_credentials] }}", keys.display()),
    ];
    authority(&clients, &[user("ana", ""), user("locked", "enabled: false")], "")
}

/// A session of `client` for the password of `ana`.
async fn session(sidegate: &Sidegate, client: &str) -> Reply {
    let body =
        format!("grant_type=password&username=ana&password={PASSWORD}&client_id={client}&client_secret={SECRET}");
    token(sidegate, &body).await
}

#[tokio::test]
async fn every_row_of_the_table_of_errors_is_answered_as_it_says() {
    let sidegate = Sidegate::start(&yaml()).await;
    let mut table = Table { to: Some(sidegate.public), ..Table::default() };
    methods_and_forms(&mut table);
    clients(&mut table);
    codes(&mut table, &sidegate).await;
    grants(&mut table, &sidegate).await;
    introspection(&mut table, &sidegate).await;
    revocation(&mut table, &sidegate).await;
    let (address, away) = away::serve(&yaml()).await;
    table.to = Some(address);
    let kept = store_away(&mut table, address).await;
    away.store(true, Ordering::SeqCst);
    for row in table.rows {
        check(row).await;
    }
    away.store(false, Ordering::SeqCst);
    assert_eq!(send(address, kept).await.status, 200, "an outage of the store has ended a session");
}

fn methods_and_forms(table: &mut Table) {
    for path in [TOKEN, INTROSPECT, REVOKE] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let request = Request::builder().method(method).uri(path).header("host", "api.test");
            let answer = if method == "HEAD" { Body::Exactly("") } else { Body::Error("invalid_request") };
            table.row("not POST", request.body(Full::default()).unwrap(), 405, answer);
        }
        let whole = format!("grant_type=client_credentials&token=x&client_id=app&client_secret={SECRET}");
        for (name, media) in [
            ("JSON", "application/json"),
            ("text", "text/plain"),
            ("a charset that is not UTF-8", "application/x-www-form-urlencoded; charset=latin1"),
        ] {
            let request = form(path, &whole, &[("content-type", media)]);
            table.row(name, request, 400, Body::Error("invalid_request"));
        }
        let compressed = form(path, &whole, &[("content-encoding", "gzip")]);
        table.row("compressed", compressed, 400, Body::Error("invalid_request"));
        let untyped = Request::post(path).header("host", "api.test").body(Full::from(whole.clone())).unwrap();
        table.row("no media type", untyped, 400, Body::Error("invalid_request"));
        for (name, more) in [
            ("a parameter twice", "&client_id=app"),
            ("an unknown parameter twice", "&x=1&x=2"),
            ("an empty parameter twice", "&x=&x="),
            ("not UTF-8", "&x=%ff"),
            ("half an escape", "&x=%4"),
        ] {
            table.row(name, form(path, &(whole.clone() + more), &[]), 400, Body::Error("invalid_request"));
        }
        for name in ["client_secret", "client_assertion", "password", "code", "refresh_token", "token"] {
            let request = form(&format!("{path}?{name}=x"), &whole, &[]);
            table.row("a secret in the URI", request, 400, Body::Error("invalid_request"));
        }
        let long = format!("{whole}&x={}", "a".repeat(64 * 1024));
        table.row("too large", form(path, &long, &[]), 413, Body::Error("invalid_request"));
    }
    table.app("no grant_type", "scope=orders", 400, "invalid_request");
    table.app("an empty grant_type", "grant_type=", 400, "invalid_request");
    table.app("an unknown grant_type", "grant_type=urn:x", 400, "unsupported_grant_type");
    table.app("the implicit grant is not for here", "grant_type=implicit", 400, "unsupported_grant_type");
    table.app("no code", "grant_type=authorization_code", 400, "invalid_request");
    table.app("no username", "grant_type=password&password=x", 400, "invalid_request");
    table.app("no password", "grant_type=password&username=ana&password=", 400, "invalid_request");
    table.app("no refresh token", "grant_type=refresh_token", 400, "invalid_request");
}

fn clients(table: &mut Table) {
    let own = "grant_type=client_credentials";
    let with = |id: &str, secret: &str| format!("{own}&client_id={id}&client_secret={secret}");
    let (good, header) = (basic("app", SECRET), |value: &str| [("authorization", value.to_owned())]);
    let mut by_header = |name, body: &str, value: &str, status, error| {
        let headers = header(value);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        table.bare(name, body, &headers, status, error);
    };
    by_header("wrong secret, Basic", own, &basic("app", "wrong"), 401, "invalid_client");
    by_header("unknown client, Basic", own, &basic("nobody", SECRET), 401, "invalid_client");
    by_header("disabled client, Basic", own, &basic("gone", SECRET), 401, "invalid_client");
    by_header("malformed Basic: no base64", own, "Basic !", 401, "invalid_client");
    by_header("malformed Basic: no colon", own, "Basic YXBw", 401, "invalid_client");
    by_header("malformed Basic: no id", own, "Basic OmE=", 401, "invalid_client");
    by_header("malformed Basic: nothing", own, "Basic", 401, "invalid_client");
    by_header("another scheme", own, "Bearer abc", 401, "invalid_client");
    by_header("Basic parts not form-decodable", own, &basic("app", "%zz"), 401, "invalid_client");
    by_header("Basic parts not UTF-8 when decoded", own, &basic("app", "%ff"), 401, "invalid_client");
    by_header("Basic and form secret", &with("app", SECRET), &good, 400, "invalid_request");
    by_header("Basic and assertion", &assertion(own, "x"), &good, 400, "invalid_request");
    by_header("client_id differs", &format!("{own}&client_id=other"), &good, 400, "invalid_request");
    by_header("Basic without a secret", own, &basic("app", ""), 401, "invalid_client");
    table.bare("wrong secret, form", &with("app", "wrong"), &[], 401, "invalid_client");
    table.bare("unknown client, form", &with("nobody", SECRET), &[], 401, "invalid_client");
    table.bare("disabled client, form", &with("gone", SECRET), &[], 401, "invalid_client");
    table.bare("confidential, no secret", &format!("{own}&client_id=app"), &[], 401, "invalid_client");
    table.bare("confidential, empty secret", &with("app", ""), &[], 401, "invalid_client");
    table.bare("no client at all", own, &[], 401, "invalid_client");
    table.bare("a secret and no client", &format!("{own}&client_secret={SECRET}"), &[], 401, "invalid_client");
    table.bare("a public client with a secret", &with("phone", SECRET), &[], 401, "invalid_client");
    table.bare("a client of keys with a secret", &with("keys", SECRET), &[], 401, "invalid_client");
    table.bare("a client of secrets with an assertion", &assertion(own, "app"), &[], 401, "invalid_client");
    let two = assertion(&with("app", SECRET), "x");
    table.bare("form secret and assertion", &two, &[], 400, "invalid_request");
    let half = format!("{own}&client_assertion=x");
    table.bare("an assertion without its type", &half, &[], 400, "invalid_request");
    let half = format!("{own}&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    table.bare("the type of an assertion without it", &half, &[], 400, "invalid_request");
    let other = format!(
        "{own}&client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
    );
    table.bare("an assertion of another type", &other, &[], 401, "invalid_client");
    table.bare("an assertion that is none", &assertion(own, "x"), &[], 401, "invalid_client");
    let poor = format!("{own}&client_id=poor&client_secret={SECRET}");
    table.bare("a grant that the client has not", &poor, &[], 400, "unauthorized_client");
    let phone = format!("{own}&client_id=phone");
    table.bare("a public client on its own behalf", &phone, &[], 400, "unauthorized_client");
}

fn assertion(body: &str, assertion: &str) -> String {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    format!("{body}&client_assertion={assertion}&client_assertion_type={kind}")
}

async fn codes(table: &mut Table, sidegate: &Sidegate) {
    let asks = |code: &str, more: &str| format!("grant_type=authorization_code&code={code}{more}");
    let (redirect, verifier) = (format!("&redirect_uri={REDIRECT}"), format!("&code_verifier={VERIFIER}"));
    let whole = redirect.clone() + &verifier;
    table.app("a code that is none", &asks("junk", &whole), 400, "invalid_grant");
    let expired = code(sidegate, |code| code.expires = code.expires.minus(61)).await;
    table.app("an expired code", &asks(&expired, &whole), 400, "invalid_grant");
    let others = code(sidegate, |code| code.client = "other".to_owned()).await;
    table.app("another client's code", &asks(&others, &whole), 400, "invalid_grant");
    // The same code in all rows: a refusal spends nothing.
    let good = code(sidegate, |_| {}).await;
    let plain = code(sidegate, |code| code.challenge = None).await;
    for more in ["", "&redirect_uri=https://app.test/CB", "&redirect_uri=https://app.test/cb?x"] {
        table.app("redirect_uri differs", &asks(&good, &format!("{more}{verifier}")), 400, "invalid_grant");
    }
    table.app("verifier missing", &asks(&good, &redirect), 400, "invalid_grant");
    let wrong = format!("{redirect}&code_verifier={}", "a".repeat(43));
    table.app("verifier wrong", &asks(&good, &wrong), 400, "invalid_grant");
    table.app("verifier without challenge", &asks(&plain, &whole), 400, "invalid_request");
    for bad in ["a".repeat(42), "a".repeat(129), format!("{}%2B", "a".repeat(43))] {
        let more = format!("{redirect}&code_verifier={bad}");
        table.app("verifier malformed", &asks(&good, &more), 400, "invalid_request");
    }
    let elsewhere = format!("{whole}&resource=other-api");
    table.app("unknown resource", &asks(&good, &elsewhere), 400, "invalid_target");
    let locked = code(sidegate, |code| code.granted.username = Some("locked".to_owned())).await;
    table.app("a user who is gone", &asks(&locked, &whole), 400, "invalid_grant");
    let wider = code(sidegate, |code| code.granted.scope = ["admin".to_owned()].into_iter().collect()).await;
    table.app("a scope that the client lost", &asks(&wider, &whole), 400, "invalid_grant");
    let used = code(sidegate, |_| {}).await;
    assert_eq!(token(sidegate, &redeem(&used)).await.status, 200);
    table.app("a used code, verifier wrong", &asks(&used, &wrong), 400, "invalid_grant");
    table.app("a used code", &asks(&used, &whole), 400, "invalid_grant");
}

async fn grants(table: &mut Table, sidegate: &Sidegate) {
    let login = |name: &str, password: &str| format!("grant_type=password&username={name}&password={password}");
    table.app("wrong password", &login("ana", "wrong"), 400, "invalid_grant");
    table.app("unknown user", &login("nobody", PASSWORD), 400, "invalid_grant");
    table.app("locked user", &login("locked", PASSWORD), 400, "invalid_grant");
    let scoped = |scope: &str| format!("grant_type=client_credentials&scope={scope}");
    table.app("scope unknown", &scoped("admin"), 400, "invalid_scope");
    table.app("scope too wide", &scoped("orders+admin"), 400, "invalid_scope");
    table.app("scope malformed", &scoped("%22"), 400, "invalid_scope");
    table.app("unknown resource", "grant_type=client_credentials&resource=other-api", 400, "invalid_target");
    let with_scope = login("ana", PASSWORD) + "&scope=admin";
    table.app("scope too wide, password", &with_scope, 400, "invalid_scope");

    let renew = |token: &str| format!("grant_type=refresh_token&refresh_token={token}");
    table.app("a refresh token that is none", &renew("junk"), 400, "invalid_grant");
    let others = text(&session(sidegate, "other").await, "refresh_token");
    table.app("another client's refresh token", &renew(&others), 400, "invalid_grant");
    let access = text(&password(sidegate).await, "access_token");
    table.app("an access token as a refresh token", &renew(&access), 400, "invalid_grant");
    let ended = text(&password(sidegate).await, "refresh_token");
    send(sidegate.public, form(REVOKE, &as_app(&format!("token={ended}")), &[])).await;
    table.app("a revoked refresh token", &renew(&ended), 400, "invalid_grant");
    let first = text(&password(sidegate).await, "refresh_token");
    let second = text(&refresh(sidegate, &first).await, "refresh_token");
    refresh(sidegate, &second).await;
    table.app("a reused refresh token", &renew(&first), 400, "invalid_grant");
    table.app("what was given for a reused one", &renew(&second), 400, "invalid_grant");
    let good = text(&password(sidegate).await, "refresh_token");
    let elsewhere = renew(&good) + "&resource=other-api";
    table.app("unknown resource, refresh", &elsewhere, 400, "invalid_target");
    let narrow = text(&session(sidegate, "narrow").await, "refresh_token");
    for scope in ["refunds", "%22"] {
        let body = format!("{}&scope={scope}&client_id=narrow&client_secret={SECRET}", renew(&narrow));
        table.bare("refresh beyond the granted scope", &body, &[], 400, "invalid_scope");
    }
    // Ten and more wrong ones for one name from one address.
    for _ in 0..10 {
        table.app("wrong password, once more", &login("throttled", "wrong"), 400, "invalid_grant");
    }
    let request = form(TOKEN, &as_app(&login("throttled", "wrong")), &[]);
    table.row("throttled", request, 429, Body::Error("invalid_grant")).headers = vec![("retry-after", "")];
}

async fn introspection(table: &mut Table, sidegate: &Sidegate) {
    let ask = |body: &str| form(INTROSPECT, body, &[]);
    let own = |token: &str| ask(&as_app(&format!("token={token}")));
    let nobody = Body::Error("invalid_client");
    table.row("introspection: no client", ask("token=x"), 401, nobody);
    let wrong = ask("token=x&client_id=app&client_secret=wrong");
    table.row("introspection: wrong secret", wrong, 401, Body::Error("invalid_client"));
    let anybody = ask("token=x&client_id=phone");
    table.row("introspection: a public client", anybody, 401, Body::Error("invalid_client"));
    let bearer = form(INTROSPECT, "token=x", &[("authorization", "Bearer x")]);
    table.row("introspection: a bearer token", bearer, 401, Body::Error("invalid_client"));
    table.row("introspection: no token", ask(&as_app("x=y")), 400, Body::Error("invalid_request"));
    table.row("introspection: empty token", own(""), 400, Body::Error("invalid_request"));
    let inactive = || Body::Exactly("{\"active\":false}");
    table.row("introspection: junk", own("junk"), 200, inactive());
    table.row("introspection: nearly ours", own("sga1_junk"), 200, inactive());
    let hinted = ask(&as_app("token=junk&token_type_hint=unknown"));
    table.row("introspection: unknown hint", hinted, 200, inactive());
    let others = text(&session(sidegate, "other").await, "access_token");
    table.row("introspection: not for this caller", own(&others), 200, inactive());
    let first = text(&password(sidegate).await, "refresh_token");
    refresh(sidegate, &first).await;
    table.row("introspection: rotated out", own(&first), 200, inactive());
    let ended = password(sidegate).await;
    send(sidegate.public, form(REVOKE, &as_app(&format!("token={}", text(&ended, "access_token"))), &[])).await;
    for name in ["access_token", "refresh_token"] {
        table.row("introspection: revoked", own(&text(&ended, name)), 200, inactive());
    }
}

async fn revocation(table: &mut Table, sidegate: &Sidegate) {
    let ask = |body: &str| form(REVOKE, body, &[]);
    let own = |token: &str| ask(&as_app(&format!("token={token}")));
    table.row("revocation: no client", ask("token=x"), 401, Body::Error("invalid_client"));
    let wrong = ask("token=x&client_id=app&client_secret=wrong");
    table.row("revocation: wrong secret", wrong, 401, Body::Error("invalid_client"));
    table.row("revocation: no token", ask(&as_app("x=y")), 400, Body::Error("invalid_request"));
    let done = || Body::Exactly("");
    table.row("revocation: junk", own("junk"), 200, done());
    let others = text(&session(sidegate, "other").await, "refresh_token");
    table.row("revocation: another client's token", own(&others), 400, Body::Error("invalid_request"));
    let anybody = ask(&format!("token={others}&client_id=phone"));
    table.row("revocation: another client's token, by anybody", anybody, 200, done());
    let still = form(
        TOKEN,
        &format!("grant_type=refresh_token&refresh_token={others}&client_id=other&client_secret={SECRET}&resource=x"),
        &[],
    );
    table.row("revocation: and that one still lives", still, 400, Body::Error("invalid_target"));
    let good = text(&password(sidegate).await, "refresh_token");
    let hinted = ask(&as_app(&format!("token={good}&token_type_hint=access_token")));
    table.row("revocation: valid, whatever the hint", hinted, 200, done());
    table.row("revocation: already revoked", own(&good), 200, done());
}

/// Returns what is good again once the store is back.
async fn store_away(table: &mut Table, address: SocketAddr) -> Request<Full<Bytes>> {
    let body = as_app(&format!("grant_type=password&username=ana&password={PASSWORD}"));
    let given = send(address, form(TOKEN, &body, &[])).await;
    let (access, refresh) = (text(&given, "access_token"), text(&given, "refresh_token"));
    let away = || Body::Error("temporarily_unavailable");
    let renew = as_app(&format!("grant_type=refresh_token&refresh_token={refresh}"));
    table.row("store down, refresh", form(TOKEN, &renew, &[]), 503, away());
    let own = as_app("grant_type=client_credentials");
    table.row("store down, client_credentials", form(TOKEN, &own, &[]), 503, away());
    table.row("store down, password", form(TOKEN, &body, &[]), 503, away());
    let asked = as_app(&format!("token={access}"));
    table.row("store down, introspection", form(INTROSPECT, &asked, &[]), 503, away());
    table.row("store down, revocation", form(REVOKE, &asked, &[]), 503, away());
    form(TOKEN, &renew, &[])
}

async fn check(row: Row) {
    let Row { name, to, request, status, answer, headers } = row;
    let asked = format!("{name} ({} {})", request.method(), request.uri().path());
    let reply = send(to, request).await;
    assert_eq!(reply.status, status, "{asked}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"), "{asked}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{asked}");
    assert_eq!(reply.header("pragma"), Some("no-cache"), "{asked}");
    match answer {
        Body::Exactly(body) => assert_eq!(reply.text(), body, "{asked}"),
        Body::Error(error) => {
            let members = reply.json().as_object().unwrap().clone();
            assert_eq!(members["error"], error, "{asked}");
            assert!(members.keys().all(|name| ["error", "error_description"].contains(&name.as_str())), "{asked}");
            let text = members.get("error_description").map_or("", |text| text.as_str().unwrap());
            let good = |b: u8| matches!(b, b' '..=b'!' | b'#'..=b'[' | b']'..=b'~');
            assert!(text.bytes().all(good), "{asked}: {text}");
        }
    }
    for (header, value) in headers {
        let found = reply.header(header).unwrap_or_else(|| panic!("{asked}: no {header}"));
        assert!(value.is_empty() || found == value, "{asked}: {header}: {found}");
    }
    for absent in ["www-authenticate", "retry-after", "allow"] {
        let expected = match absent {
            "www-authenticate" => status == 401,
            "retry-after" => status == 429 || status == 503,
            _ => status == 405,
        };
        assert_eq!(reply.header(absent).is_some(), expected, "{asked}: {absent}");
    }
}
