//! The internal JWT: what the upstream receives in place of the client's token.

use std::time::Duration;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    hmac,
    rand::{self, SystemRandom},
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use bytes::Bytes;
use jsonwebtoken::Algorithm;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json};

use super::material::{Curve, Material};
use crate::{
    config::{InternalJwt, InternalKey},
    model::{Secret, UnixTime},
};

/// Signs internal JWTs. The key is parsed once: jsonwebtoken would parse it again for each signature.
pub struct Minter {
    issuer: String,
    lifetime: Duration,
    signer: Signer,
    /// The encoded header and the dot behind it; the same for every token.
    header: String,
    public: Option<Bytes>,
}

/// A token as it is put behind `Bearer `, and its end.
#[derive(Clone)]
pub struct Minted {
    pub token: String,
    pub expires: UnixTime,
}

/// Why there is no signer, or no signature. Holds nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    #[error("the key is not PKCS#8 PEM")]
    NotPem,
    #[error("the key is not for {0:?}")]
    WrongKey(Algorithm),
    #[error("internal tokens are signed with ES256, RS256, EdDSA or HS256, not with {0:?}")]
    Algorithm(Algorithm),
    #[error("a key for {0:?} cannot be made here")]
    NotGenerated(Algorithm),
    #[error("there is no current key")]
    NoCurrentKey,
    #[error("the ring holds as many keys as it may; each leaves it 25 hours after it last signed")]
    RingFull,
    #[error("the cryptographic library failed")]
    Crypto,
}

/// A key that signs, and the one algorithm it signs with.
pub(super) struct Signer {
    algorithm: Algorithm,
    pair: Pair,
    kid: Option<String>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
}

impl Minter {
    /// Reads the configured key or makes one. Making an RSA key takes a noticeable part of a second.
    ///
    /// # Errors
    /// If the key does not fit the algorithm.
    pub fn new(config: &InternalJwt) -> Result<Minter, MintError> {
        Minter::with_type(config, TOKEN_TYPE)
    }

    /// As [`Minter::new`], for tokens of another `typ`.
    ///
    /// # Errors
    /// If the key does not fit the algorithm.
    pub fn with_type(config: &InternalJwt, token_type: &str) -> Result<Minter, MintError> {
        let signer = Signer::new(config.algorithm, &config.key)?;
        let header = signer.header(token_type);
        let public = signer.public_jwks();
        Ok(Minter { issuer: config.issuer.clone(), lifetime: config.lifetime, signer, header, public })
    }

    /// Signs a token for one upstream. It lives for the configured time, but never beyond `limit`, the end of what it
    /// rests on. Claims of the mint's own (`iss`, `aud`, `exp`, `nbf`, `iat`, `jti`) take the place of those in `claims`.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn mint(
        &self,
        audience: &str,
        claims: &Map<String, Value>,
        now: UnixTime,
        limit: UnixTime,
    ) -> Result<Minted, MintError> {
        let expires = now.plus(self.lifetime.as_secs()).min(limit);
        let mut jti = [0; 16];
        rand::fill(&mut jti).map_err(|_| MintError::Crypto)?;
        let payload = Payload { issuer: &self.issuer, audience, claims, now, expires, jti: BASE64URL.encode(jti) };
        let payload = serde_json::to_vec(&payload).map_err(|_| MintError::Crypto)?;
        Ok(Minted { token: self.signer.compact(&self.header, &payload)?, expires })
    }

    /// The JWK Set that upstreams verify with; none for a shared secret.
    pub fn public_jwks(&self) -> Option<&Bytes> {
        self.public.as_ref()
    }
}

impl Signer {
    fn new(algorithm: Algorithm, key: &InternalKey) -> Result<Signer, MintError> {
        Ok(Signer::of(algorithm, Pair::new(algorithm, key)?))
    }

    /// A new key for `algorithm`, as a PKCS#8 document.
    pub(super) fn generate(algorithm: Algorithm) -> Result<Secret<Vec<u8>>, MintError> {
        Pair::generate(algorithm)?.document()
    }

    /// From a PKCS#8 document.
    pub(super) fn read(algorithm: Algorithm, document: &[u8]) -> Result<Signer, MintError> {
        Ok(Signer::of(algorithm, Pair::read(algorithm, document)?))
    }

    fn of(algorithm: Algorithm, pair: Pair) -> Signer {
        let kid = pair.public().map(|material| BASE64URL.encode(material.thumbprint()));
        Signer { algorithm, pair, kid }
    }

    /// The same under a name that somebody else has given it.
    pub(super) fn named(self, kid: String) -> Signer {
        Signer { kid: Some(kid), ..self }
    }

    /// RFC 7638; none for a shared secret.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The JWK Set with the public half; none for a shared secret.
    fn public_jwks(&self) -> Option<Bytes> {
        self.public_jwk().map(|jwk| Bytes::from(json!({"keys": [jwk]}).to_string()))
    }

