//! The form of the tokens that are handed out. What is in them is checked by a MAC before a store is asked.
//!
//! - access: `sga1_` base64url(session id | 128 random bits | 64-bit MAC); the store holds a digest of the random part;
//! - refresh: `sg1.` base64url(session id | generation, varint | 160-bit MAC); nothing of it is stored;
//! - compact refresh: base64url(64 bits of the session id | generation, 16 bits | 136-bit MAC), 36 characters in all, under
//!   a key of its own; every other token of ours has a character or a length that it has not;
//! - code: `sgc1_` like an access token, under a key of its own.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac, rand};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

use super::{
    record::{Session, SessionId},
    ring::{KeyRing, digest16},
};
use crate::model::{RefreshForm, Secret};

/// An opaque token and what the store keeps of it.
pub struct Made {
    pub token: Secret<String>,
    pub digest: [u8; 16],
}

/// What an opaque token says, its MAC being right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opaque {
    pub session: SessionId,
    pub digest: [u8; 16],
}

/// What a refresh token says; its MAC is checked once the family's salt is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    pub session: SessionId,
    pub generation: u64,
    pub form: RefreshForm,
    mac: Vec<u8>,
}

/// What makes the refresh tokens of one session, and knows them.
pub struct Family(hmac::Key);

/// Whether `token` looks like an access token of ours.
pub fn is_access_token(token: &str) -> bool {
    token.starts_with(ACCESS)
}

/// Whether `token` looks like something of ours that is never an access token: a refresh token or a code.
pub fn is_other_token(token: &str) -> bool {
    token.starts_with(REFRESH) || token.starts_with(CODE)
}

/// Whether `token` may be a compact refresh token of ours, by its form: only its session tells. UUIDs, which others like
/// to hand out, have the form as well, but one of ours looks like a UUID once in 2^88.
pub fn may_be_compact(token: &str) -> bool {
    let is_uuid = || {
        token.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
    };
    read_compact(token).is_some() && !is_uuid()
}

impl KeyRing {
    /// # Errors
    /// If there is no randomness.
    pub fn make_access(&self, session: SessionId) -> Result<Made, aws_lc_rs::error::Unspecified> {
        make(ACCESS, session, |content| self.access_mac(content))
    }

    pub fn read_access(&self, token: &str) -> Option<Opaque> {
        read(ACCESS, token, |content, mac| self.is_access_mac(content, mac))
    }

    /// # Errors
    /// If there is no randomness.
    pub fn make_code(&self, session: SessionId) -> Result<Made, aws_lc_rs::error::Unspecified> {
        make(CODE, session, |content| self.code_mac(content))
    }

    pub fn read_code(&self, code: &str) -> Option<Opaque> {
        read(CODE, code, |content, mac| self.is_code_mac(content, mac))
    }

    /// `None` if the ring has lost its master key.
    pub fn family(&self, session: &Session) -> Option<Family> {
        self.refresh_key(session.state.form, session.granted.master_key, &session.granted.salt).map(Family)
    }

    /// [`Family::token`] of the family of `session`.
    pub fn refresh_token(&self, session: &Session, generation: u64) -> Option<Secret<String>> {
        self.family(session)?.token(session, generation)
    }

    /// [`Family::gave`] of the family of `session`.
    pub fn is_refresh_token(&self, presented: &Presented, session: &Session) -> bool {
        self.family(session).is_some_and(|family| family.gave(presented, session))
    }
}

impl Family {
    /// The refresh token of one generation of `session`, whose family it is: the same one, whenever it is computed.
    /// `None` if the form cannot name the generation.
    pub fn token(&self, session: &Session, generation: u64) -> Option<Secret<String>> {
        let form = session.state.form;
        let mac = self.mac(session, generation);
        let mac = mac.as_ref().get(..mac_length(form))?;
        let token = match form {
            RefreshForm::Full => {
                let mut content = session.id.0.to_vec();
                push_varint(&mut content, generation);
                content.extend_from_slice(mac);
                format!("{REFRESH}{}", BASE64URL.encode(content))
            }
            RefreshForm::Compact => {
                let generation = u16::try_from(generation).ok()?;
                BASE64URL.encode([&session.id.family()[..], &generation.to_be_bytes(), mac].concat())
            }
        };
        Some(Secret::new(token))
    }

