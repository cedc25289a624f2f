//! Keys and tokens for the tests of this floor and the ones above.

use std::time::Duration;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::{
    config::{Issuer, KeySource},
    jose::material::{Curve, Material},
    model::UnixTime,
};

pub const ISSUER: &str = "https://idp.test";
pub const NOW: UnixTime = UnixTime(1_800_000_000);

/// An issuer with every default of the reference.
pub fn issuer(keys: KeySource) -> Issuer {
    Issuer {
        name: "corp".into(),
        issuer: ISSUER.to_owned(),
        keys,
        algorithms: vec![Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA],
        token_types: vec!["jwt".to_owned(), "at+jwt".to_owned()],
        token_type_required: false,
        leeway: Duration::from_secs(30),
        required: false,
        ca_file: None,
        refresh_interval: Duration::from_secs(300),
        max_stale: Duration::from_secs(86400),
        inquiry: None,
    }
}

/// A key pair of the issuer.
pub enum Pair {
    Rsa(RsaKeyPair),
    Ec256(EcdsaKeyPair),
    Ec384(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Pair {
    pub fn rsa() -> Pair {
        Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub fn ec256() -> Pair {
        Pair::Ec256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn ec384() -> Pair {
        Pair::Ec384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub fn ed() -> Pair {
        Pair::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub fn material(&self) -> Material {
        match self {
            Pair::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                Material::Rsa { n, e }
            }
            Pair::Ec256(pair) => Material::Ec { curve: Curve::P256, point: pair.public_key().as_ref().to_vec() },
            Pair::Ec384(pair) => Material::Ec { curve: Curve::P384, point: pair.public_key().as_ref().to_vec() },
            Pair::Ed(pair) => Material::Ed25519 { x: pair.public_key().as_ref().to_vec() },
        }
    }

    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.material().members();
        jwk["kid"] = json!(kid);
        jwk
    }

    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if algorithm.starts_with("PS") { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec256(pair) | Pair::Ec384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with exactly this header and these claims, as written.
    pub fn token(&self, header: &str, claims: &str) -> String {
        let algorithm = serde_json::from_str::<Value>(header)
            .ok()
            .and_then(|header| header["alg"].as_str().map(str::to_owned))
            .unwrap_or_default();
        let message = message(header, claims);
        let signature = self.sign(&algorithm, message.as_bytes());
        format!("{message}.{}", BASE64URL.encode(signature))
    }
}

pub fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims))
}

/// Claims that pass, with `changes` on top; a null takes a claim away.
pub fn claims(changes: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "sub": "alice", "aud": "orders-api", "client_id": "shop",
        "iat": NOW.0 - 10, "exp": NOW.0 + 600, "scope": "orders",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims.to_string()
}

pub fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
