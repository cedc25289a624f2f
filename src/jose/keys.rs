//! A JWK Set (RFC 7517) as keys that verify, each with the flag that says it still stands in the set.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_lc_rs::{digest, hmac, signature::ParsedPublicKey};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use tokio::sync::Notify;

use super::material::Material;
use crate::json;

/// Whether something that verdicts rest on is still good. Once ended, it stays so.
#[derive(Debug)]
pub struct Liveness {
    alive: AtomicBool,
    end: Notify,
}

impl Default for Liveness {
    fn default() -> Self {
        Liveness { alive: AtomicBool::new(true), end: Notify::new() }
    }
}

impl Liveness {
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// From now on, whatever rests on this is void.
    pub fn end(&self) {
        self.alive.store(false, Ordering::Release);
        self.end.notify_waiters();
    }

    /// Returns once it has ended.
    pub async fn ended(&self) {
        let end = self.end.notified();
        tokio::pin!(end);
        // Before the flag is looked at, so that no end comes between.
        end.as_mut().enable();
        if self.is_alive() {
            end.await;
        }
    }
}

/// One key that verifies signatures.
pub struct Key {
    kid: Option<Box<str>>,
    /// RFC 7638, or the digest of a shared secret.
    thumbprint: [u8; 32],
    /// What the key may be used with, whatever a token says, and how.
    verifiers: Box<[(Algorithm, Verifier)]>,
    liveness: Arc<Liveness>,
}

/// A key as one algorithm verifies with it.
enum Verifier {
    Public(ParsedPublicKey),
    /// Boxed: it is the larger one, and rare.
    Shared(Box<hmac::Key>),
}

impl Verifier {
    fn shared(algorithm: Algorithm, secret: &[u8]) -> Option<Verifier> {
        let algorithm = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return None,
        };
        Some(Verifier::Shared(Box::new(hmac::Key::new(algorithm, secret))))
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
            // In constant time.
            Verifier::Shared(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl Key {
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms().any(|allowed| allowed == algorithm)
    }

    fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    fn is_shared(&self) -> bool {
        self.verifiers.iter().any(|(_, verifier)| matches!(verifier, Verifier::Shared(_)))
    }

    /// Ended when the key has left its set.
    pub fn liveness(&self) -> &Arc<Liveness> {
        &self.liveness
    }

    /// Whether `signature` over `message` is this key's; also false for an algorithm that it is not for.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.verifiers.iter().any(|(allowed, verifier)| *allowed == algorithm && verifier.verifies(message, signature))
    }

    fn read(jwk: &RawValue) -> Result<Key, Skipped> {
        let jwk = json::object(jwk.get().as_bytes()).map_err(|_| Skipped::new(None, "not a strict JSON object"))?;
        let kid = jwk.get("kid").and_then(Value::as_str);
        let skip = |reason| Skipped::new(kid, reason);
        if jwk.contains_key("kid") && kid.is_none() {
            return Err(skip("`kid` is not a string"));
        }
        let material = Material::from_jwk(&jwk).map_err(skip)?;
        let public = |algorithm| Ok((algorithm, Verifier::Public(material.parsed(algorithm)?)));
        let verifiers = algorithms(&jwk, &material).and_then(|list| list.into_iter().map(public).collect());
        Ok(Key {
            kid: kid.map(Into::into),
            thumbprint: material.thumbprint(),
            verifiers: verifiers.map_err(skip)?,
            liveness: Arc::default(),
        })
    }

    /// The same key for the same uses, so that verdicts which rest on one may rest on the other.
    fn is_same(&self, other: &Key) -> bool {
        self.kid == other.kid && self.thumbprint == other.thumbprint && self.algorithms().eq(other.algorithms())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.algorithms().collect();
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

/// The algorithms that `use`, `key_ops` and `alg` leave to a key.
fn algorithms(jwk: &Map<String, Value>, material: &Material) -> Result<Vec<Algorithm>, &'static str> {
    match jwk.get("use") {
        None => {}
        Some(Value::String(purpose)) if purpose == "sig" => {}
        Some(_) => return Err("`use` is not \"sig\""),
    }
    match jwk.get("key_ops") {
        None => {}
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {}
        Some(_) => return Err("`key_ops` has no \"verify\""),
    }
    match jwk.get("alg") {
        None => Ok(material.algorithms().to_vec()),
        // RFC 9864 names the curve instead of the family.
        Some(Value::String(name)) if name == "Ed25519" && material.algorithms() == [Algorithm::EdDSA] => {
            Ok(vec![Algorithm::EdDSA])
        }
        Some(Value::String(name)) => Algorithm::from_str(name)
            .ok()
            .filter(|algorithm| material.algorithms().contains(algorithm))
            .map(|algorithm| vec![algorithm])
            .ok_or("`alg` does not fit the key"),
        Some(_) => Err("`alg` is not a string"),
    }
}

/// The keys of one issuer.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
}

