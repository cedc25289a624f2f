//! The sessions of the local authority, as operators see and end them: by HTTP on the admin listener, and by the command.

mod command;
mod listener;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};

use serde_json::Value;
use sidegate::{
    model::{GrantType, Scope},
    session::{Access, Granted, Session, SessionId, Sessions, State},
};

use crate::support::{Reply, Sidegate, Upstream, get, issuer::scratch, request, send};

const TOKEN: &str = "operators-token-4f1d2c7e9b";

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

    fn sessions(&self) -> Arc<Sessions> {
        self.sidegate.app.gate().endpoints().unwrap().grants.sessions.clone()
    }

    /// A session of `user` at `client`, with an access token that is good for ten minutes.
    async fn open(&self, user: &str, client: &str) -> (SessionId, String) {
        let sessions = self.sessions();
        let (now, id) = (sessions.now(), SessionId::random().unwrap());
        let made = sessions.ring().make_access(id).unwrap();
        let granted = Granted {
            subject: format!("u-{user}"),
            username: Some(user.to_owned()),
            grant: GrantType::Password,
            scope: Scope::parse("orders profile").unwrap(),
            audiences: vec!["orders-api".to_owned()],
            claims: [("email".to_owned(), Value::from("canary-claim"))].into_iter().collect(),
            auth_time: now,
            credential: Some([9; 16]),
            salt: [7; 16],
            master_key: sessions.ring().current(),
        };
        let (expires, digest) = (now.plus(600), made.digest);
        let access = Access { digest, issued: now, expires, generation: 1, scope: None, audiences: None };
        let state = State {
            client: client.to_owned(),
            created: now,
            absolute: now.plus(7200),
            idle_until: now.plus(3600),
            generation: 1,
            rotated_at: now,
            acknowledged: 0,
            retries: 0,
            revoked: None,
            access: vec![access],
        };
        sessions.store().create(Session { id, state, granted }, 100).await.unwrap();
        (id, made.token.expose().clone())
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
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  clients:\n    \
         - {{ id: shop, public: true, grants: [password, refresh_token], scopes: [orders, profile] }}\n    \
         - {{ id: app, public: true, grants: [password, refresh_token], scopes: [orders, profile] }}\n  \
         users:\n    - {{ username: ana, subject: u-ana, password_hash: \"sha256:{zeros}\" }}\n    \
         - {{ username: bob, subject: u-bob, password_hash: \"sha256:{zeros}\" }}\n\
         store: {{ memory: {{}} }}\nadmin: {{ address: \"127.0.0.1:0\"{token} }}\n\
         upstreams: [{{ name: app, url: \"{upstream}\", credential: {{ none: {{}} }} }}]\n\
         routes: [{{ name: all, paths: [\"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}]\n",
        zeros = "0".repeat(64),
    )
}

fn write_token(file: &PathBuf, token: &str) {
    let _ = fs::remove_file(file);
    fs::write(file, format!("{token}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o400)).unwrap();
}
