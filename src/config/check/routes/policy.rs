//! What a token must say.

use crate::config::{
    LOCAL, LOCAL_ISSUER, Policy,
    check::{names, section::Section},
    settings,
};

/// `section` is the route's. Outside, `None` if it is wrong; inside, `None` for a public route.
pub(super) fn check(
    route: &settings::Route,
    all: &settings::Settings,
    section: &Section<'_>,
) -> Option<Option<Policy>> {
    let public = route.public.unwrap_or(false);
    let settings = match (&route.policy, public) {
        (None, true) => return Some(None),
        (Some(_), true) => {
            section.key("public").problem("a public route has no policy", "leave out public or policy");
            return None;
        }
        (None, false) => {
            section.problem(
                "neither policy nor public",
                "write policy: {audiences: [my-api]}, or public: true for a route that needs no token",
            );
            return None;
        }
        (Some(settings), false) => settings,
    };
    let section = section.key("policy");
    let issuers = check_issuers(settings, all, &section.key("issuers"));
    let audiences = if settings.audiences.is_empty() {
        section.key("audiences").problem(
            "missing: without it a token that was meant for another service would be accepted",
            "write for example audiences: [orders-api]",
        );
        None
    } else {
        texts(&settings.audiences, &section.key("audiences"))
    };
    warn_of_common_audiences(settings, all, &section.key("audiences"));
    let scopes_all = scopes(&settings.scopes_all, &section.key("scopes_all"));
    let scopes_any = scopes(&settings.scopes_any, &section.key("scopes_any"));
    let clients = texts(&settings.clients, &section.key("clients"));
    let claims = claims(&settings.claims.0, &section.key("claims"));
    Some(Some(Policy {
        issuers: issuers?,
        audiences: audiences?,
        scopes_all: scopes_all?,
        scopes_any: scopes_any?,
        clients: clients?,
        claims: claims?,
    }))
}

/// An audience that stands in every token of a provider keeps no token out.
fn warn_of_common_audiences(settings: &settings::Policy, all: &settings::Settings, section: &Section<'_>) {
    for (index, audience) in settings.audiences.iter().enumerate() {
        let of_issuer = |issuer: &settings::Issuer| {
            issuer.issuer.as_ref().is_some_and(|issuer| {
                let rest = audience.strip_prefix(issuer.trim_end_matches('/'));
                rest.is_some_and(|rest| matches!(rest, "" | "/" | "/userinfo"))
            })
        };
        if COMMON.contains(&audience.as_str()) || all.issuers.iter().any(of_issuer) {
            let section = section.key(index);
            section.warn(
                format!("tokens for every service of this provider may say {}", section.shown(audience)),
                "give this API an audience of its own there",
            );
        }
    }
}

/// Of Keycloak, and of Microsoft's directory for its own API.
const COMMON: [&str; 2] = ["account", "00000003-0000-0000-c000-000000000000"];

fn check_issuers(settings: &settings::Policy, all: &settings::Settings, section: &Section<'_>) -> Option<Vec<usize>> {
    let local = all.authority.is_some();
    if settings.issuers.is_empty() {
        if all.issuers.is_empty() && !local {
            section.problem("there is no issuer whose tokens could be accepted", "add one to issuers");
            return None;
        }
        return Some((0..all.issuers.len()).chain(local.then_some(LOCAL_ISSUER)).collect());
    }
    let known: Vec<_> = all.issuers.iter().map(|issuer| issuer.name.as_deref()).collect();
    names::all(&settings.issuers, section, |name, section| match name.as_str() {
        LOCAL if local => Some(LOCAL_ISSUER),
        name => names::find(name, &known, "issuers", section),
    })
}

/// RFC 6749, section 3.3: a scope is printable, without a space, a quote or a backslash.
fn scopes(scopes: &[String], section: &Section<'_>) -> Option<Vec<String>> {
    names::all(scopes, section, |name, section| scope(name, section))
}

pub(in crate::config::check) fn scope(scope: &str, section: &Section<'_>) -> Option<String> {
    let good = !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if !good {
        section.problem(format!("{} is not one scope", section.shown(scope)), "write each as an item of its own");
    }
    good.then(|| scope.to_owned())
}

fn texts(texts: &[String], section: &Section<'_>) -> Option<Vec<String>> {
    names::all(texts, section, |text, section| {
        if text.is_empty() {
            section.problem("empty", "");
        }
        (!text.is_empty()).then(|| text.clone())
    })
}

fn claims(claims: &[(String, Vec<String>)], section: &Section<'_>) -> Option<Vec<(String, Vec<String>)>> {
    let mut whole = true;
    for (claim, values) in claims {
        let section = section.key(claim.as_str());
        if claim.is_empty() || values.is_empty() {
            section.problem("no value would be accepted", "write for example tenant: [acme]");
            whole = false;
        }
    }
    whole.then(|| claims.to_vec())
}
