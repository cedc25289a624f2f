//! Which request goes where, and what its token must say.

pub(super) mod cors;
mod patterns;
pub(super) mod policy;

use std::time::Duration;

use http::{HeaderValue, header};

use super::{
    internal_jwt,
    names::{self, Distinct},
    section::Section,
    upstreams, urls,
};
use crate::config::{
    HostHeader, LOCAL_ISSUER, OnExpiry, Policy, Rate, Route, TokenPlace, Upstream,
    settings::{self, Settings},
};

const MIB: u64 = 1024 * 1024;

/// `upstreams` is `None` if one of them is wrong.
pub(super) fn check(settings: &Settings, section: &Section<'_>, upstreams: Option<&[Upstream]>) -> Option<Vec<Route>> {
    if settings.routes.is_empty() {
        section.problem(
            "there is no route, so every request would be refused",
            "add for example routes: [{name: all, paths: [\"/*\"], upstream: app, policy: {audiences: [my-api]}}]",
        );
        return None;
    }
    let mut names = Distinct::default();
    let checked: Vec<Option<Route>> = settings
        .routes
        .iter()
        .enumerate()
        .map(|(index, route)| {
            let section = section.key(index);
            if let Some(name) = &route.name {
                names.note(name, index, "routes", &section.key("name"));
            }
            check_one(route, settings, &section, upstreams)
        })
        .collect();
    checked.into_iter().collect()
}

fn check_one(
    route: &settings::Route,
    settings: &Settings,
    section: &Section<'_>,
    upstreams: Option<&[Upstream]>,
) -> Option<Route> {
    let name = names::label(route.name.as_ref(), section, "orders");
    let hosts = names::all(&route.hosts, &section.key("hosts"), |host, section| patterns::host(host, section));
    let paths = paths(&route.paths, &section.key("paths"));
    let methods = names::methods(&route.methods, &section.key("methods"));
    let upstream = section.required("upstream", route.upstream.as_ref(), "orders").and_then(|name| {
        let known: Vec<_> = settings.upstreams.iter().map(|upstream| upstream.name.as_deref()).collect();
        names::find(name, &known, "upstreams", &section.key("upstream"))
    });
    let policy = policy::check(route, settings, section);
    let observe = route.mode == Some(settings::Mode::Observe);
    let observed = !observe || may_observe(upstream.and_then(|index| settings.upstreams.get(index)), section);
    let of_upstream = upstream.and_then(|index| settings.upstreams.get(index));
    let has_sessions = has_sessions(of_upstream, policy.as_ref().and_then(Option::as_ref), section);
    let token = token(&route.token, settings, &section.key("token"));
    let host = host_header(route.host.as_deref(), &section.key("host"));
    let strip_prefix = prefix(route.strip_prefix.as_deref(), &section.key("strip_prefix"));
    let add_prefix = prefix(route.add_prefix.as_deref(), &section.key("add_prefix"));
    let max_body_bytes = section.size("max_body_bytes", route.max_body_bytes, 10 * MIB, 0..=u64::MAX);
    let limits = section.key("rate_limit");
    let rate_per_principal = rate(route.rate_limit.per_principal.as_ref(), &limits.key("per_principal"));
    let rate_per_address = rate(route.rate_limit.per_address.as_ref(), &limits.key("per_address"));
    let cors = cors::check(route.cors.as_ref(), &section.key("cors"));
    let pass_headers = names::headers(&route.pass_headers, &section.key("pass_headers"));
    let on_expiry = on_expiry(route, &section.key("on_expiry"));
    let min_life = min_life(route, of_upstream, settings, section);
    let replay = replay(route, of_upstream, &section.key("replay"));
    let upstream = upstream?;
    let timeouts = upstreams
        .and_then(|list| list.get(upstream))
        .map(|upstream| upstreams::timeouts(&route.timeouts, upstream.timeouts, &section.key("timeouts")));
    let (cors, preflight) = cors?;
    Some(Route {
        name: name?,
        hosts: hosts?,
        paths: paths?,
        methods: methods?,
        upstream,
        policy: policy.filter(|_| has_sessions)?,
        observe: observed.then_some(observe)?,
        token: token?,
        host: host?,
        strip_prefix: strip_prefix?,
        add_prefix: add_prefix?,
        allow_encoded_slashes: route.allow_encoded_slashes.unwrap_or(false),
        max_body_bytes: (max_body_bytes > 0).then_some(max_body_bytes),
        rate_per_principal: rate_per_principal?,
        rate_per_address: rate_per_address?,
        cors,
        preflight,
        pass_headers: pass_headers?,
        on_expiry: on_expiry?,
        min_life: min_life?,
        replay: replay?,
        timeouts: timeouts?,
    })
}

