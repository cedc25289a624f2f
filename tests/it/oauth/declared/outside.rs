//! The made-up API in both directions at once: one sidegate serves it, another one speaks it to the first.

use std::fs;

use serde_json::json;

use super::{API_KEY, SESSIONS, TOKEN, dialects, get, house_of, log_in, login, post, renew, renewal};
use crate::{
    oauth::house::{PASSWORD, SECRET, client, form, is_active, public, text},
    support::{self, Reply, Sidegate, Upstream, issuer::scratch, send},
};

struct Pair {
    /// Its authority is `there`.
    here: Sidegate,
    /// It has the users, and serves nothing but the made-up API.
    there: Sidegate,
    upstream: Upstream,
}

impl Pair {
    async fn start() -> Pair {
        let there = house_of("acme", "{ dialect: acme, client: pos }", ", access_token: { lifetime: 5m }");
        let there = there.replace("{ id: app,", "{ id: app, introspects_all: true,");
        let (there, upstream) = (Sidegate::start(&there).await, Upstream::start().await);
        let secret = scratch("declared-outside").join("secret");
        fs::write(&secret, SECRET).unwrap();
        let here = dialects("acme")
            + &format!(
                "authority:
  issuer: http://127.0.0.1:8080
  audiences: [orders-api]
  remote: {{ dialect: acme, url: \"http://{}\", client: {{ id: app, secret_file: {} }}, scopes: [orders] }}
  endpoints: {{ declared: [{{ dialect: acme, client: pos }}] }}
  clients:
    - {}
    - {}
store: {{ memory: {{}} }}
upstreams: [{{ name: app, url: \"http://{}\", credential: {{ authority_token: {{}} }} }}]
routes: [{{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ issuers: [local], audiences: [orders-api] }} }}]
",
                there.public,
                secret.display(),
                client("app", "grants: [password, client_credentials, refresh_token], scopes: [orders]"),
                public("pos", "grants: [api_key, refresh_token], scopes: [orders]"),
                upstream.address,
            );
        Pair { here: Sidegate::start(&here).await, there, upstream }
    }

    /// The token that the upstream is shown for a client with `token`; it is one of the sidegate there.
    async fn shown(&self, token: &str) -> String {
        let reply = support::get(self.here.public, "/orders", token).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let shown = self.upstream.last().header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        assert_ne!(shown, token);
        assert!(is_active(&self.there, &shown).await);
        shown
    }

    fn advance(&self, seconds: i64) {
        self.here.time.advance(seconds);
        self.there.time.advance(seconds);
    }
}

fn token(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["session"]["token"].as_str().unwrap().strip_prefix("Acme ").unwrap().to_owned()
}

#[tokio::test]
async fn a_client_of_oauth2_gets_a_session_at_an_authority_that_speaks_a_declared_dialect() {
    let pair = Pair::start().await;
    let ask = async |password: &str| {
        let body = format!("grant_type=password&username=ana&password={password}&client_id=app&client_secret={SECRET}");
        send(pair.here.public, form("/oauth20/token", &body, &[])).await
    };
    let reply = ask(PASSWORD).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let access = text(&reply, "access_token");
    let first = pair.shown(&access).await;
    // Its renewal is said in the same dialect.
    pair.advance(400);
    assert_ne!(pair.shown(&access).await, first);
    let refused = ask("guess").await;
    assert_eq!((refused.status.as_u16(), text(&refused, "error").as_str()), (400, "invalid_grant"));
}

#[tokio::test]
async fn a_client_of_the_declared_dialect_is_served_while_the_same_is_spoken_to_the_authority() {
    let pair = Pair::start().await;
    let first = log_in(&pair.here).await;
    pair.shown(&token(&first)).await;
    let second = renew(&pair.here, &renewal(&first)).await;
    pair.shown(&token(&second)).await;
    let refused = post(&pair.here, SESSIONS, "application/json", &[], login("guess").to_string()).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["error"]["code"]),
        (403, &json!("4031")),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn a_key_in_a_query_is_taken_and_said_again_in_a_query() {
    let pair = Pair::start().await;
    let reply = get(&pair.here, &format!("{TOKEN}?key={API_KEY}")).await;
    pair.shown(&token(&reply)).await;
    let refused = get(&pair.here, &format!("{TOKEN}?key=00000000-0000")).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["error"]["code"]),
        (403, &json!("4031")),
        "{}",
        refused.text()
    );
}
