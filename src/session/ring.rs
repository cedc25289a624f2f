//! The master keys and what is derived from them, each for one purpose (RFC 5869).

use aws_lc_rs::{aead, digest, hkdf, hmac, rand};

use crate::{
    config::MasterRing,
    model::{BoxError, RefreshForm, Secret},
};

/// Every key that sessions need. The first master key is current; the others open what they once sealed.
pub struct KeyRing {
    keys: Vec<Derived>,
}

struct Derived {
    id: u32,
    master: hkdf::Prk,
    access: hmac::Key,
    code: hmac::Key,
    index: hmac::Key,
    count: hmac::Key,
    seal: aead::LessSafeKey,
    form: aead::LessSafeKey,
}

impl KeyRing {
    /// # Panics
    /// Never for a ring that was checked: it holds at least one key.
    pub fn new(ring: &MasterRing) -> KeyRing {
        KeyRing { keys: ring.0.iter().map(|(id, key)| Derived::new(*id, key)).collect() }
    }

    /// A ring that lives as long as the process.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn ephemeral() -> Result<KeyRing, BoxError> {
        let mut key = [0; 32];
        rand::fill(&mut key).map_err(|_| "no randomness")?;
        Ok(KeyRing { keys: vec![Derived::new(1, &Secret::new(key))] })
    }

    /// The id of the key that new records are made with.
    pub fn current(&self) -> u32 {
        self.keys.first().map_or(0, |key| key.id)
    }

    /// The ids of its keys, the current one first, each with what tells it from another one of the same id.
    pub(super) fn checks(&self) -> impl Iterator<Item = (u32, [u8; 16])> {
        self.keys.iter().map(|key| key.id).zip(self.index(b"which key", ""))
    }

    /// The key of the refresh tokens of one family; `None` if the ring has lost its master key.
    pub(super) fn refresh_key(&self, form: RefreshForm, master: u32, salt: &[u8; 16]) -> Option<hmac::Key> {
        let key = self.keys.iter().find(|key| key.id == master)?;
        let purpose: &[u8] = match form {
            RefreshForm::Full => b"sidegate refresh token v1",
            RefreshForm::Compact => b"sidegate compact refresh token v1",
        };
        let info = [purpose, salt];
        let okm = key.master.expand(&info, hmac::HMAC_SHA256).ok()?;
        Some(hmac::Key::from(okm))
    }

    /// The MAC of an access token's content under the current key.
    pub(super) fn access_mac(&self, content: &[u8]) -> Option<hmac::Tag> {
        self.keys.first().map(|key| hmac::sign(&key.access, content))
    }

    pub(super) fn code_mac(&self, content: &[u8]) -> Option<hmac::Tag> {
        self.keys.first().map(|key| hmac::sign(&key.code, content))
    }

    /// Whether `mac`, a prefix of a tag, is that of `content` under any key of the ring.
    pub(super) fn is_access_mac(&self, content: &[u8], mac: &[u8]) -> bool {
        self.keys.iter().any(|key| is_prefix(&hmac::sign(&key.access, content), mac))
    }

    pub(super) fn is_code_mac(&self, content: &[u8], mac: &[u8]) -> bool {
        self.keys.iter().any(|key| is_prefix(&hmac::sign(&key.code, content), mac))
    }

    /// What stands for a name in the indexes of a store, under each key of the ring, the current one first: a store must
    /// find sessions by user without telling who the users are.
    pub(super) fn index(&self, kind: &[u8], name: &str) -> impl Iterator<Item = [u8; 16]> {
        self.keys.iter().map(move |key| {
            let mut mac = hmac::Context::with_key(&key.index);
            // A kind has no zero, so two pairs are never the same bytes.
            mac.update(kind);
            mac.update(&[0]);
            mac.update(name.as_bytes());
            let mut half = [0; 16];
            half.copy_from_slice(&mac.sign().as_ref()[..16]);
            half
        })
    }

    /// What stands for whose guesses are counted, in every replica. By the oldest key: while a new one is being rolled out,
    /// that is the one that all have.
    pub(super) fn count(&self, parts: &[&[u8]]) -> [u8; 16] {
        let Some(key) = self.keys.iter().min_by_key(|key| key.id) else { return [0; 16] };
        let mut mac = hmac::Context::with_key(&key.count);
        for part in parts {
            // With its length before it, so that no two lists of parts look alike.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut half = [0; 16];
        half.copy_from_slice(&mac.sign().as_ref()[..16]);
        half
    }

    /// Seals `plain` for the place `associated` (record, field and version): key id, nonce, ciphertext and tag.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn seal(&self, plain: &[u8], associated: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal_under(|key| &key.seal, plain, associated)
    }

    /// Opens what [`KeyRing::seal`] made for the same place.
    ///
    /// # Errors
    /// If the key has left the ring, or a bit is not as it was.
    pub fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, SealError> {
        self.open_under(|key| &key.seal, sealed, associated)
    }

    /// As [`KeyRing::seal`], for what travels through browsers: anybody can have as many of these made as they like, and
    /// the nonces of a key are a limited good.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn seal_form(&self, plain: &[u8], purpose: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal_under(|key| &key.form, plain, purpose)
    }

    /// Opens what [`KeyRing::seal_form`] made for the same purpose.
    ///
    /// # Errors
    /// As [`KeyRing::open`].
    pub fn open_form(&self, sealed: &[u8], purpose: &[u8]) -> Result<Vec<u8>, SealError> {
        self.open_under(|key| &key.form, sealed, purpose)
    }

    fn seal_under(
        &self,
        of: impl Fn(&Derived) -> &aead::LessSafeKey,
        plain: &[u8],
        associated: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let key = self.keys.first().ok_or(SealError::Crypto)?;
        let mut nonce = [0; aead::NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Crypto)?;
        let mut body = plain.to_vec();
        let sealing = aead::Nonce::assume_unique_for_key(nonce);
        of(key)
            .seal_in_place_append_tag(sealing, aead::Aad::from(associated), &mut body)
            .map_err(|_| SealError::Crypto)?;
        Ok([&key.id.to_be_bytes()[..], &nonce, &body].concat())
    }

    fn open_under(
        &self,
        of: impl Fn(&Derived) -> &aead::LessSafeKey,
        sealed: &[u8],
        associated: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let (id, rest) = sealed.split_first_chunk::<4>().ok_or(SealError::Crypto)?;
        let (nonce, body) = rest.split_first_chunk::<{ aead::NONCE_LEN }>().ok_or(SealError::Crypto)?;
        let id = u32::from_be_bytes(*id);
        let key = self.keys.iter().find(|key| key.id == id).ok_or(SealError::UnknownKey(id))?;
        let mut body = body.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let plain =
            of(key).open_in_place(nonce, aead::Aad::from(associated), &mut body).map_err(|_| SealError::Crypto)?;
        Ok(plain.to_vec())
    }
}