fn on_expiry(route: &settings::Route, section: &Section<'_>) -> Option<OnExpiry> {
    if route.on_expiry.is_some() && route.public == Some(true) {
        section.problem("a public route asks for no token, so none expires", "leave it out");
        return None;
    }
    Some(match route.on_expiry {
        Some(settings::OnExpiry::Keep) => OnExpiry::Keep,
        Some(settings::OnExpiry::CloseAtExpiry) => OnExpiry::CloseAtExpiry,
        Some(settings::OnExpiry::CloseWhenSessionEnds) | None => OnExpiry::CloseWhenSessionEnds,
    })
}

/// What a credential must have left: no more than it has when it is new, where that is known here.
fn min_life(
    route: &settings::Route,
    upstream: Option<&settings::Upstream>,
    all: &Settings,
    section: &Section<'_>,
) -> Option<Duration> {
    let most = Duration::from_secs(3600);
    let need = section.span("min_life", route.min_life, Duration::ZERO, Duration::ZERO..=most);
    let section = section.key("min_life");
    if need.is_zero() {
        return Some(need);
    }
    if route.public == Some(true) {
        section.problem("a public route asks for no token, so none can be too short", "leave it out");
        return None;
    }
    let Some(upstream) = upstream else { return Some(need) };
    match &upstream.credential {
        Some(settings::Credential::InternalJwt { .. }) => {
            let lifetime = all.internal_jwt.as_ref().and_then(|settings| settings.lifetime);
            let lifetime = lifetime.map_or(internal_jwt::LIFETIME, |lifetime| lifetime.0);
            if need > lifetime {
                let human = humantime::format_duration(lifetime);
                section.problem(
                    format!("no internal JWT lives that long: internal_jwt.lifetime is {human}"),
                    "write less, or raise internal_jwt.lifetime",
                );
                return None;
            }
        }
        None | Some(settings::Credential::Basic { .. } | settings::Credential::None {}) => {
            section.problem("the upstream is shown no credential that expires", "leave it out");
            return None;
        }
        Some(
            settings::Credential::AuthorityToken {}
            | settings::Credential::Service(_)
            | settings::Credential::Original {},
        ) => {}
    }
    Some(need)
}

/// Outside, `None` if it is wrong; inside, `None` where no request is sent once more.
fn replay(
    route: &settings::Route,
    upstream: Option<&settings::Upstream>,
    section: &Section<'_>,
) -> Option<Option<usize>> {
    let settings = &route.replay;
    let most = section.size("max_body_bytes", settings.max_body_bytes, 64 * 1024, 0..=10 * MIB);
    if settings.on_401 == Some(false) {
        if settings.max_body_bytes.is_some() {
            section.key("max_body_bytes").problem("given, but on_401 is false", "leave one of them out");
            return None;
        }
        return Some(None);
    }
    let wanted = settings.on_401.is_some() || settings.max_body_bytes.is_some();
    if route.public == Some(true) {
        if wanted {
            section.problem("a public route asks for no token, so no credential can be renewed", "leave it out");
            return None;
        }
        return Some(None);
    }
    let Some(upstream) = upstream else { return Some(None) };
    match &upstream.credential {
        // Who is only observed is not helped, so that what is seen there is what enforcing would change.
        Some(
            settings::Credential::InternalJwt { .. }
            | settings::Credential::AuthorityToken {}
            | settings::Credential::Service(_),
        ) => {
            let enforced = route.mode != Some(settings::Mode::Observe);
            Some(enforced.then(|| usize::try_from(most).unwrap_or(usize::MAX)))
        }
        None
        | Some(
            settings::Credential::Original {} | settings::Credential::Basic { .. } | settings::Credential::None {},
        ) => {
            if wanted {
                section.problem("the upstream is shown no credential that sidegate could renew", "leave it out");
                return None;
            }
            Some(None)
        }
    }
}

fn paths(paths: &[String], section: &Section<'_>) -> Option<Vec<String>> {
    if paths.is_empty() {
        section.problem("a route needs a path", "write for example paths: [\"/*\"] for everything");
        return None;
    }
    names::all(paths, section, |pattern, section| patterns::path(pattern, section))
}

