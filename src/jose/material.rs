//! The public half of a key as a JWK (RFC 7517, RFC 8037), and its name by RFC 7638.

use aws_lc_rs::{
    digest,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

/// The numbers of a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// Modulus (2048 to 8192 bits) and exponent, big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// The uncompressed point: 4, x, y.
    Ec { curve: Curve, point: Vec<u8> },
    /// The 32 bytes of the point.
    Ed25519 { x: Vec<u8> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
}

impl Curve {
    fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
        }
    }

    /// Bytes of one coordinate.
    fn width(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }
}

impl Material {
    /// Reads and checks the key of a JWK.
    ///
    /// # Errors
    /// The reason, in words that hold nothing of the key, if it is of a kind that is not used here, too short, not on
    /// its curve, or not public.
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Material, &'static str> {
        let material = match text(jwk, "kty")? {
            "RSA" => Material::Rsa { n: trimmed(octets(jwk, "n")?), e: trimmed(octets(jwk, "e")?) },
            "EC" => {
                let curve = match text(jwk, "crv")? {
                    "P-256" => Curve::P256,
                    "P-384" => Curve::P384,
                    _ => return Err("a curve that is not supported"),
                };
                let (x, y) = (octets(jwk, "x")?, octets(jwk, "y")?);
                if x.len() != curve.width() || y.len() != curve.width() {
                    return Err("a coordinate of a wrong length");
                }
                Material::Ec { curve, point: [&[4], x.as_slice(), y.as_slice()].concat() }
            }
            "OKP" if text(jwk, "crv")? == "Ed25519" => Material::Ed25519 { x: octets(jwk, "x")? },
            "OKP" => return Err("a curve that is not supported"),
            "oct" => return Err("a shared secret does not belong in a key set"),
            _ => return Err("a `kty` that is not supported"),
        };
        if jwk.contains_key("d") {
            return Err("its private half was published");
        }
        material.check()?;
        Ok(material)
    }

    fn check(&self) -> Result<(), &'static str> {
        match self {
            Material::Rsa { n, e } => {
                let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
                if !(2048..=8192).contains(&bits) {
                    return Err("RSA, but not of 2048 to 8192 bits");
                }
                if e.as_slice() == [1] || e.last().is_none_or(|last| last % 2 == 0) {
                    return Err("RSA with an exponent that no one should use");
                }
            }
            Material::Ec { .. } | Material::Ed25519 { .. } => {}
        }
        // What the library reads for one algorithm, it reads for each.
        self.parsed(self.algorithms()[0]).map(drop)
    }

    /// The key as `algorithm` verifies with it: read once, since a verification that reads it anew takes a sixth longer.
    ///
    /// # Errors
    /// If it is no such key.
    pub fn parsed(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, &'static str> {
        match (self, algorithm) {
            (Material::Rsa { n, e }, _) => {
                let parameters = match algorithm {
                    Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
                    _ => return Err("not an algorithm of RSA"),
                };
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).map_err(|_| "not an RSA key")
            }
            (Material::Ec { curve: Curve::P256, point }, Algorithm::ES256) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| "not a point on P-256")
            }
            (Material::Ec { curve: Curve::P384, point }, Algorithm::ES384) => {
                ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).map_err(|_| "not a point on P-384")
            }
            (Material::Ed25519 { x }, Algorithm::EdDSA) => {
                ParsedPublicKey::new(&ED25519, x).map_err(|_| "not an Ed25519 key")
            }
            (Material::Ec { .. } | Material::Ed25519 { .. }, _) => Err("not an algorithm of its curve"),
        }
    }

    /// The algorithms that fit a key of this kind.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::*;
        match self {
            Material::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
            Material::Ec { curve: Curve::P256, .. } => &[ES256],
            Material::Ec { curve: Curve::P384, .. } => &[ES384],
            Material::Ed25519 { .. } => &[EdDSA],
        }
    }

    /// The members that a JWK of this key must have; in this order they are the input of RFC 7638.
    pub fn members(&self) -> Value {
        match self {
            Material::Rsa { n, e } => {
                json!({"e": BASE64URL.encode(e), "kty": "RSA", "n": BASE64URL.encode(n)})
            }
            Material::Ec { curve, point } => {
                let (x, y) = point[1..].split_at(curve.width());
                json!({"crv": curve.name(), "kty": "EC", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y)})
            }
            Material::Ed25519 { x } => {
                json!({"crv": "Ed25519", "kty": "OKP", "x": BASE64URL.encode(x)})
            }
        }
    }

    /// The SHA-256 thumbprint of RFC 7638.
    pub fn thumbprint(&self) -> [u8; 32] {
        let digest = digest::digest(&digest::SHA256, self.members().to_string().as_bytes());
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest.as_ref());
        thumbprint
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<&'a str, &'static str> {
    jwk.get(name).and_then(Value::as_str).ok_or("a mandatory member is missing or not a string")
}

fn octets(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, &'static str> {
    BASE64URL.decode(text(jwk, name)?).map_err(|_| "a member is not base64url")
}

/// RFC 7518 section 6.3.1.1 forbids the sign octet that some issuers still put in front.
fn trimmed(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.drain(..zeros);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwk(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_thumbprint_is_that_of_the_example_in_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = Material::from_jwk(&jwk(json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256"}))).unwrap();
        assert_eq!(BASE64URL.encode(key.thumbprint()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn what_is_not_a_usable_public_key_is_refused() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert!(Material::from_jwk(&jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": x}))).is_ok());
        for bad in [
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "d": x}),
            json!({"kty": "OKP", "crv": "X25519", "x": x}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
            json!({"kty": "oct", "k": x}),
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": x}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": x}),
            json!({"kty": "EC", "crv": "secp256k1", "x": x, "y": x}),
            json!({"kty": "RSA", "n": x, "e": "AQAB"}),
            json!({"kty": "RSA", "n": "", "e": "AQAB"}),
            json!({"kty": "RSA", "n": BASE64URL.encode([0xff; 256]), "e": ""}),
            json!({"kty": "RSA", "n": BASE64URL.encode([0xff; 256]), "e": "AA"}),
            json!({"kty": "RSA", "n": BASE64URL.encode([0xff; 256]), "e": "AQ"}),
            json!({"kty": "RSA", "n": BASE64URL.encode([0xff; 256]), "e": "Ag"}),
            json!({"kty": "RSA", "e": "AQAB"}),
            json!({"kty": ["RSA"]}),
            json!({}),
        ] {
            assert!(Material::from_jwk(&jwk(bad.clone())).is_err(), "{bad}");
        }
    }
}
