//! Client assertions (RFC 7523, section 2.2): how we prove ourselves to an authority without sending it a secret.

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Map, Value, json};

use super::mint::{MintError, Signer, pkcs8};
use crate::{
    config::AssertionKey,
    model::{Secret, UnixTime},
};

/// Signs assertions of one client.
pub struct Asserter {
    signer: Signer,
}

impl Asserter {
    /// # Errors
    /// If the key does not fit its algorithm.
    pub fn new(key: &AssertionKey) -> Result<Asserter, MintError> {
        let document = pkcs8(key.pem.expose())?;
        let signer = Signer::read(key.algorithm, document.secret_pkcs8_der())?;
        Ok(Asserter {
            signer: match &key.key_id {
                Some(key_id) => signer.named(key_id.clone()),
                None => signer,
            },
        })
    }

    /// That `client` asks `audience`, now and only once.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn assert(&self, client: &str, audience: &str, now: UnixTime) -> Result<Secret<String>, MintError> {
        let mut jti = [0; 16];
        rand::fill(&mut jti).map_err(|_| MintError::Crypto)?;
        let claims: Map<String, Value> = [
            ("iss", json!(client)),
            ("sub", json!(client)),
            ("aud", json!(audience)),
            ("jti", json!(BASE64URL.encode(jti))),
            ("iat", json!(now.minus(CLOCKS_APART).0)),
            ("exp", json!(now.plus(LIFETIME + CLOCKS_APART).0)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect();
        self.signer.token("JWT", &claims).map(Secret::new)
    }
}

/// Seconds: long enough for a slow answer, too short to be worth stealing.
const LIFETIME: u64 = 60;
/// Seconds that the authority's clock may be ahead or behind. It refuses what was issued in its future or is over.
const CLOCKS_APART: u64 = 120;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use aws_lc_rs::{
        encoding::AsDer,
        rsa::KeySize,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair},
    };
    use base64::prelude::BASE64_STANDARD;
    use jsonwebtoken::Algorithm;

    use super::*;
    use crate::{
        jose::{
            keys::KeySet,
            testing::NOW,
            verify::{peek, rules},
        },
        json::Member,
    };

    fn key(algorithm: Algorithm, der: &[u8], key_id: Option<&str>) -> AssertionKey {
        let body = BASE64_STANDARD.encode(der);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        AssertionKey { algorithm, pem: Secret::new(pem.into_bytes()), key_id: key_id.map(str::to_owned) }
    }

    fn keys() -> [(Algorithm, Vec<u8>); 3] {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let ed = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        let rsa: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
            RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        [
            (Algorithm::ES256, ec.as_ref().to_vec()),
            (Algorithm::EdDSA, ed.as_ref().to_vec()),
            (Algorithm::RS256, rsa.as_ref().to_vec()),
        ]
    }

    #[test]
    fn an_assertion_names_us_twice_one_audience_and_a_short_end_whatever_the_key() {
        for (algorithm, der) in keys() {
            let asserter = Asserter::new(&key(algorithm, &der, None)).unwrap();
            let (public, _) =
                KeySet::parse(json!({"keys": [asserter.signer.public_jwk()]}).to_string().as_bytes()).unwrap();
            let assertion = asserter.assert("sidegate", "https://idp.example.com", NOW).unwrap();
            let peek = peek(assertion.expose()).unwrap();
            assert_eq!(peek.kid(), public.keys()[0].kid(), "the thumbprint");
            let verified = peek.verify(&rules("sidegate", &["jwt"], true), &public, NOW).unwrap();
            assert_eq!(verified.expires, NOW.plus(180));
            assert_eq!(verified.claims.subject(), Some("sidegate"));
            assert_eq!(verified.claims.audiences().collect::<Vec<_>>(), ["https://idp.example.com"]);
            assert_eq!(
                verified.claims.issued_at(),
                Some(NOW.minus(120)),
                "who is behind must not take it for one of tomorrow"
            );
        }
    }

    #[test]
    fn a_key_has_the_name_that_it_was_registered_by_and_no_assertion_is_made_twice() {
        let [(algorithm, der), ..] = keys();
        let asserter = Asserter::new(&key(algorithm, &der, Some("of-2026"))).unwrap();
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let assertion = asserter.assert("sidegate", "https://idp.example.com", NOW).unwrap();
            let peek = peek(assertion.expose()).unwrap();
            assert_eq!(peek.kid(), Some("of-2026"));
            assert!(seen.insert(peek.claims().get("jti").and_then(Member::as_str).unwrap().to_owned()));
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let [(_, der), ..] = keys();
        assert!(matches!(Asserter::new(&key(Algorithm::RS256, &der, None)), Err(MintError::WrongKey(_))));
    }
}
