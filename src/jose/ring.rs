//! The signing keys of the local authority: one signs, all of them verify, and all are published.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use super::{
    keys::KeySet,
    mint::{MintError, Signer},
    rotation::{Plan, Ring, Stage},
};
use crate::model::UnixTime;

/// Shared by everything that signs or verifies; a rotation replaces what is inside.
pub struct SigningKeys {
    inside: ArcSwap<Inside>,
    /// One replacement after the other, so that each key that goes is ended by the one that follows it.
    installing: Mutex<()>,
}

#[derive(Default)]
struct Inside {
    /// `None`: there are no keys yet.
    signer: Option<Signer>,
    keys: Arc<KeySet>,
    jwks: Bytes,
    shown: Vec<Shown>,
}

/// A key as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub kid: String,
    pub algorithm: Algorithm,
    pub made: UnixTime,
    pub stage: Stage,
}

impl SigningKeys {
    /// # Errors
    /// If `ring` has no current key, or one of its documents is no key.
    pub fn new(ring: &Ring) -> Result<SigningKeys, MintError> {
        Ok(SigningKeys { inside: ArcSwap::from_pointee(Inside::of(ring)?), installing: Mutex::default() })
    }

    /// None yet: they come with the first [`SigningKeys::install`].
    pub fn expected() -> SigningKeys {
        SigningKeys { inside: ArcSwap::default(), installing: Mutex::default() }
    }

    pub fn are_there(&self) -> bool {
        self.inside.load().signer.is_some()
    }

    /// One key made on the spot.
    ///
    /// # Errors
    /// If none can be made for `algorithm`.
    pub fn generated(algorithm: Algorithm) -> Result<SigningKeys, MintError> {
        let mut ring = Ring::default();
        ring.advance(&Plan { algorithm, rotate_after: None, publish_ahead: 0 }, UnixTime(0))?;
        SigningKeys::new(&ring)
    }

    /// Takes over `ring`. A key that stays keeps its identity; what a key that is gone has signed is refused at once,
    /// also where it is cached.
    ///
    /// # Errors
    /// As [`SigningKeys::new`]; then everything stays as it is.
    pub fn install(&self, ring: &Ring) -> Result<(), MintError> {
        let mut new = Inside::of(ring)?;
        let _one = self.installing.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = Arc::unwrap_or_clone(new.keys);
        new.keys = Arc::new(keys.replace(&self.inside.load().keys));
        self.inside.store(Arc::new(new));
        Ok(())
    }

    /// Signs `claims`, complete as they are, as a token of this `typ`.
    ///
    /// # Errors
    /// If there are no keys yet, or the cryptographic library fails.
    pub fn sign(&self, token_type: &str, claims: &Map<String, Value>) -> Result<String, MintError> {
        self.inside.load().signer.as_ref().ok_or(MintError::NoCurrentKey)?.token(token_type, claims)
    }

    /// What the current key signs with.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.inside.load().signer.as_ref().map(Signer::algorithm)
    }

    /// What tokens of ours are verified with.
    pub fn keys(&self) -> Arc<KeySet> {
        self.inside.load().keys.clone()
    }

    /// The JWK Set to publish.
    pub fn jwks(&self) -> Bytes {
        self.inside.load().jwks.clone()
    }

    /// For operators.
    pub fn shown(&self) -> Vec<Shown> {
        self.inside.load().shown.clone()
    }
}

