//! The signing keys of the local authority: one signs, all of them verify, and all are published.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{
    keys::KeySet,
    mint::{MintError, Signer},
};

/// Shared by everything that signs or verifies; a rotation replaces what is inside.
pub struct SigningKeys {
    inside: ArcSwap<Inside>,
}

struct Inside {
    signer: Signer,
    keys: Arc<KeySet>,
    jwks: Bytes,
}

impl SigningKeys {
    /// One key made on the spot.
    ///
    /// # Errors
    /// If none can be made for `algorithm`.
    pub fn generated(algorithm: Algorithm) -> Result<SigningKeys, MintError> {
        let signer = Signer::generate(algorithm)?;
        let jwks = signer.public_jwks().ok_or(MintError::NotGenerated(algorithm))?;
        let (keys, _) = KeySet::parse(&jwks).map_err(|_| MintError::Crypto)?;
        Ok(SigningKeys { inside: ArcSwap::from_pointee(Inside { signer, keys: Arc::new(keys), jwks }) })
    }

    /// Signs `claims`, complete as they are, as a token of this `typ`.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn sign(&self, token_type: &str, claims: &Map<String, Value>) -> Result<String, MintError> {
        self.inside.load().signer.token(token_type, claims)
    }

    /// What tokens of ours are verified with.
    pub fn keys(&self) -> Arc<KeySet> {
        self.inside.load().keys.clone()
    }

    /// The JWK Set to publish.
    pub fn jwks(&self) -> Bytes {
        self.inside.load().jwks.clone()
    }
}