    pub(super) fn public_jwk(&self) -> Option<Value> {
        let mut jwk = self.pair.public()?.members();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm);
        Some(jwk)
    }

    /// The encoded header and the dot behind it.
    fn header(&self, token_type: &str) -> String {
        let mut header = json!({"alg": self.algorithm, "typ": token_type});
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        BASE64URL.encode(header.to_string()) + "."
    }

    /// A whole token with exactly these claims.
    pub(super) fn token(&self, token_type: &str, claims: &Map<String, Value>) -> Result<String, MintError> {
        let payload = serde_json::to_vec(claims).map_err(|_| MintError::Crypto)?;
        self.compact(&self.header(token_type), &payload)
    }

    fn compact(&self, header: &str, payload: &[u8]) -> Result<String, MintError> {
        let mut token = String::with_capacity(header.len() + payload.len() * 4 / 3 + 400);
        token.push_str(header);
        BASE64URL.encode_string(payload, &mut token);
        let signature = self.pair.sign(token.as_bytes())?;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl Pair {
    fn new(algorithm: Algorithm, key: &InternalKey) -> Result<Pair, MintError> {
        match (algorithm, key) {
            (Algorithm::HS256, InternalKey::Given(secret)) => {
                Ok(Pair::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret.expose()))))
            }
            (Algorithm::HS256, InternalKey::Generate) => Err(MintError::NotGenerated(algorithm)),
            (_, InternalKey::Generate) => Pair::generate(algorithm),
            (_, InternalKey::Given(pem)) => Pair::read(algorithm, pkcs8(pem.expose())?.secret_pkcs8_der()),
        }
    }

    fn generate(algorithm: Algorithm) -> Result<Pair, MintError> {
        match algorithm {
            Algorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Ecdsa),
            Algorithm::RS256 => RsaKeyPair::generate(KeySize::Rsa2048).map(Pair::Rsa),
            Algorithm::EdDSA => Ed25519KeyPair::generate().map(Pair::Ed25519),
            other => return Err(MintError::Algorithm(other)),
        }
        .map_err(|_| MintError::Crypto)
    }

    /// From a PKCS#8 document.
    fn read(algorithm: Algorithm, document: &[u8]) -> Result<Pair, MintError> {
        match algorithm {
            Algorithm::ES256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document).map(Pair::Ecdsa),
            Algorithm::RS256 => RsaKeyPair::from_pkcs8(document).map(Pair::Rsa),
            // A v1 document has no public half to compare with, and is what openssl writes.
            Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8_maybe_unchecked(document).map(Pair::Ed25519),
            other => return Err(MintError::Algorithm(other)),
        }
        .map_err(|_| MintError::WrongKey(algorithm))
    }

    /// The PKCS#8 document (RFC 5958) that [`Pair::read`] reads.
    fn document(&self) -> Result<Secret<Vec<u8>>, MintError> {
        let crypto = |_| MintError::Crypto;
        match self {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()).map_err(crypto),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()).map_err(crypto),
            Pair::Rsa(pair) => {
                AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|document| document.as_ref().to_vec()).map_err(crypto)
            }
            Pair::Hmac(_) => Err(MintError::Algorithm(Algorithm::HS256)),
        }
        .map(Secret::new)
    }

    fn public(&self) -> Option<Material> {
        match self {
            Pair::Ecdsa(pair) => Some(Material::Ec { curve: Curve::P256, point: pair.public_key().as_ref().to_vec() }),
            Pair::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                Some(Material::Rsa { n, e })
            }
            Pair::Ed25519(pair) => Some(Material::Ed25519 { x: pair.public_key().as_ref().to_vec() }),
            Pair::Hmac(_) => None,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        let random = SystemRandom::new();
        match self {
            Pair::Ecdsa(pair) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
            Pair::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            Pair::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
        .map_err(|_| MintError::Crypto)
    }
}

/// The PKCS#8 document in a PEM file.
pub(super) fn pkcs8(pem: &[u8]) -> Result<PrivatePkcs8KeyDer<'static>, MintError> {
    PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| MintError::NotPem)
}

struct Payload<'a> {
    issuer: &'a str,
    audience: &'a str,
    claims: &'a Map<String, Value>,
    now: UnixTime,
    expires: UnixTime,
    jti: String,
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut payload = serializer.serialize_map(None)?;
        payload.serialize_entry("iss", self.issuer)?;
        payload.serialize_entry("aud", self.audience)?;
        payload.serialize_entry("exp", &self.expires.0)?;
        payload.serialize_entry("iat", &self.now.0)?;
        // For upstreams whose clock is a little behind.
        payload.serialize_entry("nbf", &self.now.minus(BACKDATE).0)?;
        payload.serialize_entry("jti", &self.jti)?;
        for (name, value) in self.claims {
            if !OWN.contains(&name.as_str()) {
                payload.serialize_entry(name, value)?;
            }
        }
        payload.end()
    }
}

