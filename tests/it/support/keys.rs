//! Keys of every kind that an issuer may have, and tokens with exactly the header and the claims that a test writes.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Map, Value, json};

enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Hmac(Vec<u8>),
}

/// A key for one algorithm.
pub struct Pair {
    pub kid: String,
    pub algorithm: &'static str,
    signer: Signer,
    /// The public half; null for a secret.
    pub jwk: Value,
}

impl Pair {
    /// A new key for RS256, PS256, ES256, ES384 or EdDSA.
    pub fn new(algorithm: &'static str, kid: &str) -> Pair {
        let (signer, mut jwk) = match algorithm {
            "RS256" | "PS256" => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let jwk = json!({"kty": "RSA", "n": BASE64URL.encode(n), "e": BASE64URL.encode(e)});
                (Signer::Rsa(pair), jwk)
            }
            "ES256" => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                let jwk = ec("P-256", pair.public_key().as_ref());
                (Signer::Ec(pair), jwk)
            }
            "ES384" => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
                let jwk = ec("P-384", pair.public_key().as_ref());
                (Signer::Ec(pair), jwk)
            }
            "EdDSA" => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode(pair.public_key())});
                (Signer::Ed(pair), jwk)
            }
            other => panic!("no key for {other}"),
        };
        jwk["kid"] = json!(kid);
        jwk["alg"] = json!(algorithm);
        Pair { kid: kid.into(), algorithm, signer, jwk }
    }

    pub fn secret(secret: &[u8]) -> Pair {
        Pair { kid: "secret".into(), algorithm: "HS256", signer: Signer::Hmac(secret.to_vec()), jwk: Value::Null }
    }

    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm, "kid": self.kid, "typ": "JWT"})
    }

    pub fn token(&self, claims: &Value) -> String {
        self.raw(&self.header().to_string(), &claims.to_string())
    }

    /// With members of the header replaced; a null takes one away.
    pub fn token_with_header(&self, changes: Value, claims: &Value) -> String {
        let header = changed(&self.header(), &changes);
        self.raw(&header.to_string(), &claims.to_string())
    }

    /// As written.
    pub fn raw(&self, header: &str, claims: &str) -> String {
        let message = message(header, claims);
        format!("{message}.{}", BASE64URL.encode(self.sign(message.as_bytes())))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if self.algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Signer::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Hmac(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
        }
    }
}

fn ec(curve: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at(point.len() / 2);
    json!({"kty": "EC", "crv": curve, "x": BASE64URL.encode(x), "y": BASE64URL.encode(y)})
}

pub fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims))
}

/// `value` with members replaced; a null takes one away.
pub fn changed(value: &Value, changes: &Value) -> Value {
    let mut members: Map<String, Value> = value.as_object().unwrap().clone();
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), change.clone());
        }
    }
    members.into()
}

/// The part `index` of a token as JSON: 0 its header, 1 its claims.
pub fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64URL.decode(part).unwrap()).unwrap()
}

/// Whether a key of `jwks` verifies `token` by the algorithm that the key is for.
pub fn verifies(jwks: &Value, token: &str) -> bool {
    let kid = part(token, 0)["kid"].clone();
    let jwk = jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == kid);
    let Some(jwk) = jwk else { return false };
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk.clone()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let algorithm = part(token, 0)["alg"].as_str().unwrap().parse().unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, algorithm).unwrap()
}
