//! The two cookies of the pages: what binds a form to the browser it was opened in, and who is remembered there.

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use cookie::{Cookie, SameSite, time};
use http::{HeaderMap, HeaderValue, header};

use crate::model::cookies as names;

/// Which of the two.
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
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = values.flat_map(Cookie::split_parse).filter_map(Result::ok);
        cookies.find(|cookie| cookie.name() == self.name(name)).map(|cookie| cookie.value().to_owned())
    }

    /// `seconds`: until the browser forgets it; `None`: when it is closed.
    pub(super) fn set(self, name: Name, value: &str, seconds: Option<u64>, headers: &mut HeaderMap) {
        // Lax, not Strict: the first request comes by a link from the application.
        let cookie = Cookie::build((self.name(name), value))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure);
        let cookie = match seconds {
            Some(seconds) => cookie.max_age(time::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))),
            None => cookie,
        };
        if let Ok(value) = HeaderValue::from_str(&cookie.build().to_string()) {
            headers.append(header::SET_COOKIE, value);
        }
    }

    pub(super) fn forget(self, name: Name, headers: &mut HeaderMap) {
        self.set(name, "", Some(0), headers);
    }
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
