//! Makes access tokens as an identity provider would, in numbers.

use std::{error::Error, thread, time::SystemTime};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://idp.example.com";
pub const AUDIENCE: &str = "orders-api";
pub const KEY_ID: &str = "2026-11-bench";

/// A signing key of the issuer.
pub enum Signer {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Signer {
    /// A new key; RSA with 2048 bits, P-256 or Ed25519.
    pub fn generate(algorithm: &str) -> Result<Self, Box<dyn Error>> {
        Ok(match algorithm {
            "RS256" => Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048)?),
            "ES256" => Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            "EdDSA" => Self::EdDsa(Ed25519KeyPair::generate()?),
            other => return Err(format!("{other}: not RS256, ES256 or EdDSA").into()),
        })
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    /// The key set that the issuer publishes (RFC 7517).
    pub fn key_set(&self) -> Result<Value, Box<dyn Error>> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match self {
            Self::Rs256(pair) => {
                // RSAPublicKey (RFC 8017 A.1.1) of 2048 bits with e = 65537 has one layout only.
                let der = pair.public_key().as_ref();
                let (modulus, exponent) = (der.get(9..265), der.get(267..270));
                let (Some(modulus), Some(exponent)) = (modulus, exponent) else {
                    return Err("unexpected RSA public key".into());
                };
                json!({"kty": "RSA", "n": text(modulus), "e": text(exponent)})
            }
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..65])})
            }
            Self::EdDsa(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
        };
        key["alg"] = self.algorithm().into();
        key["use"] = "sig".into();
        key["kid"] = KEY_ID.into();
        Ok(json!({"keys": [key]}))
    }

    /// The public key as the crypto library verifies with it.
    #[allow(dead_code)] // each program takes what it needs
    pub fn verifier(&self) -> Result<ParsedPublicKey, Box<dyn Error>> {
        Ok(match self {
            Self::Rs256(pair) => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key()),
            Self::Es256(pair) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key()),
            Self::EdDsa(pair) => ParsedPublicKey::new(&ED25519, pair.public_key()),
        }?)
    }

    #[allow(dead_code)]
    /// The public key as SubjectPublicKeyInfo PEM, for peers that read no key set.
    pub fn public_pem(&self) -> Result<String, Box<dyn Error>> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Rs256(pair) => pair.public_key().as_der()?,
            Self::Es256(pair) => pair.public_key().as_der()?,
            Self::EdDsa(pair) => pair.public_key().as_der()?,
        };
        Ok(pem("PUBLIC KEY", der.as_ref()))
    }

    /// A token of `bytes` bytes (or one less, where base64 cannot make that many), different for each `index`.
    pub fn token(&self, index: u64, bytes: usize) -> Result<String, Box<dyn Error>> {
        let mut token = self.message(index, bytes)?;
        let signature = self.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The same with a signature that nobody made.
    #[allow(dead_code)] // each program takes what it needs
    pub fn forged(&self, index: u64, bytes: usize) -> Result<String, Box<dyn Error>> {
        let mut token = self.message(index, bytes)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(vec![0x5a; self.signature_bytes()], &mut token);
        Ok(token)
    }

    /// Header and claims, what is signed.
    fn message(&self, index: u64, bytes: usize) -> Result<String, Box<dyn Error>> {
        let issued = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let header = json!({"alg": self.algorithm(), "typ": "JWT", "kid": KEY_ID}).to_string();
        let mut claims = json!({
            "iss": ISSUER,
            "sub": format!("user-{index:08}"),
            "aud": [AUDIENCE],
            "exp": issued + LIFETIME,
            "iat": issued,
            "jti": format!("{:032x}", u128::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            "client_id": "web-shop",
            "scope": "openid profile orders",
            "tenant": "acme",
            "email": format!("user-{index:08}@example.com"),
            "name": "",
        });
        let fixed = base64_length(header.len()) + 2 + base64_length(self.signature_bytes());
        let room = bytes.saturating_sub(fixed) * 3 / 4;
        claims["name"] = "n".repeat(room.saturating_sub(claims.to_string().len())).into();
        let mut message = URL_SAFE_NO_PAD.encode(header);
        message.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut message);
        Ok(message)
    }

    fn signature_bytes(&self) -> usize {
        match self {
            Self::Rs256(pair) => pair.public_modulus_len(),
            Self::Es256(_) | Self::EdDsa(_) => 64,
        }
    }

    /// `count` tokens from `first` on, on all cores.
    pub fn tokens(&self, first: u64, count: u64, bytes: usize) -> Result<Vec<String>, Box<dyn Error>> {
        self.many(first, count, |index| self.token(index, bytes))
    }

    /// What `make` makes of `count` numbers from `first` on, on all cores.
    pub fn many(
        &self,
        first: u64,
        count: u64,
        make: impl Fn(u64) -> Result<String, Box<dyn Error>> + Sync,
    ) -> Result<Vec<String>, Box<dyn Error>> {
        let make = &make;
        let threads = thread::available_parallelism()?.get() as u64;
        thread::scope(|scope| {
            let parts: Vec<_> = (0..threads)
                .map(|part| (first + count * part / threads, first + count * (part + 1) / threads))
                .map(|(from, to)| {
                    scope.spawn(move || {
                        (from..to)
                            .map(|index| make(index).map_err(|error| error.to_string()))
                            .collect::<Result<Vec<_>, _>>()
                    })
                })
                .collect();
            let mut tokens = Vec::new();
            for part in parts {
                tokens.extend(part.join().map_err(|_| "a signing thread panicked")??);
            }
            Ok(tokens)
        })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let random = SystemRandom::new();
        Ok(match self {
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                signature
            }
            Self::Es256(pair) => pair.sign(&random, message)?.as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        })
    }
}

/// RFC 7468.
#[allow(dead_code)]
pub fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = (0..base64.len()).step_by(64).map(|at| &base64[at..base64.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

const fn base64_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Seconds; long, since the tokens are kept on disk between runs.
const LIFETIME: u64 = 180 * 24 * 3600;
