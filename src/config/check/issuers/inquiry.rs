//! How an issuer is asked: by introspection or by a probe.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header::AUTHORIZATION};

use super::HOUR;
use crate::config::{
    Inquiry, Introspection, Probe, Way,
    check::{files, names, section::Section, urls},
    settings::{self, ProbeMethod, Span},
};

/// `None`: there is a problem. `Some(None)`: this issuer is never asked.
pub(super) fn check(settings: &settings::Issuer, section: &Section<'_>) -> Option<Option<Inquiry>> {
    match (&settings.introspection, &settings.probe) {
        (None, None) => Some(None),
        (Some(settings), None) => introspection(settings, &section.key("introspection")).map(Some),
        (None, Some(settings)) => probe(settings, &section.key("probe")).map(Some),
        (Some(_), Some(_)) => {
            section.key("probe").problem(
                "the issuer has introspection, which says the same better",
                "leave the probe out, or introspection where the server does not really have it",
            );
            None
        }
    }
}

/// What every way of asking has.
struct Asking {
    cache_ttl: Option<Span>,
    negative_ttl: Option<Span>,
    max_concurrent: Option<usize>,
    timeout: Option<Span>,
}

impl Asking {
    fn check(&self, way: Option<Way>, section: &Section<'_>) -> Option<Inquiry> {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let cache_ttl = section.span("cache_ttl", self.cache_ttl, s(60), s(0)..=s(HOUR));
        let negative_ttl = section.span("negative_ttl", self.negative_ttl, s(10), s(0)..=s(HOUR));
        let max_concurrent = section.number("max_concurrent", self.max_concurrent, 32, 1..=10_000);
        let timeout = section.span("timeout", self.timeout, s(5), ms(100)..=s(60));
        Some(Inquiry { way: way?, cache_ttl, negative_ttl, max_concurrent, timeout })
    }
}

fn introspection(settings: &settings::Introspection, section: &Section<'_>) -> Option<Inquiry> {
    let &settings::Introspection { cache_ttl, negative_ttl, max_concurrent, timeout, .. } = settings;
    let endpoint = section
        .required("endpoint", settings.endpoint.as_ref(), "https://idp.example.com/introspect")
        .and_then(|url| urls::trusted(url, &section.key("endpoint")));
    let client_id = section.required("client_id", settings.client_id.as_ref(), "sidegate");
    let client_secret = section
        .required("client_secret_file", settings.client_secret_file.as_ref(), "secrets/introspection")
        .and_then(|file| files::secret_text(file, &section.key("client_secret_file")));
    let way = (|| {
        Some(Way::Introspection(Introspection {
            endpoint: endpoint?,
            client_id: client_id?.clone(),
            client_secret: client_secret?,
        }))
    })();
    Asking { cache_ttl, negative_ttl, max_concurrent, timeout }.check(way, section)
}

fn probe(settings: &settings::Probe, section: &Section<'_>) -> Option<Inquiry> {
    let &settings::Probe { cache_ttl, negative_ttl, max_concurrent, timeout, .. } = settings;
    let way = check_probe(settings, section).map(|probe| Way::Probe(Box::new(probe)));
    Asking { cache_ttl, negative_ttl, max_concurrent, timeout }.check(way, section)
}

