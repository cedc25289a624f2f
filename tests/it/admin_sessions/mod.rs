//! The sessions of the local authority, as operators see and end them: by HTTP on the admin listener, on its pages,
//! and by the command.

mod command;
mod listener;
mod pages;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http_body_util::Full;

use crate::support::{Reply, Sidegate, Upstream, get, issuer::scratch, request, send};

const TOKEN: &str = "operators-token-4f1d2c7e9b";
/// A name that would become part of a page, or turn its direction.
const HOSTILE: &str = "<script>alert(1)</script>\"& \u{202e}x";
const PASSWORD: &str = "a-password-that-nobody-chose";

/// sidegate with an authority, and a token for operators in a file.
struct Setup {
    sidegate: Sidegate,
    /// Held for as long as requests are forwarded to it.
    _upstream: Upstream,
    token_file: PathBuf,
    upstream_url: String,
}

impl Setup {
    async fn new() -> Setup {
        let upstream = Upstream::start().await;
        let token_file = scratch("admin").join("token");
        write_token(&token_file, TOKEN);
        let upstream_url = format!("http://{}", upstream.address);
        let sidegate = Sidegate::start(&yaml(&upstream_url, &format!(", token_file: {}", token_file.display()))).await;
        Setup { sidegate, _upstream: upstream, token_file, upstream_url }
    }

    /// A session of `user` at `client`: its id, and its access token.
    async fn open(&self, user: &str, client: &str) -> (String, String) {
        let fields = [("grant_type", "password"), ("client_id", client), ("username", user), ("password", PASSWORD)];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let asked = http::Request::post("/oauth20/token").header("host", "api.test");
        let asked = asked.header("content-type", "application/x-www-form-urlencoded");
        let given = send(self.sidegate.public, asked.body(Full::from(body)).unwrap()).await.json();
        let token = given["access_token"].as_str().unwrap_or_else(|| panic!("{given}")).to_owned();
        let content = BASE64_URL_SAFE_NO_PAD.decode(token.strip_prefix("sga1_").unwrap()).unwrap();
        (BASE64_URL_SAFE_NO_PAD.encode(&content[..16]), token)
    }

    async fn ask(&self, method: &str, path: &str) -> Reply {
        self.ask_with(method, path, TOKEN).await
    }

    async fn ask_with(&self, method: &str, path: &str, token: &str) -> Reply {
        let mut asked = request(method, path, token);
        asked.headers_mut().insert("host", "localhost".parse().unwrap());
        send(self.sidegate.admin, asked).await
    }

    /// The status of a forwarded request with this access token.
    async fn forwarded(&self, token: &str) -> u16 {
        get(self.sidegate.public, "/orders/7", token).await.status.as_u16()
    }
}

fn yaml(upstream: &str, token: &str) -> String {
    let hash: String = digest(&SHA256, PASSWORD.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  clients:\n    \
         - {{ id: shop, public: true, grants: [password, refresh_token], scopes: [orders, profile] }}\n    \
         - {{ id: app, public: true, grants: [password, refresh_token], scopes: [orders, profile] }}\n  \
         users:\n    - {{ username: ana, subject: u-ana, password_hash: \"sha256:{hash}\", claims: {{ email: canary-claim }} }}\n    \
         - {{ username: bob, subject: u-bob, password_hash: \"sha256:{hash}\" }}\n    \
         - {{ username: '{HOSTILE}', subject: u-hostile, password_hash: \"sha256:{hash}\" }}\n\
         store: {{ memory: {{}} }}\nadmin: {{ address: \"127.0.0.1:0\"{token} }}\n\
         upstreams: [{{ name: app, url: \"{upstream}\", credential: {{ none: {{}} }} }}]\n\
         routes: [{{ name: all, paths: [\"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}]\n",
    )
}

fn write_token(file: &PathBuf, token: &str) {
    let _ = fs::remove_file(file);
    fs::write(file, format!("{token}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o400)).unwrap();
}
