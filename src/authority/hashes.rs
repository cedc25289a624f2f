//! Whether a secret fits a hash, and what finding that out costs.

use argon2::{
    Argon2, Params,
    password_hash::{CustomizedPasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use aws_lc_rs::{constant_time, digest, rand};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use zeroize::Zeroizing;

use crate::{
    config::SecretHash,
    model::{BoxError, Secret},
};

/// Whether `secret` is one of the generated secrets among `hashes`. It costs next to nothing: what has 120 random bits
/// needs no slow hash.
pub(super) fn fits_generated(hashes: &[SecretHash], secret: &Secret<String>) -> bool {
    let found = digest::digest(&digest::SHA256, secret.expose().as_bytes());
    hashes.iter().any(|hash| match hash {
        SecretHash::Sha256(expected) => {
            constant_time::verify_slices_are_equal(found.as_ref(), expected.expose()).is_ok()
        }
        SecretHash::Argon2id(_) => false,
    })
}

/// What an API key is found by.
pub(super) fn generated(key: &Secret<String>) -> [u8; 32] {
    *digest::digest(&digest::SHA256, key.expose().as_bytes()).as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

/// The slow ones among `hashes`.
pub(super) fn slow(hashes: &[SecretHash]) -> impl Iterator<Item = &Secret<String>> {
    hashes.iter().filter_map(|hash| match hash {
        SecretHash::Argon2id(phc) => Some(phc),
        SecretHash::Sha256(_) => None,
    })
}

/// Whether `secret` fits one of `hashes`: memory and milliseconds for each. What is no hash fits nothing.
pub(super) fn fits_slow(hashes: &[Secret<String>], secret: &Secret<String>) -> bool {
    hashes.iter().any(|phc| {
        PasswordHash::new(phc.expose())
            .is_ok_and(|parsed| Argon2::default().verify_password(secret.expose().as_bytes(), &parsed).is_ok())
    })
}

/// The most expensive of `hashes`, for those who are not there: their refusal must take as long as any other.
pub(super) fn decoy<'h>(hashes: impl Iterator<Item = &'h SecretHash>) -> Option<Secret<String>> {
    let slow = hashes.filter_map(|hash| match hash {
        SecretHash::Argon2id(phc) => Some(phc),
        SecretHash::Sha256(_) => None,
    });
    slow.max_by_key(|phc| cost(phc.expose())).cloned()
}

/// Blocks of memory that are written.
fn cost(phc: &str) -> u64 {
    let parameters = PasswordHash::new(phc).ok().and_then(|hash| Params::try_from(&hash).ok());
    parameters.map_or(0, |parameters| u64::from(parameters.m_cost()) * u64::from(parameters.t_cost()))
}

/// Changes when the password does; nothing can be found out from it that is not in the hash.
pub(super) fn credential(hash: &SecretHash) -> [u8; 16] {
    let text = match hash {
        SecretHash::Argon2id(phc) => digest::digest(&digest::SHA256, phc.expose().as_bytes()),
        SecretHash::Sha256(hash) => digest::digest(&digest::SHA256, hash.expose()),
    };
    *text.as_ref().first_chunk().expect("32 bytes are more than 16")
}

/// What of a hash stands for it in a digest.
pub(super) fn bytes(hash: &SecretHash) -> &[u8] {
    match hash {
        SecretHash::Argon2id(phc) => phc.expose().as_bytes(),
        SecretHash::Sha256(hash) => hash.expose(),
    }
}

/// What one slow hash takes: KiB of memory, passes over it, lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub memory: u32,
    pub passes: u32,
    pub lanes: u32,
}

/// A slow hash of what a person chose, with a new salt, as a PHC string.
///
/// # Errors
/// If the cost is none that argon2 has, or there is no randomness.
pub fn hash_slowly(secret: &Secret<String>, cost: Cost) -> Result<String, BoxError> {
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(|_| "there is no randomness")?;
    let parameters = Params::new(cost.memory, cost.passes, cost.lanes, None).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password_customized(secret.expose().as_bytes(), &salt, None, None, parameters);
    Ok(hash.map_err(|error| error.to_string())?.to_string())
}

/// A secret of 216 random bits, and its hash. In 36 characters: no more of a key or secret goes into `redex`.
///
/// # Errors
/// If there is no randomness.
pub fn generate() -> Result<(Secret<String>, String), BoxError> {
    let mut random = Zeroizing::new([0; 27]);
    rand::fill(random.as_mut()).map_err(|_| "there is no randomness")?;
    let secret = Secret::new(BASE64URL.encode(random.as_ref()));
    let digest = digest::digest(&digest::SHA256, secret.expose().as_bytes());
    let hash = digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"));
    Ok((secret, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: &str = "m=64,t=1,p=1";
    const DEAR: &str = "m=64,t=2,p=1";

    fn hashed(parameters: &str, secret: &str) -> SecretHash {
        SecretHash::Argon2id(Secret::new(crate::authority::tests::hashed(parameters, secret)))
    }

    fn generated(secret: &str) -> SecretHash {
        let hash = digest::digest(&digest::SHA256, secret.as_bytes());
        SecretHash::Sha256(Secret::new(hash.as_ref().try_into().unwrap()))
    }

    #[test]
    fn a_secret_fits_its_hash_whatever_the_parameters() {
        let secret = |text: &str| Secret::new(text.to_owned());
        let hashes = [hashed(CHEAP, "swordfish"), hashed(DEAR, "marlin"), generated("tuna")];
        let slow: Vec<_> = slow(&hashes).cloned().collect();
        assert_eq!(slow.len(), 2);
        assert!(fits_slow(&slow, &secret("swordfish")) && fits_slow(&slow, &secret("marlin")));
        assert!(!fits_slow(&slow, &secret("tuna")) && !fits_slow(&slow, &secret("")));
        assert!(fits_generated(&hashes, &secret("tuna")) && !fits_generated(&hashes, &secret("swordfish")));
        assert!(!fits_slow(&[secret("no hash")], &secret("swordfish")));
    }

    #[test]
    fn what_is_made_here_fits_what_it_was_made_of() {
        let cost = Cost { memory: 64, passes: 1, lanes: 2 };
        let secret = Secret::new("swordfish".to_owned());
        let (one, other) = (hash_slowly(&secret, cost).unwrap(), hash_slowly(&secret, cost).unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=64,t=1,p=2$") && one != other, "{one}");
        assert!(fits_slow(&[Secret::new(one)], &secret));
        assert!(hash_slowly(&secret, Cost { memory: 1, ..cost }).is_err());

        let (secret, hash) = generate().unwrap();
        assert_eq!(secret.expose().len(), 36);
        assert_eq!(hash, crate::authority::tests::generated(secret.expose()));
    }

    #[test]
    fn whoever_is_not_there_costs_as_much_as_the_dearest_of_those_who_are() {
        let (cheap, dear) = (hashed(CHEAP, "a"), hashed(DEAR, "b"));
        let found = decoy([&cheap, &dear, &generated("c")].into_iter()).unwrap();
        assert!(found.expose().contains(DEAR));
        assert_eq!(decoy([&generated("c")].into_iter()), None);
    }

    #[test]
    fn the_credential_changes_with_the_hash() {
        assert_eq!(credential(&generated("a")), credential(&generated("a")));
        assert_ne!(credential(&generated("a")), credential(&generated("b")));
        assert_ne!(credential(&hashed(CHEAP, "a")), credential(&hashed(DEAR, "a")));
    }
}
