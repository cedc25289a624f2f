//! The code flow with sign-in at the provider: a client asks us, its user signs in there, and comes back to us.

mod back;
mod flow;
mod here;
pub mod provider;
mod refused;
mod tabs;
mod written;

use std::collections::BTreeMap;

use self::provider::{Provider, SECRET_THERE, sent};
use crate::{
    oauth::{
        browser::{Browser, answer},
        house::{ISSUER, SECRET, client, form},
    },
    support::{Reply, Sidegate, Upstream, get, issuer::scratch, send},
};

/// A sidegate whose users sign in at a provider, in front of an upstream that sees the provider's tokens.
struct House {
    provider: Provider,
    upstream: Upstream,
    sidegate: Sidegate,
}

const CALLBACK: &str = "/oauth20/callback";
/// The request of `app`, which asks nobody for consent.
const APP: &str = "client_id=app&response_type=code&state=xyz";

impl House {
    async fn new() -> House {
        House::with("").await
    }

    /// With `more` members of `authority.remote`.
    async fn with(more: &str) -> House {
        let (provider, upstream) = (Provider::start().await, Upstream::start().await);
        let sidegate = Sidegate::start(&yaml(&provider, &upstream, more)).await;
        House { provider, upstream, sidegate }
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.sidegate)
    }

    /// From the client's request to the provider's answer to the sign-in there.
    async fn away(&self, browser: &Browser, query: &str) -> BTreeMap<String, String> {
        sent(&browser.get(query).await).1
    }

    /// The whole way: what the client is told in the end.
    async fn signed_in(&self, browser: &Browser, query: &str) -> Reply {
        let sent = self.away(browser, query).await;
        browser.visit(&format!("{CALLBACK}?{}", self.provider.sign_in(&sent))).await
    }

    async fn token(&self, body: &str) -> Reply {
        let body = format!("{body}&client_id=app&client_secret={SECRET}");
        send(self.sidegate.public, form("/oauth20/token", &body, &[])).await
    }

    async fn redeem(&self, told: &Reply) -> Reply {
        let (_, said) = answer(told);
        self.token(&format!("grant_type=authorization_code&code={}", said["code"])).await
    }

    async fn get(&self, token: &str) -> Reply {
        get(self.sidegate.public, "/", token).await
    }

    /// What the upstream was shown last.
    fn shown(&self) -> String {
        self.upstream.last().header("authorization").unwrap_or_default().to_owned()
    }
}

fn yaml(provider: &Provider, upstream: &Upstream, more: &str) -> String {
    let secret = scratch("broker").join("secret");
    std::fs::write(&secret, SECRET_THERE).unwrap();
    let clients = [
        client(
            "app",
            "grants: [authorization_code, refresh_token], redirect_uris: [\"https://app.test/cb\"], consent: skip, \
             scopes: [openid, orders], default_scopes: [orders], pkce: false",
        ),
        client(
            "asks",
            "grants: [authorization_code, refresh_token], redirect_uris: [\"https://asks.test/cb?x=1\"], \
             scopes: [orders], pkce: false",
        ),
        client("script", "grants: [implicit], redirect_uris: [\"https://script.test/cb\"], consent: skip"),
    ];
    format!(
        "authority:\n  issuer: {ISSUER}\n  audiences: [orders-api]\n  pages: {{ remember: 1h }}\n  remote: {{ dialect: \
         oauth2, issuer: \"{}\", client: {{ id: sidegate, secret_file: {} }}{more} }}\n  clients:\n    - {}\nstore: {{ \
         memory: {{}} }}\nupstreams:\n  - {{ name: shown, url: \"http://{}\", credential: {{ authority_token: {{}} }}, \
         identity_headers: {{ X-User: sub }} }}\nroutes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: shown, policy: \
         {{ issuers: [local], audiences: [orders-api] }} }}\n",
        provider.issuer,
        secret.display(),
        clients.join("\n    - "),
        upstream.address,
    )
}

/// A page that tells the user, and sends nobody anywhere.
#[track_caller]
fn assert_page(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("location"), None);
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert_guarded(reply);
    assert!(reply.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
}

/// The client is told `error` where it is registered.
#[track_caller]
fn assert_told(reply: &Reply, error: &str) {
    assert_eq!(reply.status, 302, "{}", reply.text());
    assert_guarded(reply);
    let (uri, said) = answer(reply);
    assert_eq!((uri.as_str(), said.get("error").map(String::as_str)), ("https://app.test/cb", Some(error)));
    assert_eq!((said["state"].as_str(), said["iss"].as_str()), ("xyz", ISSUER));
    assert!(!said.contains_key("code"));
}

#[track_caller]
fn assert_guarded(reply: &Reply) {
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    let cors = reply.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(cors, None);
}
