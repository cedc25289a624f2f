//! Where the servers are, as URLs.

use std::net::IpAddr;

use rustls::pki_types::ServerName;
use url::{Host, Url};

use crate::config::{
    RedisAddress,
    check::{listeners, names::Distinct, section::Section},
};

/// Who is asked there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Server,
    Sentinel,
    Node,
}

/// What was found, and whether TLS is spoken there.
pub(super) struct Found<T> {
    pub servers: T,
    pub tls: bool,
}

impl<T> Found<T> {
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        Found { servers: change(self.servers), tls: self.tls }
    }
}

pub(super) fn one(text: &str, kind: Kind, section: &Section<'_>) -> Option<Found<RedisAddress>> {
    let found = parse(text, kind, section)?;
    warn_of_plain(text, &found, section);
    Some(found)
}

/// All of `urls`, which speak TLS either all or not at all.
pub(super) fn all(urls: &[String], kind: Kind, section: &Section<'_>) -> Option<Found<Vec<RedisAddress>>> {
    if urls.is_empty() {
        section.problem("no server is named", format!("write for example [{}]", kind.example()));
        return None;
    }
    let found: Vec<_> = urls.iter().enumerate().map(|(at, text)| parse(text, kind, &section.key(at))).collect();
    let tls = found.iter().flatten().next()?.tls;
    let mut distinct = Distinct::default();
    for (at, (text, found)) in urls.iter().zip(&found).enumerate() {
        let (section, Some(found)) = (section.key(at), found) else { continue };
        if found.tls != tls {
            let with = |tls| if tls { "rediss://" } else { "redis://" };
            let message = format!("{} is {}, others are {}", section.shown(text), with(found.tls), with(tls));
            section.problem(message, "use TLS for all of them or for none");
        }
        if let RedisAddress::Tcp { host, port } = &found.servers {
            distinct.note(format!("{host}:{port}"), at, kind.list(), &section);
        }
    }
    if let Some((at, plain)) = found.iter().enumerate().find_map(|(at, f)| Some((at, f.as_ref().filter(is_plain)?))) {
        warn_of_plain(&urls[at], plain, &section.key(at));
    }
    let servers = found.into_iter().map(|found| Some(found?.servers)).collect::<Option<Vec<_>>>()?;
    Some(Found { servers, tls })
}

fn parse(text: &str, kind: Kind, section: &Section<'_>) -> Option<Found<RedisAddress>> {
    let fault = |words: &str, remedy: &str| {
        section.problem(format!("{} {words}", section.shown(text)), remedy);
        None
    };
    if let Some(path) = text.strip_prefix("unix:") {
        if kind != Kind::Server {
            return fault("is a socket of this machine", "write url: unix:… instead, for one server");
        }
        let path = listeners::unix(path, section)?;
        return Some(Found { servers: RedisAddress::Unix(path), tls: false });
    }
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "redis" | "rediss") => url,
        _ => return fault("is not the URL of a Redis server", &kind.remedy()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return fault("carries a user or a password", "write username and password_file beside it");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return fault("has a query or a fragment", "leave it out; what can be set are keys of store.redis");
    }
    if !matches!(url.path(), "" | "/") {
        let remedy = match kind {
            Kind::Node => "leave it out; a Cluster has one database",
            Kind::Server | Kind::Sentinel => "write the number of a database as `database` of store.redis",
        };
        return fault("has a path", remedy);
    }
    let host = match url.host() {
        Some(Host::Domain(name)) if ServerName::try_from(name).is_ok() => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        _ => return fault("names no server", &kind.remedy()),
    };
    let port = url.port().unwrap_or(kind.port());
    Some(Found { servers: RedisAddress::Tcp { host, port }, tls: url.scheme() == "rediss" })
}

fn warn_of_plain(text: &str, found: &Found<RedisAddress>, section: &Section<'_>) {
    if is_plain(&found) {
        section.warn(
            format!(
                "{} is without TLS: passwords, and what of a session is not sealed, can be read and changed on the way",
                section.shown(text)
            ),
            "write rediss://, unless you trust the network in between",
        );
    }
}

/// True if what is said leaves this machine in plain text.
fn is_plain(found: &&Found<RedisAddress>) -> bool {
    match &found.servers {
        RedisAddress::Tcp { host, .. } => {
            let here = host.parse().map_or(host == "localhost", |address: IpAddr| address.is_loopback());
            !found.tls && !here
        }
        RedisAddress::Unix(_) => false,
    }
}

impl Kind {
    fn port(self) -> u16 {
        match self {
            Kind::Server | Kind::Node => 6379,
            Kind::Sentinel => 26379,
        }
    }

    fn example(self) -> &'static str {
        match self {
            Kind::Server => "rediss://redis.example.com:6379",
            Kind::Sentinel => "rediss://sentinel-1.example.com:26379",
            Kind::Node => "rediss://redis-1.example.com:6379",
        }
    }

    fn remedy(self) -> String {
        let more = if self == Kind::Server {
            ", redis:// without TLS, or unix:/run/redis.sock"
        } else {
            ", or redis:// without TLS"
        };
        format!("write for example {}{more}", self.example())
    }

    fn list(self) -> &'static str {
        if self == Kind::Node { "cluster" } else { "urls" }
    }
}
