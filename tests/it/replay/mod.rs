//! An upstream that answers 401 to a credential of ours: it is renewed once, and the request is sent once more.

mod bodies;
mod minted;
mod outside;
mod service;
mod upgrades;
mod waits;

use std::{net::SocketAddr, sync::OnceLock};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::support::{Issuer, Scripted, Sidegate, Upstream, Wire, upstream::Seen};

/// A sidegate that shows the upstream at `address` an internal JWT.
async fn before(address: SocketAddr, upstream_more: &str, route: &str) -> (Issuer, Sidegate) {
    let issuer = Issuer::new();
    let yaml = format!(
        "{}internal_jwt: {{ issuer: \"http://sidegate.test\" }}\n\
         upstreams:\n  - {{ name: app, url: \"http://{address}\", credential: {{ internal_jwt: {{ audience: app }} }}{upstream_more} }}\n\
         routes:\n  - {{ name: all, paths: [/, \"/*\"], upstream: app{route}, policy: {{ audiences: [orders-api] }} }}\n",
        issuer.yaml(),
    );
    let sidegate = Sidegate::start(&yaml).await;
    (issuer, sidegate)
}

struct Setup {
    upstream: Upstream,
    issuer: Issuer,
    sidegate: Sidegate,
}

impl Setup {
    /// In front of an upstream that refuses the first token it is shown, now and later.
    async fn new(route: &str) -> Setup {
        Setup::before(Upstream::answering(refusing_the_first()).await, "", route).await
    }

    /// The same upstream, by HTTP/2.
    async fn http2(route: &str) -> Setup {
        Setup::before(Upstream::http2(refusing_the_first()).await, ", protocol: http2", route).await
    }

    /// In front of one that refuses them all.
    async fn refusing(route: &str) -> Setup {
        Setup::before(Upstream::answering(|_| refusal()).await, "", route).await
    }

    async fn before(upstream: Upstream, upstream_more: &str, route: &str) -> Setup {
        let (issuer, sidegate) = before(upstream.address, upstream_more, route).await;
        Setup { upstream, issuer, sidegate }
    }

    /// How often the credential was renewed by force, with this result.
    async fn forced(&self, result: &str) -> f64 {
        let series = format!("sidegate_forced_renewals_total{{credential=\"internal_jwt\",result=\"{result}\"}}");
        self.sidegate.series(&series).await
    }

    async fn replays(&self, result: &str) -> f64 {
        self.sidegate.series(&format!("sidegate_replays_total{{result=\"{result}\",route=\"all\"}}")).await
    }

    /// The credentials that the upstream was shown, in order.
    fn shown(&self) -> Vec<String> {
        self.upstream.seen().iter().map(|seen| seen.header("authorization").unwrap_or_default().to_owned()).collect()
    }
}

/// Only at `/warm` that one is good.
fn refusing_the_first() -> impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static {
    let first = OnceLock::new();
    move |seen: &Seen| {
        let token = seen.header("authorization").unwrap_or_default().to_owned();
        if *first.get_or_init(|| token.clone()) == token && seen.target != "/warm" {
            refusal()
        } else {
            Response::new(Full::new(Bytes::from_static(b"hello")))
        }
    }
}

fn refusal() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"who are you?")));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert("www-authenticate", "Legacy realm=\"inside\"".parse().unwrap());
    response
}

/// What a wire-level upstream says instead; the next request comes on another connection.
const REFUSAL: &str = "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";

const HELLO: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";

/// A sidegate in front of an upstream that the test serves itself, and a client of it.
struct Wired {
    upstream: Scripted,
    issuer: Issuer,
    sidegate: Sidegate,
    client: Wire,
}

impl Wired {
    async fn new(upstream_more: &str, route: &str) -> Wired {
        let upstream = Scripted::start().await;
        let (issuer, sidegate) = before(upstream.address, upstream_more, route).await;
        let client = Wire::connect(sidegate.public).await;
        Wired { upstream, issuer, sidegate, client }
    }

    /// Sends the head of a request with these further lines.
    async fn say(&mut self, line: &str, headers: &str, body: &str) {
        let token = self.issuer.token();
        let head = format!("{line} HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n{headers}\r\n{body}");
        self.client.say(head).await;
    }
}

/// A head in its lines without the credential, sorted, and the credential.
fn apart(head: &str) -> (Vec<String>, String) {
    let (credentials, mut rest): (Vec<_>, Vec<_>) =
        head.lines().map(str::to_owned).partition(|line| line.to_ascii_lowercase().starts_with("authorization:"));
    rest.sort();
    assert_eq!(credentials.len(), 1, "{head}");
    (rest, credentials[0].clone())
}