fn check_probe(settings: &settings::Probe, section: &Section<'_>) -> Option<Probe> {
    let url = section.required("url", settings.url.as_ref(), "http://127.0.0.1:3000/api/me").and_then(|text| {
        let section = section.key("url");
        let url = urls::web(text, &section)?;
        if url.scheme() == "http" && !urls::is_loopback(&url) {
            section.warn(
                "this is plain http, so whoever is in between reads every token and can say yes to any",
                "use https, or run sidegate beside the server and ask it on 127.0.0.1",
            );
        }
        Some(url)
    });
    let method = match settings.method {
        None | Some(ProbeMethod::Get) => Method::GET,
        Some(ProbeMethod::Head) => Method::HEAD,
        Some(ProbeMethod::Post) => Method::POST,
    };
    if method == Method::HEAD && !(settings.claims.0.is_empty() && settings.require.0.is_empty()) {
        section.key("method").problem(
            "the answer to HEAD has no body, so no member of it can be read",
            "use GET, or leave claims and require out",
        );
    }
    let header = match &settings.header {
        Some(name) => names::header(name, &section.key("header")),
        None => Some(AUTHORIZATION),
    };
    let headers = check_headers(settings, &section.key("headers"));
    let accept = statuses(settings.accept.as_deref(), &[200], &section.key("accept"), |status| {
        (!(200..300).contains(&status)).then_some(("does not mean yes", "use statuses of 200 to 299"))
    });
    if accept.as_ref().is_some_and(Vec::is_empty) {
        section.key("accept").problem("empty, so no token could be valid", "leave the key out for the default");
    }
    let refuse = statuses(settings.refuse.as_deref(), &[401, 403], &section.key("refuse"), |status| match status {
        408 | 429 => Some(("says that the server is busy, and nothing of the token", "leave it out")),
        200..500 if accept.iter().flatten().any(|yes| yes.as_u16() == status) => {
            Some(("stands in accept, too", "let it stand in one of the two"))
        }
        200..500 => None,
        _ => Some(("does not mean no", "use statuses of 200 to 499; a failing server says nothing of the token")),
    });
    let claims = check_claims(&settings.claims.0, &section.key("claims"));
    let require = check_require(&settings.require.0, &section.key("require"));
    let named = |key: &'static str, list: &Option<Vec<String>>| {
        names::all(list.as_deref().unwrap_or_default(), &section.key(key), |item, section| {
            let good = !item.is_empty() && (key == "audiences" || !item.contains(char::is_whitespace));
            if !good {
                section.problem(format!("{} cannot be one of them", section.shown(item)), "write one name an item");
            }
            good.then(|| item.clone())
        })
    };
    let (audiences, scopes) = (named("audiences", &settings.audiences), named("scopes", &settings.scopes));
    if audiences.as_ref().is_some_and(Vec::is_empty) && !settings.claims.0.iter().any(|(claim, _)| claim == "aud") {
        section.key("audiences").problem(
            "missing, so no route would accept its tokens: policies demand an audience",
            "write for example audiences: [orders-api], or read it from the answer with claims: {aud: /audience}",
        );
    }
    let subject = match &settings.subject {
        Some(_) => section.required("subject", settings.subject.as_ref(), "old-server").map(Some),
        None => Some(None),
    };
    Some(Probe {
        url: url?,
        method,
        header: header?,
        headers: headers?,
        accept: accept?,
        refuse: refuse?,
        claims: claims?,
        require: require?,
        subject: subject?.cloned(),
        audiences: audiences?,
        scopes: scopes?,
    })
}

fn check_headers(settings: &settings::Probe, section: &Section<'_>) -> Option<HeaderMap> {
    let token = settings.header.as_deref().unwrap_or(AUTHORIZATION.as_str());
    let mut whole = true;
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers.0 {
        let section = section.key(name.as_str());
        let Some(header) = names::header(name, &section) else {
            whole = false;
            continue;
        };
        let fault = if header.as_str().eq_ignore_ascii_case(token) {
            "this header carries the token"
        } else if headers.contains_key(&header) {
            "this header stands here in another spelling, too"
        } else if let Ok(mut value) = HeaderValue::from_str(value) {
            // It may be a key.
            value.set_sensitive(true);
            headers.insert(header, value);
            continue;
        } else {
            "the value holds a character that no header may hold"
        };
        section.problem(fault, "");
        whole = false;
    }
    whole.then_some(headers)
}

/// `fault`: what is wrong with a status, and the remedy.
fn statuses(
    given: Option<&[u32]>,
    default: &[u32],
    section: &Section<'_>,
    fault: impl Fn(u16) -> Option<(&'static str, &'static str)>,
) -> Option<Vec<StatusCode>> {
    names::all(given.unwrap_or(default), section, |number, section| {
        let Some(status) = u16::try_from(*number).ok().and_then(|number| StatusCode::from_u16(number).ok()) else {
            section.problem(format!("{} is not a status of HTTP", section.shown(number)), "");
            return None;
        };
        match fault(status.as_u16()) {
            Some((words, remedy)) => {
                section.problem(format!("{} {words}", section.shown(number)), remedy);
                None
            }
            None => Some(status),
        }
    })
}

fn check_claims(pairs: &[(String, String)], section: &Section<'_>) -> Option<Vec<(String, String)>> {
    let mut whole = true;
    for (claim, pointer) in pairs {
        let section = section.key(claim.as_str());
        if claim.is_empty() {
            section.problem("the name of a claim belongs here", "");
            whole = false;
        }
        whole &= is_pointer(pointer, &section);
    }
    whole.then(|| pairs.to_vec())
}

fn check_require(
    pairs: &[(String, Vec<serde_json::Value>)],
    section: &Section<'_>,
) -> Option<Vec<(String, Vec<serde_json::Value>)>> {
    let mut whole = true;
    for (pointer, _) in pairs {
        whole &= is_pointer(pointer, &section.key(pointer.as_str()));
    }
    whole.then(|| pairs.to_vec())
}

/// RFC 6901, section 3; the pointer to the whole document names no member.
fn is_pointer(text: &str, section: &Section<'_>) -> bool {
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    let good = text.starts_with('/') && escaped;
    if !good {
        let remedy = "write for example /user/id; in a name ~ is written ~0 and / is written ~1";
        section.problem(format!("{} is not a JSON pointer to a member", section.shown(text)), remedy);
    }
    good
}