    /// Whether the MAC of `presented` is right for `session`, whose family it is, and its client.
    pub fn gave(&self, presented: &Presented, session: &Session) -> bool {
        let same = (presented.session, presented.form) == (session.id, session.state.form);
        let mac = self.mac(session, presented.generation);
        let mac = mac.as_ref().get(..mac_length(session.state.form));
        same && mac.is_some_and(|mac| verify_slices_are_equal(mac, &presented.mac).is_ok())
    }

    fn mac(&self, session: &Session, generation: u64) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(b"rt");
        mac.update(&session.id.0);
        mac.update(&generation.to_be_bytes());
        mac.update(session.state.client.as_bytes());
        mac.sign()
    }
}

/// Takes a refresh token apart; `None` if it has not the form of one, in its one spelling.
pub fn read_refresh(token: &str) -> Option<Presented> {
    let Some(encoded) = token.strip_prefix(REFRESH) else { return read_compact(token) };
    let encoded = Some(encoded).filter(|encoded| encoded.len() <= LONGEST_REFRESH)?;
    let content = BASE64URL.decode(encoded).ok()?;
    let (id, rest) = content.split_first_chunk::<16>()?;
    let (generation, mac) = take_varint(rest)?;
    let form = RefreshForm::Full;
    let presented = Presented { session: SessionId(*id), generation, form, mac: mac.to_vec() };
    (mac.len() == mac_length(form)).then_some(presented)
}

/// Takes a compact refresh token apart: its length and alphabet are all that it is known by, and what others hand out
/// (UUIDs above all) may share them. It fills its last character, so it has one spelling.
fn read_compact(token: &str) -> Option<Presented> {
    let mut content = [0; COMPACT];
    // No more is decoded than a token of ours has.
    (token.len() == COMPACT_CHARACTERS).then(|| BASE64URL.decode_slice(token, &mut content).ok())??;
    let (family, rest) = content.split_first_chunk::<8>()?;
    let (generation, mac) = rest.split_first_chunk::<2>()?;
    let generation = u16::from_be_bytes(*generation).into();
    Some(Presented { session: SessionId::compact(*family), generation, form: RefreshForm::Compact, mac: mac.to_vec() })
}

/// Bytes.
fn mac_length(form: RefreshForm) -> usize {
    match form {
        RefreshForm::Full => REFRESH_MAC,
        RefreshForm::Compact => COMPACT - 8 - 2,
    }
}

fn make(
    prefix: &str,
    session: SessionId,
    mac: impl Fn(&[u8]) -> Option<hmac::Tag>,
) -> Result<Made, aws_lc_rs::error::Unspecified> {
    let mut content = [0; 40];
    content[..16].copy_from_slice(&session.0);
    rand::fill(&mut content[16..32])?;
    let tag = mac(&content[..32]).ok_or(aws_lc_rs::error::Unspecified)?;
    content[32..].copy_from_slice(&tag.as_ref()[..OPAQUE_MAC]);
    let digest = digest16(&content[16..32]);
    Ok(Made { token: Secret::new(format!("{prefix}{}", BASE64URL.encode(content))), digest })
}

fn read(prefix: &str, token: &str, is_mac: impl Fn(&[u8], &[u8]) -> bool) -> Option<Opaque> {
    let encoded = token.strip_prefix(prefix)?;
    let mut content = [0; 40];
    // No more is decoded than a token of ours has.
    let length = (encoded.len() == OPAQUE_CHARACTERS).then(|| BASE64URL.decode_slice(encoded, &mut content).ok())?;
    if length != Some(40) || !is_mac(&content[..32], &content[32..]) {
        return None;
    }
    let (id, rest) = content.split_first_chunk::<16>()?;
    Some(Opaque { session: SessionId(*id), digest: digest16(&rest[..16]) })
}

/// LEB128, in its shortest form only; at most 9 bytes, and so 63 bits.
fn push_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let shortest = at == 0 || *byte != 0;
            return shortest.then(|| (value, &bytes[at + 1..]));
        }
    }
    None
}

const ACCESS: &str = "sga1_";
const CODE: &str = "sgc1_";
const REFRESH: &str = "sg1.";
/// Bytes.
const OPAQUE_MAC: usize = 8;
const REFRESH_MAC: usize = 20;
/// A compact refresh token, and the same in base64url.
const COMPACT: usize = 27;
const COMPACT_CHARACTERS: usize = 36;
/// 40 bytes in base64url.
const OPAQUE_CHARACTERS: usize = 54;
/// Id, the longest varint and the MAC in base64url.
const LONGEST_REFRESH: usize = (16 + 9 + REFRESH_MAC) * 4 / 3;

#[cfg(test)]
mod tests;
