//! The form of the tokens that are handed out. What is in them is checked by a MAC before a store is asked.
//!
//! - access: `sga1_` base64url(session id | 128 random bits | 64-bit MAC); the store holds a digest of the random part;
//! - refresh: `sg1.` base64url(session id | generation, varint | 160-bit MAC); nothing of it is stored;
//! - code: `sgc1_` like an access token, under a key of its own.

use aws_lc_rs::{hmac, rand};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

use super::{
    record::{Granted, SessionId},
    ring::{KeyRing, digest16},
};
use crate::model::Secret;

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
    mac: [u8; REFRESH_MAC],
}

/// Whether `token` looks like an access token of ours.
pub fn is_access_token(token: &str) -> bool {
    token.starts_with(ACCESS)
}

/// Whether `token` looks like something of ours that is never an access token: a refresh token or a code.
pub fn is_other_token(token: &str) -> bool {
    token.starts_with(REFRESH) || token.starts_with(CODE)
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

    /// The refresh token of one generation: the same one, whenever it is computed. `None` if the ring has lost the
    /// family's master key.
    pub fn refresh_token(
        &self,
        session: SessionId,
        generation: u64,
        client: &str,
        granted: &Granted,
    ) -> Option<Secret<String>> {
        let mut content = session.0.to_vec();
        push_varint(&mut content, generation);
        let mac = self.refresh_mac(session, generation, client, granted)?;
        content.extend_from_slice(&mac.as_ref()[..REFRESH_MAC]);
        Some(Secret::new(format!("{REFRESH}{}", BASE64URL.encode(content))))
    }

    /// Whether the MAC of `presented` is right for `client` and the family that `granted` belongs to.
    pub fn is_refresh_token(&self, presented: &Presented, client: &str, granted: &Granted) -> bool {
        let mac = self.refresh_mac(presented.session, presented.generation, client, granted);
        mac.is_some_and(|mac| {
            aws_lc_rs::constant_time::verify_slices_are_equal(&mac.as_ref()[..REFRESH_MAC], &presented.mac).is_ok()
        })
    }

    fn refresh_mac(&self, session: SessionId, generation: u64, client: &str, granted: &Granted) -> Option<hmac::Tag> {
        let key = self.refresh_key(granted.master_key, &granted.salt)?;
        let mut mac = hmac::Context::with_key(&key);
        mac.update(b"rt");
        mac.update(&session.0);
        mac.update(&generation.to_be_bytes());
        mac.update(client.as_bytes());
        Some(mac.sign())
    }
}

/// Takes a refresh token apart; `None` if it has not the form of one, in its one spelling.
pub fn read_refresh(token: &str) -> Option<Presented> {
    let encoded = token.strip_prefix(REFRESH).filter(|encoded| encoded.len() <= LONGEST_REFRESH)?;
    let content = BASE64URL.decode(encoded).ok()?;
    let (id, rest) = content.split_first_chunk::<16>()?;
    let (generation, rest) = take_varint(rest)?;
    Some(Presented { session: SessionId(*id), generation, mac: rest.try_into().ok()? })
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
/// 40 bytes in base64url.
const OPAQUE_CHARACTERS: usize = 54;
/// Id, the longest varint and the MAC in base64url.
const LONGEST_REFRESH: usize = (16 + 9 + REFRESH_MAC) * 4 / 3;

#[cfg(test)]
mod tests;
