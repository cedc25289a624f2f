//! Where requests go.

mod service;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use rustls::pki_types::ServerName;
use url::Url;
use zeroize::Zeroizing;

use super::{
    files, listeners,
    names::{self, Distinct},
    section::Section,
    urls,
};
use crate::config::{
    Connections, Credential, DeclaredDialect, Target, Timeouts, Upstream, UpstreamTls,
    settings::{self, Settings},
};

const HOUR: u64 = 3600;

pub(super) fn check(
    settings: &Settings,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    section: &Section<'_>,
) -> Option<Vec<Upstream>> {
    let mut names = Distinct::default();
    let checked: Vec<Option<Upstream>> = settings
        .upstreams
        .iter()
        .enumerate()
        .map(|(index, upstream)| {
            let section = section.key(index);
            if let Some(name) = &upstream.name {
                names.note(name, index, "upstreams", &section.key("name"));
                if !settings.routes.iter().any(|route| route.upstream.as_ref() == Some(name)) {
                    section.warn("no route uses it", "");
                }
            }
            if settings.internal_jwt.is_none()
                && matches!(upstream.credential, Some(settings::Credential::InternalJwt { .. }))
            {
                section.key("credential").key("internal_jwt").problem(
                    "there is no section internal_jwt that says how to make it",
                    "add internal_jwt: {} at the top of the file for the defaults",
                );
            }
            let has_remote = settings.authority.as_ref().is_some_and(|authority| authority.remote.is_some());
            if matches!(upstream.credential, Some(settings::Credential::AuthorityToken {})) && !has_remote {
                section.key("credential").key("authority_token").problem(
                    "there is no authority outside whose token it could be",
                    "add authority.remote, or choose another credential",
                );
            }
            check_one(upstream, dialects, &section)
        })
        .collect();
    checked.into_iter().collect()
}

fn check_one(
    settings: &settings::Upstream,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    section: &Section<'_>,
) -> Option<Upstream> {
    let name = names::label(settings.name.as_ref(), section, "orders");
    let target = section
        .required("url", settings.url.as_ref(), "http://127.0.0.1:3000")
        .and_then(|url| target(url, settings.tls.as_ref(), section));
    let credential = match &settings.credential {
        Some(settings) => credential(settings, dialects, &section.key("credential")),
        None => Some(Credential::None),
    };
    let identity_headers = identity_headers(&settings.identity_headers.0, &section.key("identity_headers"));
    let s = Duration::from_secs;
    let defaults = Timeouts { connect: s(2), first_byte: s(30), idle: s(60) };
    let timeouts = timeouts(&settings.timeouts, defaults, &section.key("timeouts"));
    let connections = section.key("connections");
    let kept = &settings.connections;
    let connections = Connections {
        max_idle: connections.number("max_idle", kept.max_idle, 64, 0..=10_000),
        idle_timeout: connections.span("idle_timeout", kept.idle_timeout, s(30), s(1)..=s(24 * HOUR)),
        max_age: connections.span("max_age", kept.max_age, s(300), s(1)..=s(24 * HOUR)),
    };
    warn_of_plain_text(settings, target.as_ref(), section);
    Some(Upstream {
        name: name?,
        target: target?,
        http2: settings.protocol == Some(settings::Protocol::Http2),
        credential: credential?,
        identity_headers: identity_headers?,
        timeouts,
        connections,
    })
}

/// `settings` over `defaults`.
pub(super) fn timeouts(settings: &settings::Timeouts, defaults: Timeouts, section: &Section<'_>) -> Timeouts {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    Timeouts {
        connect: section.span("connect", settings.connect, defaults.connect, ms(10)..=s(60)),
        first_byte: section.span("first_byte", settings.first_byte, defaults.first_byte, ms(10)..=s(HOUR)),
        idle: section.span("idle", settings.idle, defaults.idle, ms(10)..=s(24 * HOUR)),
    }
}

