//! The local authority: its issuer, its endpoints and everything below them.

mod clients;
mod dialects;
mod users;

use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::{names, routes, section::Section, urls};
use crate::config::{
    Authority, Endpoints, Intent, Pages, Rate, Signing, Throttle,
    settings::{self, Settings},
};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Outside, `None` if it is wrong; inside, `None` if there is none.
pub(super) fn check(settings: &Settings, section: &Section<'_>) -> Option<Option<Authority>> {
    let Some(authority) = &settings.authority else { return Some(None) };
    let issuer = section
        .required("issuer", authority.issuer.as_ref(), "https://auth.example.com")
        .and_then(|text| issuer(text, &section.key("issuer")));
    if authority.audiences.is_empty() {
        section.key("audiences").problem(
            "missing: tokens without an audience would be good for any service",
            "write for example audiences: [orders-api]",
        );
    }
    let scopes = names::all(&authority.scopes.0, &section.key("scopes"), |(name, text), section| {
        routes::policy::scope(name, section).map(|name| (name, text.clone()))
    });
    let clients = clients::check(authority, section);
    let users = users::check(authority, section);
    let endpoints = endpoints(authority, &section.key("endpoints"));
    let signing = signing(&authority.signing, &section.key("signing"));
    let pages = pages(&authority.pages, issuer.as_deref(), &section.key("pages"));
    let intent = intent(&authority.intent, &section.key("intent"));
    let throttle = throttle(&authority.throttle, &section.key("throttle"));
    Some(Some(Authority {
        issuer: issuer?,
        audiences: (!authority.audiences.is_empty()).then(|| authority.audiences.clone())?,
        clients: clients?,
        users: users?,
        scopes: scopes?,
        endpoints: endpoints?,
        signing: signing?,
        pages: pages?,
        intent: intent?,
        throttle: throttle?,
        cors_origins: authority.cors_origins.clone(),
        sessions_per_user: section.number("sessions_per_user", authority.sessions_per_user, 100, 1..=1_000_000),
        sessions_per_client: section.number(
            "sessions_per_client",
            authority.sessions_per_client,
            10_000,
            1..=10_000_000,
        ),
    }))
}

/// RFC 8414, section 2: no query, no fragment. Compared byte for byte by every client, so it has one spelling.
fn issuer(text: &str, section: &Section<'_>) -> Option<String> {
    let url = urls::trusted(text, section)?;
    if url.query().is_some() || text.ends_with('/') {
        section.problem("an issuer has no query and no slash at its end", "write for example https://auth.example.com");
        return None;
    }
    Some(text.to_owned())
}

/// Outside, `None` if it is wrong; inside, `None` if it is switched off.
fn path(key: &'static str, given: Option<&String>, default: &str, section: &Section<'_>) -> Option<Option<String>> {
    let path = given.map_or(default, String::as_str);
    if path == "off" {
        return Some(None);
    }
    match urls::literal_path_fault(path) {
        None => Some(Some(path.to_owned())),
        Some(fault) => {
            section.key(key).problem(format!("{} {fault}", section.shown(path)), "");
            None
        }
    }
}

fn endpoints(authority: &settings::Authority, section: &Section<'_>) -> Option<Endpoints> {
    let settings = &authority.endpoints;
    let path = |key, given: &Option<String>, default| path(key, given.as_ref(), default, section);
    let authorize = path("authorize", &settings.authorize, "/oauth20/authorize");
    let token = path("token", &settings.token, "/oauth20/token");
    let revoke = path("revoke", &settings.revoke, "/oauth20/revoke");
    let introspect = path("introspect", &settings.introspect, "/oauth20/introspect");
    let jwks = path("jwks", &settings.jwks, "/.well-known/jwks.json");
    let redex = dialects::redex(settings.redex.as_ref(), &section.key("redex"));
    let consinco = dialects::consinco(settings.consinco.as_ref(), authority, &section.key("consinco"));
    let endpoints = Endpoints {
        redex: redex?,
        consinco: consinco?,
        authorize: authorize?,
        token: token?,
        revoke: revoke?,
        introspect: introspect?,
        jwks: jwks?.unwrap_or_else(|| "/.well-known/jwks.json".to_owned()),
    };
    let mut paths: Vec<&str> = endpoints.paths().collect();
    let count = paths.len();
    paths.sort_unstable();
    paths.dedup();
    if paths.len() < count {
        section.problem("two endpoints have the same path", "");
        return None;
    }
    Some(endpoints)
}

fn signing(settings: &settings::Signing, section: &Section<'_>) -> Option<Signing> {
    let algorithm = match settings.algorithm {
        None | Some(settings::Algorithm::ES256) => Some(Algorithm::ES256),
        Some(settings::Algorithm::RS256) => Some(Algorithm::RS256),
        Some(settings::Algorithm::EdDSA) => Some(Algorithm::EdDSA),
        Some(_) => {
            section.key("algorithm").problem("not one of ES256, RS256 and EdDSA", "");
            None
        }
    };
    let s = Duration::from_secs;
    let rotate_after = section.span("rotate_after", settings.rotate_after, s(90 * DAY), s(0)..=s(3650 * DAY));
    Some(Signing {
        algorithm: algorithm?,
        folder: settings.folder.as_ref().map(|folder| section.resolve(folder)),
        rotate_after: (!rotate_after.is_zero()).then_some(rotate_after),
        publish_ahead: section.span("publish_ahead", settings.publish_ahead, s(HOUR), s(0)..=s(30 * DAY)),
    })
}

fn pages(settings: &settings::Pages, issuer: Option<&str>, section: &Section<'_>) -> Option<Pages> {
    let s = Duration::from_secs;
    let host = issuer.and_then(|issuer| url::Url::parse(issuer).ok()?.host_str().map(str::to_owned));
    Some(Pages {
        theme: settings.theme.as_ref().map(|folder| section.resolve(folder)),
        title: settings.title.clone().or(host).unwrap_or_else(|| "sidegate".to_owned()),
        form_lifetime: section.span("form_lifetime", settings.form_lifetime, s(15 * MINUTE), s(MINUTE)..=s(DAY)),
        remember: section.span("remember", settings.remember, s(0), s(0)..=s(30 * DAY)),
    })
}

fn intent(settings: &settings::Intent, section: &Section<'_>) -> Option<Intent> {
    let verifier = match &settings.verifier_url {
        Some(url) => Some(urls::trusted(url, &section.key("verifier_url"))?),
        None => None,
    };
    let published = || ["payments", "rewards", "redemptions", "accounts", "customers"].map(str::to_owned).to_vec();
    Some(Intent { types: settings.types.clone().unwrap_or_else(published), verifier })
}

fn throttle(settings: &settings::Throttle, section: &Section<'_>) -> Option<Throttle> {
    let rate = |key: &'static str, given: &Option<settings::Rate>, per_minute: u32| match given {
        Some(_) => routes::rate(given.as_ref(), &section.key(key))?,
        None => Some(Rate { interval: Duration::from_secs(MINUTE) / per_minute, burst: per_minute * 2 }),
    };
    let half = std::thread::available_parallelism().map_or(1, |cpus| (cpus.get() / 2).max(1));
    let half = u32::try_from(half).unwrap_or(1);
    Some(Throttle {
        per_pair: rate("per_pair", &settings.per_pair, 5)?,
        per_address: rate("per_address", &settings.per_address, 30)?,
        per_name: rate("per_name", &settings.per_name, 60)?,
        password_checks: section.number("password_checks", settings.password_checks, half, 1..=256) as usize,
    })
}
