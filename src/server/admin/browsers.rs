//! Browsers that are signed in: kept in memory for a short while, under a random value that is no token of operators.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{error::Unspecified, rand};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header, uri::Authority};

use crate::model::{Secret, UnixTime};

/// Those who are signed in. It outlives a reload, which may change the token and so sign everybody out.
#[derive(Default)]
pub(super) struct Browsers(Mutex<Vec<Browser>>);

struct Browser {
    id: Secret<String>,
    /// What its forms carry: no other site knows it.
    form: Secret<String>,
    /// The token that it signed in with.
    token: Secret<String>,
    idle_until: UnixTime,
    until: UnixTime,
    /// What the next page tells.
    notice: Option<String>,
}

impl Browsers {
    /// Signs a browser in that has shown `token`, and returns the cookie for it.
    pub(super) fn sign_in(
        &self,
        token: &Secret<String>,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<HeaderValue, Unspecified> {
        let (id, form) = (random()?, random()?);
        let cookie = cookie(headers, id.expose(), None)?;
        let mut browsers = self.browsers(now);
        if browsers.len() >= MOST {
            browsers.remove(0);
        }
        let (idle_until, until) = (now.plus(IDLE), now.plus(LONGEST));
        browsers.push(Browser { id, form, token: token.clone(), idle_until, until, notice: None });
        Ok(cookie)
    }

    /// The value that the forms of the browser carry, if it is signed in with the `token` of today.
    pub(super) fn find(
        &self,
        token: Option<&Secret<String>>,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Option<Secret<String>> {
        let (token, shown) = (token?, shown(headers)?);
        let mut browsers = self.browsers(now);
        let browser = browsers.iter_mut().find(|browser| browser.id == shown && browser.token == *token)?;
        browser.idle_until = now.plus(IDLE);
        Some(browser.form.clone())
    }

    /// What the page that this browser opens next begins with.
    pub(super) fn tell(&self, headers: &HeaderMap, notice: String, now: UnixTime) {
        let Some(shown) = shown(headers) else { return };
        if let Some(browser) = self.browsers(now).iter_mut().find(|browser| browser.id == shown) {
            browser.notice = Some(notice);
        }
    }

    pub(super) fn take_notice(&self, headers: &HeaderMap, now: UnixTime) -> Option<String> {
        let shown = shown(headers)?;
        self.browsers(now).iter_mut().find(|browser| browser.id == shown)?.notice.take()
    }

    /// Signs the browser out, and returns what makes it forget its cookie.
    pub(super) fn sign_out(&self, headers: &HeaderMap, now: UnixTime) -> Result<HeaderValue, Unspecified> {
        if let Some(shown) = shown(headers) {
            self.browsers(now).retain(|browser| browser.id != shown);
        }
        cookie(headers, "", Some(0))
    }

    fn browsers(&self, now: UnixTime) -> MutexGuard<'_, Vec<Browser>> {
        let mut browsers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        browsers.retain(|browser| now < browser.idle_until && now < browser.until);
        browsers
    }
}

/// Whether a form was sent by a page of this listener: browsers say where a POST comes from, and no script of another site
/// can say otherwise.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text(&header::HOST) else { return false };
    match text(&header::ORIGIN) {
        Some(origin) => origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)),
        None => headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin"),
    }
}