/// The `typ` of internal tokens: never mistaken for an access token, nor the reverse.
pub const TOKEN_TYPE: &str = "sidegate+jwt";
const OWN: [&str; 6] = ["iss", "aud", "exp", "iat", "nbf", "jti"];
/// Seconds between `nbf` and `iat`.
const BACKDATE: u64 = 5;

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;
    use crate::{
        config::KeySource,
        jose::{
            keys::KeySet,
            testing::{NOW, issuer},
            verify::peek,
        },
    };

    fn config(algorithm: Algorithm, key: InternalKey) -> InternalJwt {
        InternalJwt {
            issuer: "https://sidegate.internal".to_owned(),
            algorithm,
            key,
            lifetime: Duration::from_secs(120),
            jwks_path: "/jwks".to_owned(),
        }
    }

    fn given(der: &[u8]) -> InternalKey {
        let body = BASE64_STANDARD.encode(der);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        InternalKey::Given(Secret::new(pem.into_bytes()))
    }

    fn upstream_accepts(config: &InternalJwt, keys: &KeySet, minted: &Minted) -> Map<String, Value> {
        let mut expected = issuer(KeySource::None);
        expected.issuer = config.issuer.clone();
        expected.algorithms = vec![config.algorithm];
        expected.token_types = vec![TOKEN_TYPE.to_owned()];
        expected.leeway = Duration::ZERO;
        let verified = peek(&minted.token).unwrap().verify(&expected, keys, NOW).unwrap();
        assert_eq!(verified.expires, minted.expires);
        verified.claims.members().to_map()
    }

    #[test]
    fn what_is_minted_with_any_algorithm_verifies_against_the_published_set() {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let ed = Ed25519KeyPair::generate().unwrap();
        let rsa: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        for (algorithm, key) in [
            (Algorithm::ES256, InternalKey::Generate),
            (Algorithm::ES256, given(ec.as_ref())),
            (Algorithm::RS256, InternalKey::Generate),
            (Algorithm::RS256, given(rsa.as_ref())),
            (Algorithm::EdDSA, InternalKey::Generate),
            (Algorithm::EdDSA, given(ed.to_pkcs8().unwrap().as_ref())),
            (Algorithm::EdDSA, given(ed.to_pkcs8v1().unwrap().as_ref())),
        ] {
            let config = config(algorithm, key);
            let minter = Minter::new(&config).unwrap();
            let (keys, skipped) = KeySet::parse(minter.public_jwks().unwrap()).unwrap();
            assert!(skipped.is_empty());
            let minted = minter.mint("orders", &Map::new(), NOW, NOW.plus(9999)).unwrap();
            upstream_accepts(&config, &keys, &minted);
            assert_eq!(peek(&minted.token).unwrap().kid(), keys.keys()[0].kid());
        }
    }

    #[test]
    fn a_shared_secret_is_never_published() {
        let secret = Secret::new(vec![9; 32]);
        let config = config(Algorithm::HS256, InternalKey::Given(secret.clone()));
        let minter = Minter::new(&config).unwrap();
        assert!(minter.public_jwks().is_none());
        let keys = KeySet::shared(secret.expose(), &[Algorithm::HS256]);
        upstream_accepts(&config, &keys, &minter.mint("orders", &Map::new(), NOW, NOW.plus(60)).unwrap());
    }

    #[test]
    fn the_claims_of_the_mint_cannot_be_replaced() {
        let config = config(Algorithm::EdDSA, InternalKey::Generate);
        let minter = Minter::new(&config).unwrap();
        let keys = KeySet::parse(minter.public_jwks().unwrap()).unwrap().0;
        let claims = json!({"iss": "x", "aud": "x", "exp": 1, "nbf": 1, "iat": 1, "jti": "x", "sub": "alice"});
        let minted = minter.mint("orders", claims.as_object().unwrap(), NOW, NOW.plus(9999)).unwrap();
        let got = upstream_accepts(&config, &keys, &minted);
        assert_eq!(got["iss"], config.issuer);
        assert_eq!(got["aud"], "orders");
        assert_eq!(got["sub"], "alice");
        assert_eq!((&got["exp"], &got["iat"], &got["nbf"]), (&json!(NOW.0 + 120), &json!(NOW.0), &json!(NOW.0 - 5)));
        assert_eq!(got["jti"].as_str().unwrap().len(), 22);
    }

    #[test]
    fn a_token_never_outlives_what_it_rests_on() {
        let minter = Minter::new(&config(Algorithm::EdDSA, InternalKey::Generate)).unwrap();
        assert_eq!(minter.mint("a", &Map::new(), NOW, NOW.plus(7)).unwrap().expires, NOW.plus(7));
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused() {
        let ed = Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap();
        for (algorithm, key, expected) in [
            (Algorithm::ES256, given(ed.as_ref()), MintError::WrongKey(Algorithm::ES256)),
            (Algorithm::RS256, given(ed.as_ref()), MintError::WrongKey(Algorithm::RS256)),
            (Algorithm::EdDSA, given(b"x"), MintError::WrongKey(Algorithm::EdDSA)),
            (Algorithm::ES256, InternalKey::Given(Secret::new(b"x".to_vec())), MintError::NotPem),
            (Algorithm::HS256, InternalKey::Generate, MintError::NotGenerated(Algorithm::HS256)),
            (Algorithm::PS256, InternalKey::Generate, MintError::Algorithm(Algorithm::PS256)),
        ] {
            assert_eq!(Minter::new(&config(algorithm, key)).err(), Some(expected));
        }
    }
}
