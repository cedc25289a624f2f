//! The local authority: its issuer, its endpoints and everything below them.

mod accounts;
mod claims;
mod clients;
mod declared;
mod dialects;
mod hashes;
mod remote;
mod service;
mod users;

use std::{sync::Arc, time::Duration};

use jsonwebtoken::Algorithm;

use super::{files, internal_jwt, names, routes, section::Section, urls};
use crate::config::{
    Authority, DeclaredDialect, Endpoints, Intent, Pages, Rate, Remote, Signing, Throttle,
    settings::{self, Settings},
};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Outside, `None` if it is wrong; inside, `None` if there is none.
pub(super) fn check(
    settings: &Settings,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    section: &Section<'_>,
) -> Option<Option<Authority>> {
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
    let remote = remote::check(authority, dialects, issuer.as_deref(), &section.key("remote"));
    let callback = remote.iter().flatten().find_map(Remote::sign_in).map(|sign_in| sign_in.callback.clone());
    let endpoints = endpoints(settings, authority, dialects, callback, section);
    let cors_origins = names::all(&authority.cors_origins, &section.key("cors_origins"), |origin, section| {
        if origin == "*" {
            section.problem("every page in the world could read what the endpoints answer", "list the origins");
            return None;
        }
        routes::cors::origin(origin, section)
    });
    accounts::check(authority, section);
    warn_of_nobody(authority, section);
    warn_of_one_address(settings, section);
    let signing = signing(&authority.signing, &section.key("signing"));
    let pages = pages(&authority.pages, issuer.as_deref(), &section.key("pages"));
    let intent = intent(&authority.intent, &section.key("intent"));
    let throttle = throttle(&authority.throttle, &section.key("throttle"));
    Some(Some(Authority {
        issuer: issuer?,
        audiences: (!authority.audiences.is_empty()).then(|| authority.audiences.clone())?,
        clients: clients?,
        users: users?,
        remote: remote?,
        scopes: scopes?,
        endpoints: endpoints?,
        signing: signing?,
        pages: pages?,
        intent: intent?,
        throttle: throttle?,
        cors_origins: cors_origins?,
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

/// Somebody must be able to do what is allowed.
fn warn_of_nobody(authority: &settings::Authority, section: &Section<'_>) {
    use settings::Grant::{ApiKey, AuthorizationCode, Basic, Implicit, Password};
    if authority.clients.is_empty() {
        section.key("clients").warn("no client may ask for a token", "list one, or name a clients_file");
    }
    let personal = |client: &settings::Client| {
        client.grants.iter().any(|grant| matches!(grant, ApiKey | AuthorizationCode | Basic | Implicit | Password))
    };
    let vouches = authority.remote.as_ref().is_some_and(|remote| remote.accounts != Some(settings::Accounts::Mapped));
    let nobody = authority.users.is_empty() && authority.user_service.is_none() && !vouches;
    if nobody && authority.clients.iter().any(personal) {
        section.key("users").warn(
            "clients have grants for users, and there is nobody who could sign in",
            "list users, or name a users_file or a user_service",
        );
    }
}

/// Wrong passwords are counted by address. Behind a proxy that is not trusted, all clients have the proxy's.
fn warn_of_one_address(settings: &Settings, section: &Section<'_>) {
    let public = |listener: &settings::Listener| {
        let address = listener.address.as_deref().unwrap_or_default().parse::<std::net::SocketAddr>();
        address.is_ok_and(|address| !address.ip().is_loopback())
    };
    if settings.trusted_proxies.is_empty() && settings.listeners.iter().flatten().any(public) {
        section.top("trusted_proxies").warn(
            "empty: behind a proxy all clients have its one address, and wrong passwords of one slow down all",
            "name the network of the proxy; where clients connect directly, that they do so is all right",
        );
    }
}

fn endpoints(
    all: &Settings,
    authority: &settings::Authority,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    callback: Option<String>,
    section: &Section<'_>,
) -> Option<Endpoints> {
    let (settings, callback_section) = (&authority.endpoints, section.key("remote").key("callback"));
    let section = &section.key("endpoints");
    let path = |key, given: &Option<String>, default| urls::path(key, given.as_ref(), default, section);
    let authorize = path("authorize", &settings.authorize, "/oauth20/authorize");
    let token = path("token", &settings.token, "/oauth20/token");
    let revoke = path("revoke", &settings.revoke, "/oauth20/revoke");
    let introspect = path("introspect", &settings.introspect, "/oauth20/introspect");
    let jwks = path("jwks", &settings.jwks, "/.well-known/jwks.json");
    if jwks == Some(None) {
        section.key("jwks").problem("the key set cannot be switched off: others verify our tokens with it", "");
    }
    let redex = dialects::redex(settings.redex.as_ref(), &section.key("redex"));
    let consinco = dialects::consinco(settings.consinco.as_ref(), authority, &section.key("consinco"));
    let declared = declared::check(authority, dialects, &section.key("declared"));
    let endpoints = Endpoints {
        // Nobody comes back who was never sent away.
        callback: callback.filter(|_| authorize != Some(None)),
        authorize: authorize?,
        token: token?,
        revoke: revoke?,
        introspect: introspect?,
        jwks: jwks??,
        redex: redex?,
        consinco: consinco?,
        declared: declared?,
    };
    let places = [
        ("authorize", endpoints.authorize.as_deref()),
        ("token", endpoints.token.as_deref()),
        ("revoke", endpoints.revoke.as_deref()),
        ("introspect", endpoints.introspect.as_deref()),
        ("redex.token", endpoints.redex.token.as_deref()),
        ("redex.refresh", endpoints.redex.refresh.as_deref()),
        ("consinco.login", endpoints.consinco.login.as_deref()),
        ("consinco.refresh", endpoints.consinco.refresh.as_deref()),
        ("jwks", Some(&*endpoints.jwks)),
    ];
    let built_in = places.into_iter().filter_map(|(key, path)| {
        let place = key.split('.').fold(section.clone(), |section, key| section.key(key));
        Some((place, key.to_owned(), path?))
    });
    let declared = endpoints.declared.iter();
    let declared =
        declared.map(|place| (section.key("declared"), format!("declared {}", place.dialect.name), &*place.path));
    // Last: it is the one whose path is no key of `endpoints`.
    let callback = endpoints.callback.iter().map(|path| (callback_section.clone(), String::new(), path.as_str()));
    let open: Vec<(Section<'_>, String, &str)> = built_in.chain(declared).chain(callback).collect();
    let mut free = true;
    for (index, (section, _, path)) in open.iter().enumerate() {
        if let Some(taken) = taken_by(path, &open[..index], all) {
            section.problem(format!("{} is already {taken}", section.shown(path)), "give one of them another path");
            free = false;
        }
    }
    free.then_some(endpoints)
}

/// What else stands at `path` and could never be reached there, or would never be.
fn taken_by(path: &str, others: &[(Section<'_>, String, &str)], all: &Settings) -> Option<String> {
    if let Some((_, key, _)) = others.iter().find(|(_, _, other)| *other == path) {
        return Some(format!("endpoints.{key}"));
    }
    let internal = all.internal_jwt.as_ref().map(|internal| internal.jwks_path.as_deref());
    if internal.is_some_and(|given| given.unwrap_or(internal_jwt::DEFAULT_JWKS_PATH) == path) {
        return Some("internal_jwt.jwks_path".to_owned());
    }
    if DOCUMENTS.contains(&path) {
        return Some("a document about the authority".to_owned());
    }
    let route = all.routes.iter().position(|route| route.paths.iter().any(|pattern| pattern == path));
    route.map(|index| format!("a path of routes[{index}]"))
}

/// Served beside the endpoints, at paths that clients know by heart.
const DOCUMENTS: [&str; 3] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource",
];

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
    if !rotate_after.is_zero() && rotate_after < s(HOUR) {
        section.key("rotate_after").problem("shorter than an hour: each key stays published for a day", "0s: never");
    }
    if let Some(folder) = &settings.folder {
        files::warn_if_open_within(folder, &section.key("folder"));
    }
    Some(Signing {
        algorithm: algorithm?,
        folder: settings.folder.as_ref().map(|folder| section.folder(folder, &[".pem"])),
        rotate_after: (!rotate_after.is_zero()).then_some(rotate_after),
        publish_ahead: section.span("publish_ahead", settings.publish_ahead, s(HOUR), s(0)..=s(30 * DAY)),
    })
}

fn pages(settings: &settings::Pages, issuer: Option<&str>, section: &Section<'_>) -> Option<Pages> {
    let s = Duration::from_secs;
    let host = issuer.and_then(|issuer| url::Url::parse(issuer).ok()?.host_str().map(str::to_owned));
    Some(Pages {
        theme: settings.theme.as_ref().map(|folder| section.folder(folder, &[".html", ".css"])),
        title: settings.title.clone().or(host).unwrap_or_else(|| "sidegate".to_owned()),
        form_lifetime: section.span("form_lifetime", settings.form_lifetime, s(15 * MINUTE), s(1)..=s(DAY)),
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
