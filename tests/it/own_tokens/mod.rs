//! Tokens of our own on the forwarding path: the same cache, and the session behind it.

mod accepted;
mod apart;
mod late;
mod refused;
mod revoked;
mod sliding;
pub mod successor;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sidegate::{
    model::{GrantType, Scope},
    session::{Access, Granted, Session, SessionId, Sessions, record::RevocationReason, ring::digest16},
};

use crate::{
    oauth::house::{PASSWORD, SECRET, hash},
    support::{Issuer, Sidegate, Upstream},
};

const ISSUER: &str = "http://127.0.0.1:8080";

/// In front of `upstream`: everything trusts `local`, `/foreign/` trusts only `corp`.
fn yaml(issuer: &Issuer, upstream: &Upstream) -> String {
    format!(
        "{}authority:\n  issuer: {ISSUER}\n  audiences: [orders-api]\n  clients:\n    \
         - {{ id: app, secret_hashes: [\"{}\"], grants: [client_credentials, refresh_token, password], scopes: [orders, admin] }}\n    \
         - {{ id: app-jwt, secret_hashes: [\"{}\"], grants: [client_credentials], access_token: {{ format: jwt }} }}\n  \
         users: [{{ username: ana, subject: u-1, password_hash: \"{}\" }}]\n\
         store: {{ memory: {{}} }}\n\
         internal_jwt: {{ issuer: \"http://sidegate.test\" }}\n\
         upstreams:\n  - name: app\n    url: http://{}\n    credential: {{ internal_jwt: {{ audience: app }} }}\n    \
         identity_headers: {{ X-Forwarded-User: sub, X-Tenant: tenant }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}\n  \
         - {{ name: admin, paths: [/admin], upstream: app, policy: {{ audiences: [orders-api], scopes_all: [admin] }} }}\n  \
         - {{ name: other, paths: [/other], upstream: app, policy: {{ audiences: [other-api] }} }}\n  \
         - {{ name: foreign, paths: [\"/foreign/*\"], upstream: app, policy: {{ issuers: [corp], audiences: [orders-api] }} }}\n",
        issuer.yaml(),
        hash(SECRET),
        hash(SECRET),
        hash(PASSWORD),
        upstream.address
    )
}

struct Setup {
    issuer: Issuer,
    upstream: Upstream,
    sidegate: Sidegate,
}

impl Setup {
    async fn new() -> Setup {
        let (issuer, upstream) = (Issuer::new(), Upstream::start().await);
        let sidegate = Sidegate::start(&yaml(&issuer, &upstream)).await;
        Setup { issuer, upstream, sidegate }
    }

    fn sessions(&self) -> Arc<Sessions> {
        self.sidegate.app.gate().endpoints().unwrap().grants.sessions.clone()
    }

    /// An opaque token of a session that lives for an hour.
    async fn opaque(&self) -> (SessionId, String) {
        self.opaque_with(|_| {}).await
    }

    async fn opaque_with(&self, change: impl FnOnce(&mut Session)) -> (SessionId, String) {
        let sessions = self.sessions();
        let mut session = session(&sessions);
        let made = sessions.ring().make_access(session.id).unwrap();
        session.state.access[0].digest = made.digest;
        change(&mut session);
        let id = session.id;
        sessions.store().create(session, 100).await.unwrap();
        (id, made.token.expose().clone())
    }

    /// The same as a JWT.
    async fn jwt(&self) -> (SessionId, String) {
        self.jwt_with(|_| {}, json!({}), "at+jwt").await
    }

    async fn jwt_with(
        &self,
        change: impl FnOnce(&mut Session),
        claims: Value,
        token_type: &str,
    ) -> (SessionId, String) {
        let sessions = self.sessions();
        let mut session = session(&sessions);
        session.state.access[0].digest = digest16(b"jti-1");
        change(&mut session);
        let now = sessions.now();
        let mut all = json!({
            "iss": ISSUER, "sub": "u-1", "aud": "orders-api", "client_id": "app", "scope": "orders",
            "exp": now.0 + 600, "iat": now.0, "jti": "jti-1", "sid": session.id.to_string(), "tenant": "acme",
            "intentid": "i-7", "itype": "payments",
        });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let signing = self.sidegate.app.gate().endpoints().unwrap().grants.signing.clone();
        let token = signing.sign(token_type, all.as_object().unwrap()).unwrap();
        let id = session.id;
        sessions.store().create(session, 100).await.unwrap();
        (id, token)
    }

    async fn revoke(&self, id: SessionId) {
        assert!(self.sessions().revoke(id, RevocationReason::Operator).await.unwrap());
    }

    /// Sessions that were looked up so far.
    async fn lookups(&self) -> u64 {
        let series = "sidegate_session_operations_total{op=\"find\",result=\"ok\",store=\"memory\"}";
        self.sidegate.metric(series).await
    }
}

/// For an hour, with one access token for ten minutes.
fn session(sessions: &Sessions) -> Session {
    let now = sessions.now();
    let claims: Map<String, Value> = [("tenant", "acme"), ("intentid", "i-7"), ("itype", "payments")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let granted = Granted {
        subject: "u-1".to_owned(),
        username: None,
        grant: GrantType::ClientCredentials,
        scope: Scope::parse("orders admin").unwrap(),
        audiences: vec!["orders-api".to_owned()],
        claims,
        auth_time: now,
        credential: None,
        salt: [7; 16],
        master_key: sessions.ring().current(),
        outside: false,
    };
    let access = Access {
        digest: [0; 16],
        issued: now,
        expires: now.plus(600),
        generation: 1,
        scope: None,
        audiences: None,
        foreign: false,
        grace: 0,
    };
    let state = sidegate::session::State {
        client: "app".to_owned(),
        created: now,
        absolute: now.plus(3600),
        idle_until: now.plus(3600),
        generation: 1,
        form: sidegate::model::RefreshForm::Full,
        rotated_at: now,
        acknowledged: 0,
        retries: 0,
        revoked: None,
        access: vec![access],
        vouched: None,
    };
    Session { id: SessionId::random().unwrap(), state, granted, held: None }
}