/// A key of a set that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub kid: Option<String>,
    pub reason: &'static str,
}

impl Skipped {
    fn new(kid: Option<&str>, reason: &'static str) -> Skipped {
        // Only a glimpse of a name that someone else chose.
        Skipped { kid: kid.map(|kid| kid.chars().take(64).collect()), reason }
    }
}

/// Why a whole set cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("the key set is longer than {SET_BYTES} bytes")]
    TooLong,
    #[error("the key set has more than {SET_KEYS} keys")]
    TooMany,
    #[error("not a JWK Set")]
    Malformed,
}

impl KeySet {
    /// Reads a JWK Set. A key that cannot be used does not disable the others.
    ///
    /// # Errors
    /// If it is not a JWK Set, or too large.
    pub fn parse(document: &[u8]) -> Result<(KeySet, Vec<Skipped>), KeySetError> {
        #[derive(Deserialize)]
        struct Document<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        if document.len() > SET_BYTES {
            return Err(KeySetError::TooLong);
        }
        // serde would take a list of values for the members of an object.
        if document.trim_ascii_start().first() != Some(&b'{') {
            return Err(KeySetError::Malformed);
        }
        let document: Document<'_> = serde_json::from_slice(document).map_err(|_| KeySetError::Malformed)?;
        if document.keys.len() > SET_KEYS {
            return Err(KeySetError::TooMany);
        }
        let (mut set, mut skipped) = (KeySet::default(), Vec::new());
        for jwk in document.keys {
            match Key::read(jwk) {
                Ok(key) if set.keys.iter().any(|known| known.is_same(&key)) => {}
                Ok(key) => set.keys.push(Arc::new(key)),
                Err(reason) => skipped.push(reason),
            }
        }
        Ok((set, skipped))
    }

    /// The one key of an issuer that shares a secret with us; it has no `kid`, and fits a token with any.
    pub fn shared(secret: &[u8], algorithms: &[Algorithm]) -> KeySet {
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
        let shared = |&algorithm| Some((algorithm, Verifier::shared(algorithm, secret)?));
        let verifiers = algorithms.iter().filter_map(shared).collect();
        let key = Key { kid: None, thumbprint, verifiers, liveness: Arc::default() };
        KeySet { keys: vec![Arc::new(key)] }
    }

    /// Takes the place of `old`: a key that stays keeps its identity, one that is gone is ended at once.
    pub fn replace(self, old: &KeySet) -> KeySet {
        let kept = |new: &Arc<Key>| old.keys.iter().find(|key| key.is_same(new)).cloned();
        let keys: Vec<_> = self.keys.into_iter().map(|key| kept(&key).unwrap_or(key)).collect();
        for key in &old.keys {
            if !keys.iter().any(|kept| Arc::ptr_eq(kept, key)) {
                key.liveness.end();
            }
        }
        KeySet { keys }
    }

    /// Ends every key.
    pub fn end(&self) {
        self.keys.iter().for_each(|key| key.liveness.end());
    }

    pub fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// The keys that a token with this `kid` can be signed with. Sets are small: a walk is faster than a hash.
    pub fn with_kid<'a>(&'a self, kid: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Key>> {
        self.keys.iter().filter(move |key| match (kid, key.kid()) {
            (None, _) => true,
            (Some(wanted), Some(kid)) => wanted == kid,
            // A key without a name is only there for tokens without one, unless it is the secret of a legacy issuer.
            (Some(_), None) => key.is_shared(),
        })
    }
}

