//! What goes through the browser and comes back sealed: the pending request in a form or in the cookie of a tab, and a
//! remembered sign-in.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    grants::authorize::{Away, SignedIn},
    model::UnixTime,
    session::ring::{KeyRing, SealError, digest16},
};

/// A request on its way through the pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Form {
    /// The request as it came; checked anew at each step.
    pub(super) request: String,
    pub(super) expires: UnixTime,
    /// Digest of the cookie of the browser that it was made for.
    pub(super) browser: [u8; 16],
    /// On the consent page: who signed in.
    pub(super) user: Option<SignedIn>,
}

/// A request whose user is at the authority outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trip {
    /// The request as it came; checked anew at the return.
    pub(super) request: String,
    pub(super) expires: UnixTime,
    pub(super) away: Away,
}

/// Who is remembered in a browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) user: SignedIn,
    pub(super) expires: UnixTime,
}

impl Form {
    pub(super) fn is_of(&self, browser: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.browser, &digest16(browser.as_bytes())).is_ok()
    }

    pub(super) fn seal(&self, ring: &KeyRing) -> Result<String, SealError> {
        seal(self, FORM, ring)
    }

    pub(super) fn open(sealed: &str, ring: &KeyRing) -> Option<Form> {
        open(sealed, FORM, ring)
    }
}

impl Trip {
    /// Only `state` opens it again: it is part of what is sealed for.
    pub(super) fn seal(&self, state: &str, ring: &KeyRing) -> Result<String, SealError> {
        seal(self, &[TRIP, state.as_bytes()].concat(), ring)
    }

    pub(super) fn open(sealed: &str, state: &str, ring: &KeyRing) -> Option<Trip> {
        open(sealed, &[TRIP, state.as_bytes()].concat(), ring)
    }
}

impl Remembered {
    pub(super) fn seal(&self, ring: &KeyRing) -> Result<String, SealError> {
        seal(self, REMEMBERED, ring)
    }

    /// `None` also once it is over.
    pub(super) fn open(sealed: &str, ring: &KeyRing, now: UnixTime) -> Option<Remembered> {
        open(sealed, REMEMBERED, ring).filter(|remembered: &Remembered| now < remembered.expires)
    }
}

fn seal(content: &impl Serialize, purpose: &[u8], ring: &KeyRing) -> Result<String, SealError> {
    let plain = serde_json::to_vec(content).map_err(|_| SealError::Crypto)?;
    Ok(BASE64URL.encode(ring.seal_form(&plain, purpose)?))
}

fn open<T: DeserializeOwned>(sealed: &str, purpose: &[u8], ring: &KeyRing) -> Option<T> {
    let plain = ring.open_form(&BASE64URL.decode(sealed).ok()?, purpose).ok()?;
    serde_json::from_slice(&plain).ok()
}

/// What is sealed for one purpose cannot be opened for another.
const FORM: &[u8] = b"sidegate authorization form v1";
const TRIP: &[u8] = b"sidegate authorization trip v1 ";
const REMEMBERED: &[u8] = b"sidegate remembered user v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form {
        let request = "client_id=app&state=x".to_owned();
        Form { request, expires: UnixTime(100), browser: digest16(b"browser"), user: None }
    }

    #[test]
    fn a_form_comes_back_as_it_went_out_and_only_as_a_form() {
        let ring = KeyRing::ephemeral().unwrap();
        let sealed = form().seal(&ring).unwrap();
        assert_eq!(Form::open(&sealed, &ring), Some(form()));
        assert!(form().is_of("browser") && !form().is_of("another"));
        assert_eq!(Form::open(&sealed, &KeyRing::ephemeral().unwrap()), None);
        assert_eq!(Remembered::open(&sealed, &ring, UnixTime(0)), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(Form::open(std::str::from_utf8(&changed).unwrap(), &ring), None, "{at}");
        }
        assert_eq!(Form::open("", &ring), None);
    }
}
