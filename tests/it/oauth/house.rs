//! A sidegate with an authority of its own, and clients of every kind.

use std::fmt::Write;

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

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
