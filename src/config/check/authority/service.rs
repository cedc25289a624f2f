//! Users who are verified elsewhere.

use std::time::Duration;

use url::Url;

use super::claims;
use crate::config::{
    HttpUsers, LdapUsers, Users,
    check::{files, section::Section, urls},
    settings,
};

pub(super) fn check(settings: &settings::UserService, section: &Section<'_>) -> Option<Users> {
    match (&settings.http, &settings.ldap) {
        (Some(_), Some(_)) => {
            section.problem("http and ldap at once", "leave one out");
            None
        }
        (None, None) => {
            section.problem("neither http nor ldap", "write for example http: {url: https://users.example.com/verify}");
            None
        }
        (Some(http), None) => check_http(http, &section.key("http")).map(Users::Http),
        (None, Some(ldap)) => check_ldap(ldap, &section.key("ldap")).map(Users::Ldap),
    }
}

fn check_http(settings: &settings::HttpUsers, section: &Section<'_>) -> Option<HttpUsers> {
    let url = section
        .required("url", settings.url.as_ref(), "https://users.example.com/verify")
        .and_then(|url| urls::trusted(url, &section.key("url")));
    let token = match &settings.token_file {
        Some(file) => files::secret_text(file, &section.key("token_file")).map(Some),
        None => Some(None),
    };
    let ca_file = match &settings.ca_file {
        Some(file) => files::authorities(file, &section.key("ca_file")).map(Some),
        None => Some(None),
    };
    Some(HttpUsers { url: url?, token: token?, ca_file: ca_file?, timeout: timeout(settings.timeout, section) })
}

fn check_ldap(settings: &settings::LdapUsers, section: &Section<'_>) -> Option<LdapUsers> {
    if cfg!(not(feature = "ldap")) {
        section.problem("this sidegate was built without LDAP", "build it with the feature ldap");
        return None;
    }
    let start_tls = settings.start_tls.unwrap_or(false);
    let url = section
        .required("url", settings.url.as_ref(), "ldaps://ldap.example.com")
        .and_then(|url| ldap_url(url, start_tls, section));
    let bind_dn =
        section.required("bind_dn", settings.bind_dn.as_ref(), "\"uid={username},ou=people,dc=example,dc=com\"");
    let bind_dn = bind_dn.filter(|dn| {
        let good = dn.matches("{username}").count() == 1 && dn.contains('=');
        if !good {
            section.key("bind_dn").problem(
                "{username} stands in it exactly once, as the value of an attribute",
                "write for example \"uid={username},ou=people,dc=example,dc=com\"",
            );
        }
        good
    });
    let ca_file = match &settings.ca_file {
        Some(file) => files::authorities(file, &section.key("ca_file")).map(Some),
        None => Some(None),
    };
    let mut good = claims::check_names(&settings.claims.0, &section.key("claims"));
    for (claim, attribute) in &settings.claims.0 {
        good &= is_attribute(attribute, &section.key("claims").key(claim.as_str()));
    }
    match &settings.subject {
        Some(attribute) => good &= is_attribute(attribute, &section.key("subject")),
        None => section.key("subject").warn(
            "missing, so what was typed is the subject; a directory takes Ana and ana for one, and policies do not",
            "name an attribute that never changes, such as entryUUID or uid",
        ),
    }
    Some(LdapUsers {
        url: url?,
        start_tls,
        ca_file: ca_file?,
        bind_dn: bind_dn.filter(|_| good)?.clone(),
        claims: settings.claims.0.clone(),
        subject: settings.subject.clone(),
        timeout: timeout(settings.timeout, section),
    })
}

fn timeout(given: Option<settings::Span>, section: &Section<'_>) -> Duration {
    section.span("timeout", given, Duration::from_secs(5), Duration::from_millis(100)..=Duration::from_secs(60))
}

/// Passwords go there: TLS from the first byte or before the bind, except on this machine.
fn ldap_url(text: &str, start_tls: bool, section: &Section<'_>) -> Option<Url> {
    let place = section.key("url");
    let example = "write for example ldaps://ldap.example.com";
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "ldap" | "ldaps") && url.host_str().is_some_and(|host| !host.is_empty()) => {
            url
        }
        _ => {
            place.problem(format!("{} is not an ldaps URL", place.shown(text)), example);
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        place.problem("a URL must not carry a user or a password", example);
        return None;
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        place.problem("only scheme, host and port have a meaning here", example);
        return None;
    }
    match (url.scheme(), start_tls) {
        ("ldaps", true) => {
            section.key("start_tls").problem("ldaps begins with TLS", "leave it out, or write ldap://");
            None
        }
        ("ldap", false) if !is_here(&url) => {
            let message = format!("{} sends passwords in plain text", place.shown(text));
            place.problem(message, "use ldaps, or start_tls: true; without both only on this machine");
            None
        }
        _ => Some(url),
    }
}

/// Of a scheme that the URL standard does not know, an address is only text.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// RFC 4512, section 2.5, as far as it matters: nothing that could be a filter or a list.
fn is_attribute(name: &str, section: &Section<'_>) -> bool {
    let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.;".contains(&b));
    if !good {
        section.problem(format!("{} is not the name of an attribute", section.shown(name)), "write for example mail");
    }
    good
}