/// Bytes of a JWK Set.
pub const SET_BYTES: usize = 1024 * 1024;
/// Keys of a JWK Set, usable or not.
const SET_KEYS: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::testing::{Pair, jwks};

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(jwks(keys).as_bytes()).unwrap().0
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    #[test]
    fn one_unreadable_key_does_not_disable_its_set() {
        let good = Pair::ed();
        let document = format!(
            r#"{{"keys":[7,{{"kid":"twice","kid":"twice"}},{},{}],"other":{{}}}}"#,
            json!({"kty": "oct", "k": "AAAA", "kid": "secret"}),
            good.jwk("good"),
        );
        let (set, skipped) = KeySet::parse(document.as_bytes()).unwrap();
        assert_eq!(set.keys().len(), 1);
        assert_eq!(skipped.len(), 3);
        assert_eq!(skipped[2].kid.as_deref(), Some("secret"));
    }

    #[test]
    fn what_is_not_a_set_or_too_large_is_refused() {
        for text in ["", "[]", "[[]]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[]}x"#] {
            assert_eq!(KeySet::parse(text.as_bytes()).unwrap_err(), KeySetError::Malformed, "{text}");
        }
        let long = format!(r#"{{"keys":[]}}{}"#, " ".repeat(SET_BYTES));
        assert_eq!(KeySet::parse(long.as_bytes()).unwrap_err(), KeySetError::TooLong);
        let many = jwks(&vec![json!({}); SET_KEYS + 1]);
        assert_eq!(KeySet::parse(many.as_bytes()).unwrap_err(), KeySetError::TooMany);
    }

    #[test]
    fn use_key_ops_and_alg_limit_a_key() {
        let (ed, ec) = (Pair::ed().jwk("a"), Pair::ec256().jwk("b"));
        for (jwk, usable) in [
            (with(ed.clone(), "use", json!("sig")), true),
            (with(ed.clone(), "use", json!("enc")), false),
            (with(ed.clone(), "use", json!(["sig"])), false),
            (with(ed.clone(), "key_ops", json!(["verify"])), true),
            (with(ed.clone(), "key_ops", json!(["encrypt"])), false),
            (with(ed.clone(), "key_ops", json!("verify")), false),
            (with(ed.clone(), "alg", json!("EdDSA")), true),
            (with(ed.clone(), "alg", json!("Ed25519")), true),
            (with(ed.clone(), "alg", json!("ES256")), false),
            (with(ed.clone(), "alg", json!("HS256")), false),
            (with(ed.clone(), "alg", json!(null)), false),
            (with(ec.clone(), "alg", json!("ES256")), true),
            (with(ec.clone(), "alg", json!("ES384")), false),
            (with(ec, "alg", json!("Ed25519")), false),
            (with(ed, "kid", json!(7)), false),
        ] {
            let (set, skipped) = KeySet::parse(jwks(std::slice::from_ref(&jwk)).as_bytes()).unwrap();
            assert_eq!((set.keys().len() == 1, skipped.is_empty()), (usable, usable), "{jwk}");
        }
    }

    #[test]
    fn a_key_that_stays_keeps_its_identity_and_one_that_is_gone_is_ended() {
        let (stays, goes) = (Pair::ed().jwk("stays"), Pair::ed().jwk("goes"));
        let old = set(&[stays.clone(), goes]);
        let new = set(&[stays, Pair::ed().jwk("comes")]).replace(&old);
        assert!(Arc::ptr_eq(&old.keys()[0], &new.keys()[0]));
        assert!(old.keys()[0].liveness().is_alive());
        assert!(!old.keys()[1].liveness().is_alive());
        assert!(new.keys().iter().all(|key| key.liveness().is_alive()));
    }

    #[test]
    fn the_same_kid_with_other_material_or_other_uses_is_another_key() {
        let pair = Pair::ed();
        let old = set(&[pair.jwk("a")]);
        let narrowed = set(&[with(Pair::rsa().jwk("a"), "alg", json!("RS256"))]).replace(&old);
        assert!(!old.keys()[0].liveness().is_alive());
        assert!(narrowed.keys()[0].liveness().is_alive());
    }

    #[test]
    fn a_key_is_named_by_its_kid_only() {
        let mut unnamed = Pair::ed().jwk("x");
        unnamed.as_object_mut().unwrap().remove("kid");
        let set = set(&[Pair::ed().jwk("a"), Pair::ed().jwk("b"), unnamed]);
        assert_eq!(set.with_kid(Some("a")).count(), 1);
        assert_eq!(set.with_kid(Some("A")).count(), 0);
        assert_eq!(set.with_kid(None).count(), 3);
    }

    #[test]
    fn a_shared_secret_is_not_printed() {
        let set = KeySet::shared(b"a secret of thirty-two characters", &[Algorithm::HS256]);
        let shown = format!("{set:?}");
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
