//! Token digest → verdict: bounded in bytes; refusals apart.
//!
//! What is over is swept out now and then, which only frees memory. Whether a verdict may be used is asked of the verdict on
//! every hit, against `now` and against the liveness of its key, so that an entry written late cannot revive anything.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
    rand,
};
use smallvec::SmallVec;

use super::{Refusal, bounded::Bounded, verdict::Verdict};
use crate::{
    config,
    model::UnixTime,
    telemetry::metrics::{CacheMetrics, CacheSnapshot},
};

/// The key of a token: GMAC over the whole token, under a key of this process.
///
/// GHASH is a universal hash (NIST SP 800-38D): for whoever knows neither key nor digests, two tokens that he chooses
/// share a digest with a probability of about 2^-121 (57 blocks of a 900-byte token over 2^128). Digests must therefore
/// never leave the process, not even in a log; as a MAC they would be worthless under the one nonce used here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 16]);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

impl TokenDigest {
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    #[cfg(test)]
    pub(super) fn of(bits: u128) -> TokenDigest {
        TokenDigest(bits.to_le_bytes())
    }

    /// The key of a refusal that only holds at one issuer.
    pub fn at_issuer(self, issuer: usize) -> TokenDigest {
        let tweaked = u128::from_le_bytes(self.0) ^ (issuer as u128 + 1);
        TokenDigest(tweaked.to_le_bytes())
    }
}

/// The validated and the refused tokens of one generation.
pub struct VerdictCache {
    key: LessSafeKey,
    verdicts: Bounded<Arc<Verdict>>,
    refusals: Bounded<Refused>,
    negative_ttl: Duration,
    metrics: CacheMetrics,
    negative_metrics: CacheMetrics,
}

#[derive(Clone, Copy)]
struct Refused {
    refusal: Refusal,
    until: UnixTime,
}

impl VerdictCache {
    /// `profile_bytes`: what an entry may grow by once its headers are made (see [`Verdict::weight`]).
    pub fn new(
        settings: &config::Cache,
        profile_bytes: usize,
        metrics: CacheMetrics,
        negative_metrics: CacheMetrics,
    ) -> Result<VerdictCache, Unspecified> {
        let mut key = [0; 16];
        rand::fill(&mut key)?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
        let weight = move |verdict: &Arc<Verdict>| verdict.weight(profile_bytes);
        let refusal_weight = |_: &Refused| size_of::<Refused>();
        Ok(VerdictCache {
            key,
            verdicts: Bounded::new(
                settings.max_bytes,
                weight,
                |verdict| verdict.fresh_until,
                metrics.evictions.clone(),
            ),
            refusals: Bounded::new(
                settings.negative_max_bytes,
                refusal_weight,
                |refused| refused.until,
                negative_metrics.evictions.clone(),
            ),
            negative_ttl: settings.negative_ttl,
            metrics,
            negative_metrics,
        })
    }

    /// # Errors
    /// Never for tokens of a length that a header can have.
    pub fn digest(&self, token: &[u8]) -> Result<TokenDigest, Unspecified> {
        // One nonce for all: equal tokens must have equal digests (see [`TokenDigest`]).
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(token), &mut [])?;
        tag.as_ref().try_into().map(TokenDigest).map_err(|_| Unspecified)
    }

    /// The key of HTTP Basic credentials for `client`; never that of a token, since it is made under another nonce.
    ///
    /// # Errors
    /// Never for credentials of a length that a header can have.
    pub fn digest_basic(&self, client: &str, credentials: &[u8]) -> Result<TokenDigest, Unspecified> {
        // No id and no header holds a NUL, so each pair has one spelling.
        let both: SmallVec<[u8; 256]> = client.bytes().chain([0]).chain(credentials.iter().copied()).collect();
        let nonce = Nonce::assume_unique_for_key([1; 12]);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(&both[..]), &mut [])?;
        tag.as_ref().try_into().map(TokenDigest).map_err(|_| Unspecified)
    }

    pub fn find(&self, digest: TokenDigest) -> Option<Arc<Verdict>> {
        let found = self.verdicts.find(digest);
        if found.is_some() {
            self.metrics.hit.inc()
        } else {
            self.metrics.miss.inc()
        }
        found
    }

    /// Counts one that was not found, and waits for what somebody else has begun to find out.
    pub fn coalesced(&self) {
        self.metrics.coalesced.inc();
    }

    /// The same, uncounted.
    pub fn peek(&self, digest: TokenDigest) -> Option<Arc<Verdict>> {
        self.verdicts.find(digest)
    }

    /// A refusal that was found a moment ago.
    pub fn refused(&self, digest: TokenDigest, now: UnixTime) -> Option<Refusal> {
        let found = self.refusals.find(digest).filter(|refused| now < refused.until);
        if found.is_some() {
            self.negative_metrics.hit.inc()
        } else {
            self.negative_metrics.miss.inc()
        }
        found.map(|refused| refused.refusal)
    }

    pub fn keep(&self, digest: TokenDigest, verdict: Arc<Verdict>) {
        self.verdicts.keep(digest, verdict);
    }

    /// For `ttl`, but never longer than the configured `negative_ttl`.
    pub fn keep_refusal(&self, digest: TokenDigest, refusal: Refusal, now: UnixTime, ttl: Duration) {
        let until = now.plus(ttl.min(self.negative_ttl).as_secs());
        self.refusals.keep(digest, Refused { refusal, until });
    }

    pub fn forget(&self, digest: TokenDigest) {
        self.verdicts.forget(digest);
    }

    /// Lets go of what is over: to be called now and then, since nothing but a want of room does so otherwise.
    pub fn sweep(&self, now: UnixTime) {
        self.verdicts.sweep(now);
        self.refusals.sweep(now);
    }

    /// Look-ups in both caches since the start, and how many of them found something.
    pub fn lookups(&self) -> [(u64, u64); 2] {
        [&self.metrics, &self.negative_metrics].map(|of| (of.hit.get() + of.miss.get(), of.hit.get()))
    }

    /// Entries and bytes of both caches.
    pub fn snapshot(&self) -> [CacheSnapshot<'static>; 2] {
        [self.verdicts.snapshot(VERDICTS), self.refusals.snapshot(REFUSALS)]
    }
}

/// The `cache` label.
pub const VERDICTS: &str = "verdicts";
pub const REFUSALS: &str = "refusals";
