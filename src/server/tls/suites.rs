//! The cipher suites of TLS 1.3, with a key schedule that prepares each of its secrets once.
//!
//! rustls has aws-lc derive a key from the bytes of a secret, which then begins with the secret every time: it repeats the
//! extraction and keys the HMAC anew. About 25 keys of a handshake come from 9 secrets, and with SHA-384, which OpenSSL's
//! clients prefer, hashing is a third of a handshake. Here a secret becomes a keyed HMAC once. HMAC is aws-lc's as before,
//! and what is made of it is rustls's own for providers that have an HMAC only.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use rustls::{
    SupportedCipherSuite, Tls13CipherSuite,
    crypto::{
        aws_lc_rs::DEFAULT_CIPHER_SUITES,
        hash::HashAlgorithm,
        hmac::{Hmac, Key, Tag},
        tls13::{Hkdf, HkdfExpander, HkdfUsingHmac, OkmBlock},
    },
};

/// rustls's default suites in their order; those of TLS 1.3 derive their keys as described above.
pub(super) fn suites() -> Vec<SupportedCipherSuite> {
    let mut prepared = TLS13.iter();
    let with_ours = |suite: &SupportedCipherSuite| match suite {
        SupportedCipherSuite::Tls13(_) => prepared.next().map_or(*suite, SupportedCipherSuite::Tls13),
        SupportedCipherSuite::Tls12(_) => *suite,
    };
    DEFAULT_CIPHER_SUITES.iter().map(with_ours).collect()
}

/// In the order of [`DEFAULT_CIPHER_SUITES`].
static TLS13: LazyLock<Vec<Tls13CipherSuite>> =
    LazyLock::new(|| DEFAULT_CIPHER_SUITES.iter().filter_map(SupportedCipherSuite::tls13).map(with_prepared).collect());

fn with_prepared(suite: &Tls13CipherSuite) -> Tls13CipherSuite {
    Tls13CipherSuite {
        common: rustls::CipherSuiteCommon { ..suite.common },
        hkdf_provider: match suite.common.hash_provider.algorithm() {
            HashAlgorithm::SHA256 => &SHA256,
            HashAlgorithm::SHA384 => &SHA384,
            _ => suite.hkdf_provider,
        },
        aead_alg: suite.aead_alg,
        quic: suite.quic,
    }
}

static SHA256: Prepared = Prepared(HkdfUsingHmac(&AwsLcHmac(hmac::HMAC_SHA256)), 32);
static SHA384: Prepared = Prepared(HkdfUsingHmac(&AwsLcHmac(hmac::HMAC_SHA384)), 48);

/// HKDF of keyed HMACs, and the length of its hash.
struct Prepared(HkdfUsingHmac<'static>, usize);

impl Hkdf for Prepared {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.extract_from_secret(salt, &[0; OkmBlock::MAX_LEN][..self.1])
    }

    /// RFC 5869 section 2.2. Here, since [`HkdfUsingHmac`] would leave the extracted key behind on the heap.
    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        let salt = OkmBlock::new(salt.unwrap_or(&[0; OkmBlock::MAX_LEN][..self.1]));
        let extracted = self.0.hmac_sign(&salt, secret);
        self.0.expander_for_okm(&OkmBlock::new(extracted.as_ref()))
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        self.0.expander_for_okm(okm)
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        self.0.hmac_sign(key, message)
    }
}

struct AwsLcHmac(hmac::Algorithm);

impl Hmac for AwsLcHmac {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        Box::new(AwsLcKey(hmac::Key::new(self.0, key)))
    }

    fn hash_output_len(&self) -> usize {
        self.0.digest_algorithm().output_len()
    }
}

struct AwsLcKey(hmac::Key);

impl Key for AwsLcKey {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(first);
        for part in middle {
            context.update(part);
        }
        context.update(last);
        Tag::new(context.sign().as_ref())
    }

    fn tag_len(&self) -> usize {
        self.0.algorithm().digest_algorithm().output_len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs() -> Vec<(&'static Tls13CipherSuite, &'static Tls13CipherSuite)> {
        let theirs = DEFAULT_CIPHER_SUITES.iter().filter_map(SupportedCipherSuite::tls13);
        theirs.zip(TLS13.iter()).collect()
    }

    #[test]
    fn the_suites_are_those_of_rustls_in_their_order() {
        let names =
            |suites: &[SupportedCipherSuite]| suites.iter().map(SupportedCipherSuite::suite).collect::<Vec<_>>();
        assert_eq!(names(&suites()), names(DEFAULT_CIPHER_SUITES));
        assert_eq!(pairs().len(), 3);
    }

    proptest! {
        #[test]
        fn every_key_is_the_one_that_rustls_derives(
            salt in prop::option::of(prop::collection::vec(any::<u8>(), 0..=48)),
            secret in prop::collection::vec(any::<u8>(), 0..1200),
            info in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..6),
            length in 1..200_usize,
        ) {
            for (theirs, ours) in pairs() {
                let hash = theirs.common.hash_provider.output_len();
                let info: Vec<&[u8]> = info.iter().map(Vec::as_slice).collect();
                let key = OkmBlock::new(&[7; OkmBlock::MAX_LEN][..hash]);
                let derive = |hkdf: &dyn Hkdf| {
                    [
                        hkdf.extract_from_secret(salt.as_deref(), &secret),
                        hkdf.extract_from_zero_ikm(salt.as_deref()),
                        hkdf.expander_for_okm(&key),
                    ]
                    .map(|expander| {
                        let mut slice = vec![0; length];
                        expander.expand_slice(&info, &mut slice).ok().unwrap();
                        let block = expander.expand_block(&info).as_ref().to_vec();
                        (slice, block, expander.hash_len())
                    })
                };
                prop_assert_eq!(derive(theirs.hkdf_provider), derive(ours.hkdf_provider));
                let signed = |hkdf: &dyn Hkdf| hkdf.hmac_sign(&key, &secret).as_ref().to_vec();
                prop_assert_eq!(signed(theirs.hkdf_provider), signed(ours.hkdf_provider));
            }
        }
    }
}
