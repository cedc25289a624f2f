//! Token digest → verdict: bounded in bytes, each entry with its own expiry; refusals apart.
//!
//! The cache's own expiry only frees memory. Whether a verdict may be used is asked of the verdict on every hit,
//! against `now` and against the liveness of its key, so that an entry written late cannot revive anything.

use std::{
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
    rand,
};
use moka::{Expiry, notification::RemovalCause, sync::Cache};
use smallvec::SmallVec;

use super::{Refusal, verdict::Verdict};
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

    /// The key of a refusal that only holds at one issuer.
    pub fn at_issuer(self, issuer: usize) -> TokenDigest {
        let tweaked = u128::from_le_bytes(self.0) ^ (issuer as u128 + 1);
        TokenDigest(tweaked.to_le_bytes())
    }
}

/// The validated and the refused tokens of one generation.
pub struct VerdictCache {
    key: LessSafeKey,
    verdicts: Cache<TokenDigest, Arc<Verdict>, DigestHasher>,
    refusals: Cache<TokenDigest, Refused, DigestHasher>,
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
        let evictions = metrics.evictions.clone();
        let negative_evictions = negative_metrics.evictions.clone();
        let verdicts = Cache::builder()
            .name("verdicts")
            .max_capacity(settings.max_bytes)
            .weigher(move |_: &TokenDigest, verdict: &Arc<Verdict>| {
                u32::try_from(verdict.weight(profile_bytes)).unwrap_or(u32::MAX)
            })
            .expire_after(ByVerdict)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    evictions.inc();
                }
            })
            .build_with_hasher(DigestHasher::default());
        let refusals = Cache::builder()
            .name("refusals")
            .max_capacity(settings.negative_max_bytes)
            .weigher(|_, _| REFUSAL_WEIGHT)
            .time_to_live(settings.negative_ttl)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    negative_evictions.inc();
                }
            })
            .build_with_hasher(DigestHasher::default());
        Ok(VerdictCache { key, verdicts, refusals, negative_ttl: settings.negative_ttl, metrics, negative_metrics })
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
        let found = self.verdicts.get(&digest);
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
        self.verdicts.get(&digest)
    }

    /// A refusal that was found a moment ago.
    pub fn refused(&self, digest: TokenDigest, now: UnixTime) -> Option<Refusal> {
        let found = self.refusals.get(&digest).filter(|refused| now < refused.until);
        if found.is_some() {
            self.negative_metrics.hit.inc()
        } else {
            self.negative_metrics.miss.inc()
        }
        found.map(|refused| refused.refusal)
    }

    pub fn keep(&self, digest: TokenDigest, verdict: Arc<Verdict>) {
        self.verdicts.insert(digest, verdict);
    }

    /// For `ttl`, but never longer than the configured `negative_ttl`.
    pub fn keep_refusal(&self, digest: TokenDigest, refusal: Refusal, now: UnixTime, ttl: Duration) {
        let until = now.plus(ttl.min(self.negative_ttl).as_secs());
        self.refusals.insert(digest, Refused { refusal, until });
    }

    pub fn forget(&self, digest: TokenDigest) {
        self.verdicts.invalidate(&digest);
    }

    /// Look-ups in both caches since the start, and how many of them found something.
    pub fn lookups(&self) -> [(u64, u64); 2] {
        [&self.metrics, &self.negative_metrics].map(|of| (of.hit.get() + of.miss.get(), of.hit.get()))
    }

    /// Entries and bytes of both caches, after the work that moka puts off.
    pub fn snapshot(&self) -> [CacheSnapshot<'static>; 2] {
        self.verdicts.run_pending_tasks();
        self.refusals.run_pending_tasks();
        [
            CacheSnapshot {
                name: VERDICTS,
                entries: self.verdicts.entry_count(),
                bytes: self.verdicts.weighted_size(),
                max_bytes: self.verdicts.policy().max_capacity().unwrap_or_default(),
            },
            CacheSnapshot {
                name: REFUSALS,
                entries: self.refusals.entry_count(),
                bytes: self.refusals.weighted_size(),
                max_bytes: self.refusals.policy().max_capacity().unwrap_or_default(),
            },
        ]
    }
}

/// Lets an entry go when its verdict has to be found anew.
struct ByVerdict;

impl Expiry<TokenDigest, Arc<Verdict>> for ByVerdict {
    fn expire_after_create(&self, _: &TokenDigest, verdict: &Arc<Verdict>, _: Instant) -> Option<Duration> {
        Some(verdict.created.until(verdict.fresh_until))
    }

    /// What takes the place of another has its own time.
    fn expire_after_update(
        &self,
        _: &TokenDigest,
        verdict: &Arc<Verdict>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(verdict.created.until(verdict.fresh_until))
    }
}

/// The key is uniformly distributed and unknown to the outside: eight bytes of it are the hash.
#[derive(Default)]
pub struct FirstEightBytes(u64);

type DigestHasher = BuildHasherDefault<FirstEightBytes>;

impl Hasher for FirstEightBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    /// The length of the array, which `Hash` writes first, says nothing.
    fn write_usize(&mut self, _: usize) {}
}

/// The `cache` label.
pub const VERDICTS: &str = "verdicts";
pub const REFUSALS: &str = "refusals";

/// A refusal takes this many bytes, with what the cache itself needs for it.
const REFUSAL_WEIGHT: u32 = 256;