impl Inside {
    fn of(ring: &Ring) -> Result<Inside, MintError> {
        let mut current = None;
        let (mut jwks, mut shown) = (Vec::new(), Vec::new());
        for key in &ring.keys {
            let signer = key.signer()?;
            let jwk = signer.public_jwk().ok_or(MintError::NotGenerated(key.algorithm))?;
            let kid = signer.kid().unwrap_or_default().to_owned();
            shown.push(Shown { kid, algorithm: key.algorithm, made: key.made, stage: key.stage });
            if matches!(key.stage, Stage::Current { .. }) {
                current = Some(signer);
                // First in the set: what many readers look at is the first that fits.
                jwks.insert(0, jwk);
            } else {
                jwks.push(jwk);
            }
        }
        let jwks = Bytes::from(json!({ "keys": jwks }).to_string());
        let (keys, _) = KeySet::parse(&jwks).map_err(|_| MintError::Crypto)?;
        let signer = Some(current.ok_or(MintError::NoCurrentKey)?);
        Ok(Inside { signer, keys: Arc::new(keys), jwks, shown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{JwtError, peek, testing::issuer};

    const PLAN: Plan = Plan { algorithm: Algorithm::ES256, rotate_after: None, publish_ahead: 100 };

    fn verify(signing: &SigningKeys, token: &str) -> Result<Arc<super::super::Key>, JwtError> {
        let rules = issuer(crate::config::KeySource::None);
        peek(token).unwrap().verify(&rules, &signing.keys(), crate::jose::testing::NOW).map(|verified| verified.key)
    }

    #[test]
    fn a_token_is_good_as_long_as_its_key_is_there_and_not_a_moment_longer() {
        let mut ring = Ring::default();
        ring.advance(&PLAN, UnixTime(0)).unwrap();
        let signing = SigningKeys::new(&ring).unwrap();
        let claims: Map<String, Value> =
            serde_json::from_str(&crate::jose::testing::claims(serde_json::json!({}))).unwrap();
        let old = signing.sign("at+jwt", &claims).unwrap();
        let old_key = verify(&signing, &old).unwrap();

        // The next key is published before anything is signed with it.
        ring.rotate(&PLAN, false, UnixTime(0)).unwrap();
        signing.install(&ring).unwrap();
        assert_eq!(signing.keys().keys().len(), 2);
        let before = signing.sign("at+jwt", &claims).unwrap();
        assert_eq!(peek(&before).unwrap().kid(), peek(&old).unwrap().kid());

        ring.advance(&PLAN, UnixTime(100)).unwrap();
        signing.install(&ring).unwrap();
        let new = signing.sign("at+jwt", &claims).unwrap();
        assert_ne!(peek(&new).unwrap().kid(), peek(&old).unwrap().kid());
        for token in [&old, &new] {
            assert!(verify(&signing, token).unwrap().liveness().is_alive());
        }
        assert!(Arc::ptr_eq(&verify(&signing, &old).unwrap(), &old_key));

        ring.advance(&PLAN, UnixTime(100 + crate::jose::rotation::KEPT)).unwrap();
        signing.install(&ring).unwrap();
        assert!(!old_key.liveness().is_alive());
        assert_eq!(verify(&signing, &old).unwrap_err(), JwtError::UnknownKey);
        assert!(verify(&signing, &new).is_ok());
    }

    #[test]
    fn keys_that_are_not_there_yet_sign_nothing_until_they_come() {
        let signing = SigningKeys::expected();
        assert_eq!(signing.sign("at+jwt", &Map::new()), Err(MintError::NoCurrentKey));
        assert_eq!((signing.are_there(), signing.keys().keys().len(), signing.algorithm()), (false, 0, None));
        let mut ring = Ring::default();
        ring.advance(&PLAN, UnixTime(0)).unwrap();
        signing.install(&ring).unwrap();
        assert!(signing.are_there() && signing.sign("at+jwt", &Map::new()).is_ok());
    }

    #[test]
    fn a_ring_without_a_current_key_changes_nothing() {
        let signing = SigningKeys::generated(Algorithm::EdDSA).unwrap();
        let before = signing.jwks();
        assert_eq!(signing.install(&Ring::default()), Err(MintError::NoCurrentKey));
        assert_eq!((signing.jwks(), signing.algorithm()), (before, Some(Algorithm::EdDSA)));
    }
}
