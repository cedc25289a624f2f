//! The token of our own that upstreams receive.

use std::{path::Path, time::Duration};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use jsonwebtoken::Algorithm;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};

use super::{
    files,
    issuers::{SHORTEST_SHARED_SECRET, algorithm_of},
    section::Section,
    urls,
};
use crate::{
    config::{InternalJwt, InternalKey, settings},
    model::Secret,
};

pub(super) const LIFETIME: Duration = Duration::from_secs(120);
pub(super) const DEFAULT_JWKS_PATH: &str = "/.well-known/sidegate/jwks.json";

/// Outside, `None` if something is wrong; inside, `None` if there is no internal JWT.
pub(super) fn check(settings: Option<&settings::InternalJwt>, section: &Section<'_>) -> Option<Option<InternalJwt>> {
    let Some(settings) = settings else {
        return Some(None);
    };
    let default_issuer = "https://sidegate.internal".to_owned();
    let issuer = settings.issuer.as_ref().unwrap_or(&default_issuer);
    let issuer = section.required("issuer", Some(issuer), &default_issuer).cloned();
    let algorithm = algorithm_of(settings.algorithm.unwrap_or(settings::Algorithm::ES256));
    let key = match (algorithm, &settings.key_file) {
        (Algorithm::ES256 | Algorithm::RS256 | Algorithm::EdDSA, None) => Some(InternalKey::Generate),
        (Algorithm::HS256, None) => {
            section.key("key_file").problem("missing", "with HS256 the upstream must know the secret: name its file");
            None
        }
        (Algorithm::ES256 | Algorithm::RS256 | Algorithm::EdDSA | Algorithm::HS256, Some(file)) => {
            given_key(algorithm, file, &section.key("key_file"))
        }
        _ => {
            let section = section.key("algorithm");
            section.problem(
                format!("{} is not made here", section.shown(format!("{algorithm:?}"))),
                "use ES256, RS256, EdDSA or HS256",
            );
            None
        }
    };
    let s = Duration::from_secs;
    let lifetime = section.span("lifetime", settings.lifetime, LIFETIME, s(5)..=s(3600));
    let jwks_path = settings.jwks_path.as_deref().unwrap_or(DEFAULT_JWKS_PATH);
    let fault = urls::literal_path_fault(jwks_path);
    if let Some(fault) = &fault {
        let section = section.key("jwks_path");
        section.problem(format!("{} {fault}", section.shown(jwks_path)), "");
    }
    Some(Some(InternalJwt {
        issuer: issuer?,
        algorithm,
        key: key?,
        lifetime,
        jwks_path: fault.is_none().then(|| jwks_path.to_owned())?,
    }))
}

fn given_key(algorithm: Algorithm, file: &Path, section: &Section<'_>) -> Option<InternalKey> {
    let key = files::secret(file, section)?;
    let fault = match algorithm {
        Algorithm::HS256 => (key.expose().len() < SHORTEST_SHARED_SECRET)
            .then(|| format!("the secret is shorter than {SHORTEST_SHARED_SECRET} bytes")),
        _ => {
            (!is_key_for(algorithm, &key)).then(|| format!("the file holds no key for {algorithm:?} as PKCS#8 in PEM"))
        }
    };
    if let Some(fault) = fault {
        let remedy = match algorithm {
            Algorithm::ES256 => "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one",
            Algorithm::RS256 => "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 makes one",
            Algorithm::EdDSA => "openssl genpkey -algorithm ED25519 makes one",
            _ => "openssl rand -base64 48 makes one",
        };
        section.problem(fault, remedy);
        return None;
    }
    Some(InternalKey::Given(key))
}

/// Whether `pem` is a PKCS#8 key that signs with `algorithm`.
pub(super) fn is_key_for(algorithm: Algorithm, pem: &Secret<Vec<u8>>) -> bool {
    let Ok(key) = PrivatePkcs8KeyDer::from_pem_slice(pem.expose()) else {
        return false;
    };
    let der = key.secret_pkcs8_der();
    match algorithm {
        Algorithm::ES256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).is_ok(),
        Algorithm::RS256 => RsaKeyPair::from_pkcs8(der).is_ok(),
        Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).is_ok(),
        _ => false,
    }
}