/// A request that is let through without a valid token must not arrive with a credential that vouches for it.
fn may_observe(upstream: Option<&settings::Upstream>, section: &Section<'_>) -> bool {
    let name = match upstream.and_then(|upstream| upstream.credential.as_ref()) {
        Some(settings::Credential::Basic { .. }) => "basic",
        Some(settings::Credential::AuthorityToken {}) => "authority_token",
        Some(settings::Credential::Service(_)) => "service",
        _ => return true,
    };
    section.key("mode").problem(
        format!("observe forwards what would be refused, and this upstream's credential is {name}: it would let it in"),
        "use enforce, or an upstream with another credential",
    );
    false
}

/// A token of an issuer has no session, and so nothing that an authority outside gave for it.
fn has_sessions(upstream: Option<&settings::Upstream>, policy: Option<&Policy>, section: &Section<'_>) -> bool {
    let wanted =
        upstream.and_then(|upstream| upstream.credential.as_ref()) == Some(&settings::Credential::AuthorityToken {});
    let only_ours = policy.is_none_or(|policy| policy.issuers == [LOCAL_ISSUER]);
    if wanted && !only_ours {
        section.key("policy").key("issuers").problem(
            "the upstream's credential is authority_token, which only sessions of our own have",
            "write issuers: [local], or choose another credential",
        );
    }
    !wanted || only_ours
}

fn token(settings: &settings::Token, all: &Settings, section: &Section<'_>) -> Option<TokenPlace> {
    let header = match &settings.header {
        Some(name) => names::header(name, &section.key("header")).filter(|header| {
            let cookie = *header == header::COOKIE;
            if cookie {
                section.key("header").problem("a cookie is not a bearer token", "");
            }
            !cookie
        }),
        None => Some(header::AUTHORIZATION),
    };
    let query_parameter = match &settings.query_parameter {
        Some(name) if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)) => {
            let section = section.key("query_parameter");
            section.problem(
                format!("{} is not the name of a parameter", section.shown(name)),
                "use letters, digits, \"-\", \".\", \"_\" and \"~\"",
            );
            None
        }
        name => Some(name.clone()),
    };
    let basic = match &settings.basic {
        None => Some(None),
        Some(id) => {
            let clients = all.authority.iter().flat_map(|authority| &authority.clients);
            let found = clients.into_iter().find(|client| client.id.as_ref() == Some(id));
            if !found.is_some_and(|client| client.grants.contains(&settings::Grant::Basic)) {
                section.key("basic").problem(
                    format!("no client of the authority is called {} and has the grant basic", section.shown(id)),
                    "write the id of one under authority.clients",
                );
                return None;
            }
            if all.authority.as_ref().is_some_and(|authority| authority.remote.is_some()) {
                section.key("basic").problem(
                    "users are judged by the authority outside, which would be asked with every new connection",
                    "leave out basic, or authority.remote",
                );
                return None;
            }
            Some(Some(id.as_str().into()))
        }
    };
    Some(TokenPlace { header: header?, query_parameter: query_parameter?, basic: basic? })
}

fn host_header(text: Option<&str>, section: &Section<'_>) -> Option<HostHeader> {
    match text {
        None | Some("preserve") => Some(HostHeader::Preserve),
        Some("upstream") => Some(HostHeader::Upstream),
        Some(name) => {
            let authority = name.parse::<http::uri::Authority>().ok().filter(|_| !name.contains('@'));
            match authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
                Some(value) => Some(HostHeader::Named(value)),
                None => {
                    section.problem(
                        format!("{} is not the name of a host", section.shown(name)),
                        "write preserve, upstream or a name such as orders.internal",
                    );
                    None
                }
            }
        }
    }
}

fn prefix(text: Option<&str>, section: &Section<'_>) -> Option<String> {
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return Some(String::new());
    }
    let fault = urls::literal_path_fault(text).or_else(|| text.ends_with('/').then(|| "ends with /".into()));
    if let Some(fault) = fault {
        section.problem(format!("{} {fault}", section.shown(text)), "write for example /api/v1");
        return None;
    }
    Some(text.into())
}

/// Outside, `None` if it is wrong; inside, `None` for no limit.
pub(super) fn rate(settings: Option<&settings::Rate>, section: &Section<'_>) -> Option<Option<Rate>> {
    const MOST: u32 = 1_000_000;
    let Some(settings) = settings else {
        return Some(None);
    };
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let Some(requests) = settings.requests else {
        section.key("requests").problem("missing", "write for example { requests: 100, per: 1s, burst: 200 }");
        return None;
    };
    let requests = section.number("requests", Some(requests), 1, 1..=MOST);
    let per = section.span("per", settings.per, s(1), ms(100)..=s(86400));
    let burst = section.number("burst", settings.burst, requests, 1..=MOST);
    // At the least 100 ms for a million requests: 100 ns, never zero.
    Some(Some(Rate { interval: per / requests, burst }))
}
