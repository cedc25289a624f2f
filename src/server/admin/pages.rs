//! What people see: templates, one style, and a policy that allows nothing else.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use minijinja::{Environment, Value, value::Serde};
use serde::Serialize;

use super::answer::{of, text};
use crate::model::{
    UnixTime,
    words::{grouped, span, stamp},
};

/// Everything from the configuration and from sessions is escaped: the names end in `.html`.
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    for (name, source) in FILES {
        templates.add_template(name, source).expect("each template is rendered by a test");
    }
    templates.add_global("style", Value::from_safe_string(STYLE.to_owned()));
    templates.add_filter("grouped", grouped);
    templates.add_filter("span", span);
    templates.add_filter("bytes", bytes);
    templates.add_filter("moment", moment);
    templates.add_filter("date", |seconds: u64| moment(&stamp(UnixTime(seconds))));
    templates.add_filter("plain", plain);
    templates
});

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 may stand in a header")
});

/// The page `name`, filled in with `page`.
pub(super) fn page(status: StatusCode, name: &str, page: &impl Serialize) -> Response<Full<Bytes>> {
    let html = match TEMPLATES.get_template(name).and_then(|template| template.render(Serde(page))) {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, name, "a page for operators could not be written");
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written; ask for JSON\n");
        }
    };
    let mut response = of(status, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    // A form of a page that sends no referrer says nothing of where it comes from.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// After a form: the answer to a GET.
pub(super) fn see(place: &str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::SEE_OTHER, "see there\n");
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

fn bytes(count: u64) -> String {
    bytesize::ByteSize::b(count).to_string()
}

/// `2026-11-22T14:03:22Z` as `2026-11-22 14:03:22 UTC`.
fn moment(stamp: &str) -> String {
    stamp.replace('T', " ").replace('Z', " UTC")
}

/// What somebody typed must not turn the direction of a page, nor hide in it.
fn plain(text: &str) -> String {
    let unseen = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if unseen(c) { '\u{fffd}' } else { c }).collect()
}

const STYLE: &str = include_str!("pages/style.css");
const FILES: [(&str, &str); 5] = [
    ("base.html", include_str!("pages/base.html")),
    ("status.html", include_str!("pages/status.html")),
    ("sign-in.html", include_str!("pages/sign-in.html")),
    ("sessions.html", include_str!("pages/sessions.html")),
    ("session.html", include_str!("pages/session.html")),
];
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_ends_where_it_should_and_texts_hide_nothing() {
        assert!(!STYLE.contains("</") && TEMPLATES.get_template("status.html").is_ok());
        assert_eq!(plain("a\u{202e}b\n"), "a\u{fffd}b\u{fffd}");
        assert_eq!(
            (bytes(1024 * 1024), moment("2026-11-22T14:03:22Z")),
            ("1.0 MiB".into(), "2026-11-22 14:03:22 UTC".into())
        );
    }
}