fn target(text: &str, tls: Option<&settings::UpstreamTls>, section: &Section<'_>) -> Option<Target> {
    let url_section = section.key("url");
    let plain = |target: Option<Target>| {
        if tls.is_some() {
            section.key("tls").problem("given, but the URL is not https", "");
            return None;
        }
        target
    };
    if let Some(path) = text.strip_prefix("unix:") {
        return plain(listeners::unix(path, &url_section).map(Target::Unix));
    }
    let fault = |words: &str| {
        let remedy = "write http://host:port, https://host:port or unix:/run/app.sock";
        url_section.problem(format!("{} {words}", url_section.shown(text)), remedy);
        None
    };
    let Ok(url) = Url::parse(text) else {
        return fault("is not a URL");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return fault("is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return fault("carries a user or a password; use credential: basic");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return fault("has more than host and port; a route's add_prefix puts a path before");
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return fault("has no host");
    };
    let host = host.to_owned();
    if url.scheme() == "http" {
        return plain(Some(Target::Http { host, port }));
    }
    let tls = match tls {
        Some(tls) => check_tls(tls, &section.key("tls"))?,
        None => UpstreamTls::default(),
    };
    Some(Target::Https { host, port, tls })
}

fn check_tls(settings: &settings::UpstreamTls, section: &Section<'_>) -> Option<UpstreamTls> {
    let ca_file = match &settings.ca_file {
        Some(file) => files::authorities(file, &section.key("ca_file")).map(Some),
        None => Some(None),
    };
    let server_name = match &settings.server_name {
        Some(name) if ServerName::try_from(name.as_str()).is_err() => {
            let section = section.key("server_name");
            section.problem(format!("{} is not the name of a server", section.shown(name)), "");
            None
        }
        name => Some(name.clone()),
    };
    let identity = match (&settings.certificate_file, &settings.key_file) {
        (Some(certificate), Some(key)) => files::identity(certificate, key, section).map(Some),
        (None, None) => Some(None),
        (Some(_), None) => {
            section.key("key_file").problem("missing", "certificate_file and key_file belong together");
            None
        }
        (None, Some(_)) => {
            section.key("certificate_file").problem("missing", "certificate_file and key_file belong together");
            None
        }
    };
    Some(UpstreamTls { ca_file: ca_file?, server_name: server_name?, identity: identity? })
}

fn credential(
    settings: &settings::Credential,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    section: &Section<'_>,
) -> Option<Credential> {
    match settings {
        settings::Credential::InternalJwt { audience } => {
            let section = section.key("internal_jwt");
            let audience = section.required("audience", audience.as_ref(), "orders")?.clone();
            Some(Credential::InternalJwt { audience })
        }
        settings::Credential::Original {} => Some(Credential::Original),
        settings::Credential::AuthorityToken {} => Some(Credential::AuthorityToken),
        settings::Credential::Service(service) => {
            service::check(service, dialects, &section.key("service")).map(Arc::new).map(Credential::Service)
        }
        settings::Credential::None {} => Some(Credential::None),
        settings::Credential::Basic { username, password_file } => {
            let section = section.key("basic");
            let username = section.required("username", username.as_ref(), "sidegate").filter(|username| {
                // RFC 7617, section 2: the colon ends the user's name.
                let good = !username.contains(|c: char| c == ':' || c.is_control());
                if !good {
                    section.key("username").problem("a user's name has no colon and no control character", "");
                }
                good
            });
            let password = section
                .required("password_file", password_file.as_ref(), "secrets/password")
                .and_then(|file| files::secret_text(file, &section.key("password_file")));
            let pair = Zeroizing::new(format!("{}:{}", username?, password?.expose()));
            let value = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
            let mut value = HeaderValue::from_str(&value).expect("base64 has only letters that a header may have");
            value.set_sensitive(true);
            Some(Credential::Basic(value))
        }
    }
}

fn identity_headers(pairs: &[(String, String)], section: &Section<'_>) -> Option<Vec<(HeaderName, String)>> {
    let mut whole = true;
    let mut checked: Vec<(HeaderName, String)> = Vec::new();
    for (name, claim) in pairs {
        let section = section.key(name.as_str());
        let Some(header) = names::header(name, &section) else {
            whole = false;
            continue;
        };
        let fault = if header == AUTHORIZATION {
            Some("what stands in Authorization is the choice of credential".into())
        } else if claim.is_empty() {
            Some("the name of a claim belongs here".into())
        } else {
            let folded = header.as_str().replace('_', "-");
            let same = checked.iter().find(|(other, _)| other.as_str().replace('_', "-") == folded);
            same.map(|(other, _)| format!("to many servers this is the same header as {other}"))
        };
        match fault {
            Some(fault) => {
                section.problem(fault, "");
                whole = false;
            }
            None => checked.push((header, claim.clone())),
        }
    }
    whole.then_some(checked)
}

/// What a listener can do to an upstream's credential, whoever is in between can do, too. The internal JWT is for this
/// upstream alone and ends soon.
fn warn_of_plain_text(settings: &settings::Upstream, target: Option<&Target>, section: &Section<'_>) {
    let what = match &settings.credential {
        Some(settings::Credential::Original {}) => "the client's own token",
        Some(settings::Credential::AuthorityToken {}) => "the authority's token",
        Some(settings::Credential::Service(_)) => "the token of the service",
        Some(settings::Credential::Basic { .. }) => "the password",
        Some(settings::Credential::InternalJwt { .. } | settings::Credential::None {}) | None => return,
    };
    let url = settings.url.as_deref().and_then(|url| Url::parse(url).ok());
    if matches!(target, Some(Target::Http { .. })) && !url.as_ref().is_none_or(urls::is_loopback) {
        section.key("url").warn(
            format!("{what} travels in plain text beyond this machine"),
            "use https, or show this upstream an internal_jwt",
        );
    }
}
