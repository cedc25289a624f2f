//! The cookies of the pages: what binds a form to the browser it was opened in, who is remembered there, and what was
//! asked for in a tab whose user is at the authority outside.

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use cookie::{Cookie, SameSite, time};
use http::{HeaderMap, HeaderValue, header};

use crate::model::{UnixTime, cookies as names};

/// Which of the two that a browser has once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Browser,
    Remembered,
}

/// Reads and writes them under the names that fit the issuer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookies {
    pub(super) secure: bool,
}

impl Cookies {
    fn name(self, name: Name) -> &'static str {
        match (name, self.secure) {
            (Name::Browser, true) => names::SECURE_FORM,
            (Name::Browser, false) => names::FORM,
            (Name::Remembered, true) => names::SECURE_USER,
            (Name::Remembered, false) => names::USER,
        }
    }

    pub(super) fn read(self, name: Name, headers: &HeaderMap) -> Option<String> {
        read(self.name(name), headers)
    }

    /// `seconds`: until the browser forgets it; `None`: when it is closed.
    pub(super) fn set(self, name: Name, value: &str, seconds: Option<u64>, headers: &mut HeaderMap) {
        self.write(self.name(name), value, seconds, headers);
    }

    pub(super) fn forget(self, name: Name, headers: &mut HeaderMap) {
        self.set(name, "", Some(0), headers);
    }

    /// What was asked for in `tab`.
    pub(super) fn read_away(self, tab: &str, headers: &HeaderMap) -> Option<String> {
        let value = read(&self.away(tab), headers)?;
        value.split_once('.').map(|(_, sealed)| sealed.to_owned())
    }

    /// Keeps what was asked for in `tab` for so many seconds from `now`, and drops the oldest of other tabs where there
    /// are too many: all of them must fit into the head of a request. `false` if no browser would keep it.
    pub(super) fn send_away(
        self,
        tab: &str,
        sealed: &str,
        (now, seconds): (UnixTime, u64),
        sent: &HeaderMap,
        headers: &mut HeaderMap,
    ) -> bool {
        if sealed.len() > LARGEST_COOKIE {
            return false;
        }
        let mut others = self.others_away(sent);
        // The newest first.
        others.sort_unstable_by_key(|other| std::cmp::Reverse(other.since));
        let mut bytes = sealed.len();
        for (index, other) in others.iter().enumerate() {
            bytes += other.bytes;
            if index + 1 >= MOST_TABS || bytes > MOST_BYTES {
                self.write(&other.name, "", Some(0), headers);
            }
        }
        self.write(&self.away(tab), &format!("{}.{sealed}", now.0), Some(seconds), headers);
        true
    }

    pub(super) fn forget_away(self, tab: &str, headers: &mut HeaderMap) {
        self.write(&self.away(tab), "", Some(0), headers);
    }

    fn away(self, tab: &str) -> String {
        format!("{}{tab}", if self.secure { names::SECURE_AWAY } else { names::AWAY })
    }

    fn others_away(self, headers: &HeaderMap) -> Vec<Tab> {
        let start = self.away("");
        let away = cookies(headers).filter(|cookie| cookie.name().starts_with(&start));
        away.map(|cookie| Tab {
            name: cookie.name().to_owned(),
            // Only a browser that wants to lose its own tabs would write something else.
            since: cookie.value().split_once('.').and_then(|(since, _)| since.parse().ok()).unwrap_or_default(),
            bytes: cookie.value().len(),
        })
        .collect()
    }

    fn write(self, name: &str, value: &str, seconds: Option<u64>, headers: &mut HeaderMap) {
        // Lax, not Strict: the first request comes by a link from the application, and a return from another site.
        let cookie =
            Cookie::build((name, value)).path("/").http_only(true).same_site(SameSite::Lax).secure(self.secure);
        let cookie = match seconds {
            Some(seconds) => cookie.max_age(time::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))),
            None => cookie,
        };
        if let Ok(value) = HeaderValue::from_str(&cookie.build().to_string()) {
            headers.append(header::SET_COOKIE, value);
        }
    }
}

/// The cookie of another tab.
struct Tab {
    name: String,
    since: u64,
    bytes: usize,
}

fn read(name: &str, headers: &HeaderMap) -> Option<String> {
    cookies(headers).find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Cookie<'_>> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(Cookie::split_parse).filter_map(Result::ok)
}

/// A value for [`Name::Browser`]: 128 random bits.
pub(super) fn new_browser() -> Result<String, aws_lc_rs::error::Unspecified> {
    let mut random = [0; 16];
    rand::fill(&mut random)?;
    Ok(BASE64URL.encode(random))
}

/// Whether `value` may be one of ours, so that it need not be replaced.
pub(super) fn is_browser(value: &str) -> bool {
    BASE64URL.decode(value).is_ok_and(|random| random.len() == 16)
}

/// Browsers keep 4096 bytes with name and attributes (RFC 6265, section 6.1).
pub(super) const LARGEST_COOKIE: usize = 3800;
/// Tabs of one browser whose users are at the authority outside.
const MOST_TABS: usize = 6;
/// Of their cookies together: half of what the head of a request may have.
const MOST_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIES: Cookies = Cookies { secure: true };

    fn browser(cookies: &[(&str, u64, usize)]) -> HeaderMap {
        let pairs =
            cookies.iter().map(|(tab, since, bytes)| format!("{}={since}.{}", COOKIES.away(tab), "x".repeat(*bytes)));
        let value = pairs.collect::<Vec<_>>().join("; ");
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(&value).unwrap())])
    }

    fn dropped(sent: &HeaderMap, bytes: usize) -> Vec<String> {
        let mut headers = HeaderMap::new();
        assert!(COOKIES.send_away("new", &"y".repeat(bytes), (UnixTime(100), 900), sent, &mut headers));
        let set: Vec<&str> = headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
        let (last, dropped) = set.split_last().unwrap();
        assert!(last.starts_with("__Host-sidegate-away-new=100.y"), "{last}");
        assert!(last.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=900"), "{last}");
        dropped.iter().map(|cookie| cookie.split('=').next().unwrap().rsplit('-').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_oldest_tabs_are_dropped_when_there_are_too_many() {
        let five = [("a", 5, 10), ("b", 1, 10), ("c", 3, 10), ("d", 2, 10), ("e", 4, 10)];
        assert!(dropped(&browser(&five), 10).is_empty());
        let seven = [&five[..], &[("f", 0, 10), ("g", 9, 10)]].concat();
        assert_eq!(dropped(&browser(&seven), 10), ["b", "f"]);
        assert_eq!(dropped(&browser(&[("a", 5, 3500), ("b", 6, 3500)]), 3500), ["a"], "they are too long together");
    }

    #[test]
    fn a_tab_reads_its_own_cookie_alone() {
        let sent = browser(&[("a", 5, 3), ("b", 1, 4)]);
        assert_eq!(COOKIES.read_away("b", &sent).as_deref(), Some("xxxx"));
        assert_eq!(COOKIES.read_away("c", &sent), None);
        let mut headers = HeaderMap::new();
        assert!(!COOKIES.send_away("n", &"y".repeat(LARGEST_COOKIE + 1), (UnixTime(1), 1), &sent, &mut headers));
        assert!(headers.is_empty());
    }
}