impl Derived {
    fn new(id: u32, key: &Secret<[u8; 32]>) -> Derived {
        // HKDF-Extract is this HMAC (RFC 5869, section 2.2). The library's own would be taken anew with each expansion, of
        // which a refresh token needs one.
        let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"sidegate"), key.expose());
        let master = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, extracted.as_ref());
        let mac = |info: &'static [u8]| {
            hmac::Key::from(master.expand(&[info], hmac::HMAC_SHA256).expect("HKDF gives 32 bytes"))
        };
        let (access, code) = (mac(b"sidegate access token v1"), mac(b"sidegate authorization code v1"));
        let (index, count) = (mac(b"sidegate index v1"), mac(b"sidegate count v1"));
        let aead = |info: &'static [u8]| {
            let info = [info];
            let key = master.expand(&info, &aead::AES_256_GCM).expect("HKDF gives 32 bytes");
            aead::LessSafeKey::new(aead::UnboundKey::from(key))
        };
        let (seal, form) = (aead(b"sidegate seal v1"), aead(b"sidegate form v1"));
        Derived { id, access, code, index, count, seal, form, master }
    }
}

fn is_prefix(tag: &hmac::Tag, mac: &[u8]) -> bool {
    let tag = tag.as_ref().get(..mac.len());
    tag.is_some_and(|tag| aws_lc_rs::constant_time::verify_slices_are_equal(tag, mac).is_ok())
}

/// Half of a SHA-256: enough against collisions of random values, and all that is stored of one.
pub fn digest16(content: &[u8]) -> [u8; 16] {
    let digest = digest::digest(&digest::SHA256, content);
    let mut half = [0; 16];
    half.copy_from_slice(&digest.as_ref()[..16]);
    half
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("sealed under master key {0}, which is not in the ring")]
    UnknownKey(u32),
    #[error("not sealed by us, or damaged")]
    Crypto,
}