/// Whether `host` is this machine itself.
pub(super) fn is_local(host: Option<&HeaderValue>) -> bool {
    let Some(authority) = authority(host) else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn authority(host: Option<&HeaderValue>) -> Option<Authority> {
    host?.to_str().ok()?.parse().ok()
}

/// `seconds`: until the browser forgets it; `None`: when it is closed.
fn cookie(headers: &HeaderMap, value: &str, seconds: Option<i64>) -> Result<HeaderValue, Unspecified> {
    // Bound to the pages that need it: what listens on another port of this machine is sent it, too.
    let cookie = Cookie::build((name(headers), value)).path(PATH).http_only(true).same_site(SameSite::Strict);
    let cookie = match seconds {
        Some(seconds) => cookie.max_age(cookie::time::Duration::seconds(seconds)),
        None => cookie,
    };
    let mut value = HeaderValue::from_str(&cookie.build().to_string()).map_err(|_| Unspecified)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Browsers keep one cookie of a name for all ports of a machine, and several sidegates may run there.
fn name(headers: &HeaderMap) -> String {
    let port = authority(headers.get(header::HOST)).and_then(|authority| authority.port_u16());
    format!("sidegate-admin-{}", port.unwrap_or(80))
}

fn shown(headers: &HeaderMap) -> Option<Secret<String>> {
    let name = name(headers);
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = values.flat_map(Cookie::split_parse).filter_map(Result::ok);
    cookies.find(|cookie| cookie.name() == name).map(|cookie| Secret::new(cookie.value().to_owned()))
}

/// 256 random bits.
fn random() -> Result<Secret<String>, Unspecified> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(Secret::new(BASE64URL.encode(bytes)))
}

/// What needs a browser to be signed in.
pub(super) const PATH: &str = "/sessions";
/// Browsers at once; the oldest one gives way.
const MOST: usize = 32;
/// Seconds without a request, and altogether.
const IDLE: u64 = 15 * 60;
const LONGEST: u64 = 2 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let value = |value: &str| HeaderValue::from_str(value).unwrap();
        pairs.iter().map(|(name, text)| (header::HeaderName::from_static(name), value(text))).collect()
    }

    fn token(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn signed_in(browsers: &Browsers, at: UnixTime) -> HeaderMap {
        let cookie = browsers.sign_in(&token("right"), &headers(&[("host", "localhost:9902")]), at).unwrap();
        let cookie = cookie.to_str().unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/sessions");
        assert!(pair.starts_with("sidegate-admin-9902=") && !pair.contains("right"), "{pair}");
        headers(&[("host", "localhost:9902"), ("cookie", pair)])
    }

    #[test]
    fn a_browser_is_signed_in_for_a_while_and_by_the_token_of_today() {
        let browsers = Browsers::default();
        let of_browser = signed_in(&browsers, NOW);
        let find = |given: &str, at| browsers.find(Some(&token(given)), &of_browser, at).is_some();
        assert!(find("right", NOW.plus(IDLE - 1)) && find("right", NOW.plus(2 * IDLE - 2)), "each request prolongs it");
        assert!(!find("another", NOW.plus(IDLE)) && browsers.find(None, &of_browser, NOW).is_none());
        assert!(!find("right", NOW.plus(4 * IDLE)), "it was idle for too long");

        let of_browser = signed_in(&browsers, NOW);
        let find = |at| browsers.find(Some(&token("right")), &of_browser, at).is_some();
        assert!((0..LONGEST).step_by(60).all(|second| find(NOW.plus(second))) && !find(NOW.plus(LONGEST)));

        let of_browser = signed_in(&browsers, NOW);
        let forgets = browsers.sign_out(&of_browser, NOW).unwrap();
        assert!(forgets.to_str().unwrap().ends_with("Max-Age=0"), "{forgets:?}");
        assert!(browsers.find(Some(&token("right")), &of_browser, NOW).is_none());
    }

    #[test]
    fn the_oldest_of_too_many_browsers_gives_way() {
        let browsers = Browsers::default();
        let first = signed_in(&browsers, NOW);
        let others: Vec<_> = (0..MOST).map(|_| signed_in(&browsers, NOW)).collect();
        assert!(browsers.find(Some(&token("right")), &first, NOW).is_none());
        assert!(others.iter().all(|other| browsers.find(Some(&token("right")), other, NOW).is_some()));
    }

    #[test]
    fn forms_of_other_sites_are_told_apart() {
        let host = ("host", "localhost:9902");
        for (from, expected) in [
            (vec![("origin", "http://localhost:9902")], true),
            (vec![("origin", "http://LOCALHOST:9902")], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("origin", "http://localhost:9903")], false),
            (vec![("origin", "http://localhost")], false),
            (vec![("origin", "null"), ("sec-fetch-site", "same-origin")], false),
            (vec![("origin", "https://evil.test")], false),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![], false),
        ] {
            assert_eq!(is_from_here(&headers(&[&[host], &from[..]].concat())), expected, "{from:?}");
        }
        assert!(!is_from_here(&headers(&[("origin", "http://localhost:9902")])));
    }
}
