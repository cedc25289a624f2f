//! The authorization endpoint: what a browser and an application see of it.

mod consent;
mod flow;
mod forms;
mod look;
mod remembered;
mod table;
mod written;

use super::{
    browser::{AUTHORIZE, Browser, answer},
    house::{ISSUER, PASSWORD, authority, client, public, user},
};
use crate::support::{Reply, Sidegate};

/// RFC 7636, appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A request of the client `app`, which asks nobody for consent.
const APP: &str = "client_id=app&response_type=code&state=xyz";

fn clients() -> Vec<String> {
    vec![
        client(
            "app",
            "grants: [authorization_code, refresh_token], redirect_uris: [\"https://app.test/cb\"], consent: skip, \
             scopes: [openid, orders, payments], default_scopes: [orders], pkce: false",
        ),
        client(
            "asks",
            "name: \"Tom & Jerry's <shop>\", grants: [authorization_code, refresh_token], \
             redirect_uris: [\"https://asks.test/cb?x=1\"], scopes: [openid, orders, payments], pkce: false",
        ),
        client(
            "many",
            "grants: [authorization_code], redirect_uris: [\"https://many.test/a\", \"https://many.test/b?c=d&e=f\"], \
             consent: skip, pkce: false",
        ),
        client(
            "bank",
            "grants: [authorization_code], redirect_uris: [\"https://bank.test/cb\"], consent: skip, pkce: false, \
             intent: true, access_token: { format: jwt }",
        ),
        public("phone", "grants: [authorization_code], redirect_uris: [\"http://127.0.0.1/cb\"], consent: skip"),
        public("script", "grants: [implicit], redirect_uris: [\"https://script.test/cb\"], consent: skip"),
        public(
            "other",
            "grants: [implicit], redirect_uris: [\"https://other.test/cb\"], access_token: { lifetime: 1m }",
        ),
        client("machine", "grants: [client_credentials], redirect_uris: [\"https://machine.test/cb\"]"),
        public("gone", "enabled: false, grants: [authorization_code], redirect_uris: [\"https://gone.test/cb\"]"),
    ]
}

const SCOPES: &str = "  scopes: { openid: \"\", orders: \"See <your> orders\", payments: \"\" }\n";

/// All clients, the user `alice`, and `more` keys of the authority.
fn yaml(more: &str) -> String {
    let users = [user("alice", "claims: { email: alice@example.com }"), user("bob", "")];
    authority(&clients(), &users, &format!("{SCOPES}{more}"))
}

async fn start(more: &str) -> (Sidegate, Browser) {
    let sidegate = Sidegate::start(&yaml(more)).await;
    let browser = Browser::new(&sidegate);
    (sidegate, browser)
}

/// Name and password that are good.
const ALICE: [(&str, &str); 2] = [("username", "alice"), ("password", PASSWORD)];

/// A page that is answered with this status and says all that every page must.
#[track_caller]
fn assert_page(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(reply.header("x-frame-options"), Some("DENY"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("location"), None);
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.ends_with("; frame-ancestors 'none'; base-uri 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    assert!(reply.text().starts_with("<!doctype html>\n<html lang=\""), "{}", reply.text());
    assert!(!reply.text().contains("<script") && !reply.text().contains(" style="));
    assert_no_cors(reply);
}

#[track_caller]
fn assert_no_cors(reply: &Reply) {
    let cors = reply.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(cors, None, "no page of ours is read by another origin");
}

/// A redirect with this status, with what it says.
#[track_caller]
fn assert_redirect(reply: &Reply, status: u16) -> (String, std::collections::BTreeMap<String, String>) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(reply.text(), "");
    assert_no_cors(reply);
    let (uri, said) = answer(reply);
    assert_eq!(said.get("iss").map(String::as_str), Some(ISSUER), "RFC 9207");
    (uri, said)
}
