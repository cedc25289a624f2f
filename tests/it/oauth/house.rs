//! A sidegate with an authority of its own, and clients of every kind.

use std::{fmt::Write, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sidegate::{
    model::{GrantType, Scope},
    session::{Code, Granted, SessionId, Sessions, ring::digest16},
};

use crate::support::{Reply, Sidegate, send};

pub const ISSUER: &str = "http://127.0.0.1:8080";
/// The secret of every client that has one.
pub const SECRET: &str = "V4xr0kq2LmPz7TnB9sWd";
/// The password of every user.
pub const PASSWORD: &str = "correct-horse-battery";

/// Nothing listens there: what these tests are about never gets so far.
const ROUTES: &str = "upstreams: [{ name: app, url: \"http://127.0.0.1:9\", credential: { none: {} } }]
routes: [{ name: all, paths: [/, \"/*\"], upstream: app, policy: { audiences: [orders-api] } }]
";

/// A client with [`SECRET`] and whatever else `more` says of it.
pub fn client(id: &str, more: &str) -> String {
    format!("{{ id: {id}, secret_hashes: [\"{}\"], {more} }}", hash(SECRET))
}

/// Anybody who says so.
pub fn public(id: &str, more: &str) -> String {
    format!("{{ id: {id}, public: true, {more} }}")
}

pub fn user(name: &str, more: &str) -> String {
    format!("{{ username: {name}, subject: sub-{name}, password_hash: \"{}\", {more} }}", hash(PASSWORD))
}

/// A configuration with these clients and users, and `more` keys of the authority.
pub fn authority(clients: &[String], users: &[String], more: &str) -> String {
    let mut yaml = format!("authority:\n  issuer: {ISSUER}\n  audiences: [orders-api]\n{more}  clients:\n");
    clients.iter().for_each(|client| writeln!(yaml, "    - {client}").unwrap());
    if !users.is_empty() {
        yaml.push_str("  users:\n");
        users.iter().for_each(|user| writeln!(yaml, "    - {user}").unwrap());
    }
    yaml + "store: { memory: {} }\n" + ROUTES
}

pub fn hash(secret: &str) -> String {
    let digest = digest::digest(&digest::SHA256, secret.as_bytes());
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// A POST of this form, with these headers besides.
pub fn form(path: &str, body: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::post(path).header("host", "api.test");
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

pub fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")))
}

/// Asks the token endpoint.
pub async fn token(sidegate: &Sidegate, body: &str) -> Reply {
    send(sidegate.public, form("/oauth20/token", body, &[])).await
}

/// The member `name` of an answer that must have it.
#[track_caller]
pub fn text(reply: &Reply, name: &str) -> String {
    reply.json()[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", reply.text())).to_owned()
}

/// A refusal with this code and nothing given.
#[track_caller]
pub fn assert_refused(reply: &Reply, status: u16, error: &str) {
    assert_eq!((reply.status.as_u16(), text(reply, "error").as_str()), (status, error), "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("pragma"), Some("no-cache"));
    assert!(reply.json().get("access_token").is_none());
}

/// What `app` gets for the password of `ana`.
pub async fn password(sidegate: &Sidegate) -> Reply {
    token(sidegate, &as_app(&format!("grant_type=password&username=ana&password={PASSWORD}"))).await
}

/// `app` with the refresh token `refresh`.
pub async fn refresh(sidegate: &Sidegate, refresh: &str) -> Reply {
    token(sidegate, &as_app(&format!("grant_type=refresh_token&refresh_token={refresh}"))).await
}

/// `body` from the client `app`.
pub fn as_app(body: &str) -> String {
    format!("{body}&client_id=app&client_secret={SECRET}")
}

/// Asks the introspection endpoint as `app`.
pub async fn introspect(sidegate: &Sidegate, token: &str) -> Reply {
    send(sidegate.public, form("/oauth20/introspect", &as_app(&format!("token={token}")), &[])).await
}

/// Whether `token` of `app` is still good.
pub async fn is_active(sidegate: &Sidegate, token: &str) -> bool {
    introspect(sidegate, token).await.json()["active"] == true
}

pub fn sessions(sidegate: &Sidegate) -> Arc<Sessions> {
    sidegate.app.gate().endpoints().unwrap().grants.sessions.clone()
}

/// The code that waits for `app` once `ana` has signed in with [`VERIFIER`]'s challenge, changed.
pub async fn code(sidegate: &Sidegate, change: impl FnOnce(&mut Code)) -> String {
    let sessions = sessions(sidegate);
    let id = SessionId::random().unwrap();
    let made = sessions.ring().make_code(id).unwrap();
    let now = sessions.now();
    let granted = Granted {
        subject: "sub-ana".to_owned(),
        username: Some("ana".to_owned()),
        grant: GrantType::AuthorizationCode,
        scope: Scope::parse("orders").unwrap(),
        audiences: vec!["orders-api".to_owned()],
        claims: serde_json::Map::new(),
        auth_time: now,
        credential: Some(digest16(digest::digest(&digest::SHA256, PASSWORD.as_bytes()).as_ref())),
        salt: [7; 16],
        master_key: sessions.ring().current(),
        outside: false,
    };
    let mut code = Code {
        client: "app".to_owned(),
        digest: made.digest,
        expires: now.plus(60),
        redirect_uri: Some(REDIRECT.to_owned()),
        challenge: Some(CHALLENGE.to_owned()),
        nonce: None,
        granted,
        held: None,
    };
    change(&mut code);
    sessions.put_code(id, code).await.unwrap();
    made.token.expose().clone()
}

/// How `app` redeems a code of [`code`].
pub fn redeem(code: &str) -> String {
    as_app(&format!("grant_type=authorization_code&code={code}&redirect_uri={REDIRECT}&code_verifier={VERIFIER}"))
}

pub const REDIRECT: &str = "https://app.test/cb";
/// RFC 7636, appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
