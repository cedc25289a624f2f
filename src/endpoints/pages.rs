//! Sign-in, consent and error pages; the only HTML.
//!
//! A theme is a folder of templates (`pages.theme`): a file of the same name takes the place of a built-in one. All of
//! them see `t` (the texts of the language), `brand` (`pages.title`), `style` (the content of `style.css`, which must
//! stand as it is between `<style>` and `</style>`: its digest is what the Content-Security-Policy allows) and
//! `request_id`. Beside them:
//!
//! - `sign-in.html`: `action`, `form`, `client`, `username`, `problem`, `remember`;
//! - `consent.html`: `action`, `form`, `client`, `user`, `scopes`, `host`;
//! - `expired.html`: `again`, the link that starts anew;
//! - `error.html`: `heading`, `texts`.

pub mod language;
#[cfg(test)]
mod tests;
pub mod texts;
mod theme;

use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use minijinja::value::Serde;
use serde::Serialize;

pub use self::theme::ThemeError;
use self::{texts::Texts, theme::Theme};
use crate::model::Context;

/// The pages of one generation of the configuration.
pub struct Pages {
    theme: Theme,
}

/// A page with a form: where it is sent, and the sealed value that goes with it.
#[derive(Debug, Clone, Serialize)]
pub struct SignIn<'a> {
    pub action: &'a str,
    pub form: &'a str,
    pub client: &'a str,
    /// What the field for the name begins with.
    pub username: &'a str,
    /// What was wrong with the attempt before.
    pub problem: Option<String>,
    /// Whether the user may be remembered.
    pub remember: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Consent<'a> {
    pub action: &'a str,
    pub form: &'a str,
    pub client: &'a str,
    pub user: &'a str,
    pub scopes: Vec<&'a str>,
    /// Where the answer goes.
    pub host: &'a str,
}

#[derive(Debug, Clone, Serialize)]
struct Expired<'a> {
    again: &'a str,
}

#[derive(Debug, Clone, Serialize)]
struct Notice<'a> {
    heading: &'a str,
    texts: Vec<&'a str>,
}

/// What a template sees.
#[derive(Serialize)]
struct View<'a, P> {
    t: &'a Texts,
    request_id: &'a str,
    #[serde(flatten)]
    page: P,
}

/// Who reads the page, and in what language.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub texts: &'static Texts,
    pub cx: &'a Context,
}

impl Pages {
    /// # Errors
    /// If a template or the style of the theme is not good.
    pub fn new(theme: Option<&Path>, brand: &str) -> Result<Pages, ThemeError> {
        let pages = Pages { theme: Theme::load(theme, brand)? };
        if let Some(folder) = theme {
            pages.rehearse(folder)?;
        }
        Ok(pages)
    }

    /// Every page once, so that a template that cannot be filled in is found before a user finds it.
    fn rehearse(&self, folder: &Path) -> Result<(), ThemeError> {
        let sign_in = SignIn { action: "", form: "", client: "", username: "", problem: None, remember: false };
        let told = SignIn { username: "x", problem: Some(String::new()), remember: true, ..sign_in.clone() };
        let consent = Consent { action: "", form: "", client: "", user: "", scopes: vec![""], host: "" };
        let notice = Notice { heading: "", texts: vec![""] };
        for texts in texts::ALL {
            for page in [
                self.render("sign-in.html", texts, "", &sign_in),
                self.render("sign-in.html", texts, "", &told),
                self.render("consent.html", texts, "", &consent),
                self.render("consent.html", texts, "", &Consent { scopes: Vec::new(), ..consent.clone() }),
                self.render("expired.html", texts, "", &Expired { again: "" }),
                self.render("error.html", texts, "", &notice),
            ] {
                page.map_err(|error| theme::broken(folder, &error))?;
            }
        }
        Ok(())
    }

    /// `target`: what the form's answer is redirected to in the end.
    pub fn sign_in(&self, page: &SignIn<'_>, target: &str, reader: Reader<'_>) -> Response<Bytes> {
        self.page("sign-in.html", StatusCode::OK, Some(target), reader, page)
    }

    pub fn consent(&self, page: &Consent<'_>, target: &str, reader: Reader<'_>) -> Response<Bytes> {
        self.page("consent.html", StatusCode::OK, Some(target), reader, page)
    }

    /// `again`: a link of our own that starts anew.
    pub fn expired(&self, again: &str, reader: Reader<'_>) -> Response<Bytes> {
        self.page("expired.html", StatusCode::BAD_REQUEST, None, reader, Expired { again })
    }

    /// A page without a form.
    pub fn notice(&self, status: StatusCode, heading: &str, texts: &[&str], reader: Reader<'_>) -> Response<Bytes> {
        self.page("error.html", status, None, reader, Notice { heading, texts: texts.to_vec() })
    }

    fn page(
        &self,
        template: &str,
        status: StatusCode,
        target: Option<&str>,
        reader: Reader<'_>,
        page: impl Serialize,
    ) -> Response<Bytes> {
        let (status, html) = match self.render(template, reader.texts, reader.cx.id.as_str(), page) {
            Ok(html) => (status, html),
            Err(error) => {
                // Only a theme comes here, with what its rehearsal did not meet.
                tracing::error!(%error, template, "a page cannot be filled in");
                (StatusCode::INTERNAL_SERVER_ERROR, "<!doctype html><title>500</title><h1>500</h1>".to_owned())
            }
        };
        let mut response = Response::new(Bytes::from(html));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        guard(headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(reader.texts.lang));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        if let Ok(policy) = HeaderValue::from_str(&self.policy(target)) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    fn render(
        &self,
        template: &str,
        texts: &Texts,
        request_id: &str,
        page: impl Serialize,
    ) -> Result<String, minijinja::Error> {
        self.theme.templates.get_template(template)?.render(Serde(View { t: texts, request_id, page }))
    }

    fn policy(&self, target: Option<&str>) -> String {
        let form_action = target.map_or_else(|| "'none'".to_owned(), |target| format!("'self'{}", sources(target)));
        format!(
            "default-src 'none'; style-src {}; img-src data:; form-action {form_action}; frame-ancestors 'none'; \
             base-uri 'none'",
            self.theme.style_source
        )
    }
}

/// What every answer of the authorization endpoint carries, pages and redirects.
pub fn guard(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ROBOTS, HeaderValue::from_static("noindex"));
}

/// Chromium holds `form-action` also against where the answer to a form redirects, and against every further redirect
/// on the way. The application may well send its users on to another origin of its own, so what is allowed is the
/// scheme of the redirect URI, and https.
fn sources(target: &str) -> String {
    let scheme = target.split(':').next().unwrap_or_default().to_ascii_lowercase();
    match scheme.as_str() {
        "https" => " https:".to_owned(),
        other => format!(" https: {other}:"),
    }
}

const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");
