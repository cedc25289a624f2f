//! Cross-origin requests of browsers (the Fetch standard).

use std::time::Duration;

use http::{Method, header};
use url::Url;

use crate::config::{
    Cors, Origins, Preflight,
    check::{names, section::Section},
    settings,
};

/// Outside, `None` if it is wrong.
pub(super) fn check(settings: Option<&settings::Cors>, section: &Section<'_>) -> Option<(Option<Cors>, Preflight)> {
    let Some(settings) = settings else {
        return Some((None, Preflight::Ignore));
    };
    let preflight = match settings.preflight {
        Some(settings::Preflight::Answer) | None => Preflight::Answer,
        Some(settings::Preflight::Forward) => Preflight::Forward,
    };
    let origins = names::all(&settings.origins, &section.key("origins"), |text, section| origin(text, section));
    let methods = match &settings.methods {
        Some(methods) => names::methods(methods, &section.key("methods")),
        None => Some(vec![Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]),
    };
    let headers = match &settings.headers {
        Some(headers) => names::headers(headers, &section.key("headers")),
        None => Some(vec![header::AUTHORIZATION, header::CONTENT_TYPE]),
    };
    let expose_headers = names::headers(&settings.expose_headers, &section.key("expose_headers"));
    let credentials = settings.credentials.unwrap_or(false);
    let s = Duration::from_secs;
    let max_age = section.span("max_age", settings.max_age, s(600), s(0)..=s(86400));
    let any = settings.origins.iter().any(|origin| origin == "*");
    if any && settings.origins.len() > 1 {
        section.key("origins").problem("\"*\" already covers every other origin", "write it alone, or leave it out");
        return None;
    }
    if any && credentials {
        section.key("credentials").problem(
            "with origins: [\"*\"] every page in the world could act as the user",
            "list the origins, or set credentials: false",
        );
        return None;
    }
    if settings.origins.is_empty() {
        if preflight == Preflight::Forward {
            return Some((None, preflight)); // the upstream says it all
        }
        section.key("origins").problem(
            "missing: no page could be allowed",
            "write for example origins: [\"https://app.example.com\"], or preflight: forward",
        );
        return None;
    }
    let origins = if any { Origins::Any } else { Origins::Listed(origins?) };
    let cors =
        Cors { origins, methods: methods?, headers: headers?, expose_headers: expose_headers?, credentials, max_age };
    Some((Some(cors), preflight))
}

/// An origin exactly as a browser writes it (RFC 6454, section 6.2): they are compared byte for byte.
pub(in crate::config::check) fn origin(text: &str, section: &Section<'_>) -> Option<String> {
    if text == "*" {
        return Some(text.into());
    }
    let canonical = Url::parse(text).ok().map(|url| url.origin()).filter(url::Origin::is_tuple);
    let Some(canonical) = canonical.map(|origin| origin.ascii_serialization()) else {
        section
            .problem(format!("{} is not an origin", section.shown(text)), "write for example https://app.example.com");
        return None;
    };
    if canonical != text {
        section.problem(
            format!("{} is not how a browser writes an origin", section.shown(text)),
            "write scheme, host and port only, in lower case, without the scheme's own port and a slash at the end",
        );
        return None;
    }
    Some(canonical)
}
