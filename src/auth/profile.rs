//! Credential profiles: what an upstream receives in place of the client's token. Routes with an equal credential and
//! equal identity headers share one, and each cached token holds the ready-made headers of each profile.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::verdict::{ClaimPlan, Prepared, Verdict};
use crate::{
    config::{Credential, LOCAL_ISSUER, Upstream},
    jose::mint::Minter,
    model::UnixTime,
    refresh::FORCED_EVERY,
};

/// The profiles of a configuration, and which of them an upstream uses.
#[derive(Debug)]
pub struct Profiles {
    profiles: Vec<Profile>,
    /// By profile, where what it makes has its place in a verdict; `None`: it makes nothing.
    slots: Vec<Option<usize>>,
    of_upstream: Vec<usize>,
}

#[derive(Debug, PartialEq)]
struct Profile {
    credential: Credential,
    /// Header, claim name, place in the verdict.
    identity: Vec<(HeaderName, String, usize)>,
    /// The same for what the internal JWT says of our own tokens besides.
    intent: Vec<(&'static str, usize)>,
}

impl Profiles {
    pub fn new(upstreams: &[Upstream], plan: &ClaimPlan) -> Profiles {
        let mut profiles: Vec<Profile> = Vec::new();
        let of_upstream = upstreams
            .iter()
            .map(|upstream| {
                let identity = upstream
                    .identity_headers
                    .iter()
                    .map(|(header, claim)| (header.clone(), claim.clone(), plan.slot(claim).unwrap_or(usize::MAX)))
                    .collect();
                let intent = INTENT.iter().filter_map(|name| Some((*name, plan.slot(name)?))).collect();
                let profile = Profile { credential: upstream.credential.clone(), identity, intent };
                profiles.iter().position(|known| *known == profile).unwrap_or_else(|| {
                    profiles.push(profile);
                    profiles.len() - 1
                })
            })
            .collect();
        let mut next = 0..;
        let slots = profiles.iter().map(|profile| if profile.is_bare() { None } else { next.next() }).collect();
        Profiles { profiles, slots, of_upstream }
    }

    pub fn of(&self, upstream: usize) -> usize {
        self.of_upstream[upstream]
    }

    /// How many places a verdict must have.
    pub fn slots(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Bytes to reserve for one token's headers in every profile.
    pub fn reserved_bytes(&self) -> usize {
        self.profiles.iter().map(Profile::reserved_bytes).sum()
    }

    /// The headers of `profile` for the holder of `verdict`: made once, and again at 80 % of the credential's life, or when
    /// it has less than `need` left.
    ///
    /// # Errors
    /// When the signer fails, which only a defect of the key can bring about.
    pub fn prepare(
        &self,
        profile: usize,
        verdict: &Verdict,
        signer: Option<&Minter>,
        need: Duration,
        now: UnixTime,
    ) -> Result<Option<Arc<Prepared>>, MintFailed> {
        let Some(slot) = self.slots[profile] else { return Ok(None) };
        let slot = &verdict.prepared[slot];
        let forced = match slot.load() {
            Some(ready) if ready.is_good(need, now) => return Ok(Some(ready)),
            Some(last) => last.forced,
            None => NEVER,
        };
        // Two requests may make one each at the same moment; both are good, and the later one stays.
        let made = Arc::new(self.profiles[profile].make(verdict, signer, now, forced)?);
        slot.store(made.clone());
        Ok(Some(made))
    }

    /// Other headers of `profile` than `seen`, which the upstream has refused: those that somebody else has made since, or
    /// new ones.
    ///
    /// # Errors
    /// As [`Profiles::prepare`].
    pub fn prepare_another(
        &self,
        profile: usize,
        verdict: &Verdict,
        signer: Option<&Minter>,
        seen: &Arc<Prepared>,
        need: Duration,
        now: UnixTime,
    ) -> Result<Another, MintFailed> {
        let Some(slot) = self.slots[profile] else { return Ok(Another::TooSoon) };
        let slot = &verdict.prepared[slot];
        let current = slot.load();
        if let Some(other) = current.as_ref().filter(|other| !Arc::ptr_eq(other, seen) && other.is_good(need, now)) {
            return Ok(Another::There(other.clone()));
        }
        let forced = current.as_ref().map_or(seen.forced, |current| current.forced);
        if !may_force(forced, now) {
            return Ok(Another::TooSoon);
        }
        let made = Arc::new(self.profiles[profile].make(verdict, signer, now, now)?);
        // Of several requests that were refused at the same moment, one has it made.
        Ok(match slot.replace(current.as_ref(), made.clone()) {
            Ok(()) => Another::Made(made),
            Err(other) => Another::There(other),
        })
    }

    /// The fixed credential of `profile`, where it is not the token's.
    pub fn fixed(&self, profile: usize) -> Option<&HeaderValue> {
        match &self.profiles[profile].credential {
            Credential::Basic(value) => Some(value),
            Credential::InternalJwt { .. }
            | Credential::Original
            | Credential::AuthorityToken
            | Credential::Service(_)
            | Credential::None => None,
        }
    }

    /// Whether the upstream receives the client's own token.
    pub fn passes_original(&self, profile: usize) -> bool {
        self.profiles[profile].credential == Credential::Original
    }

    /// Whether the upstream receives the token of the authority outside.
    pub fn shows_authority_token(&self, profile: usize) -> bool {
        self.profiles[profile].credential == Credential::AuthorityToken
    }
}

/// What there is in place of a credential that the upstream has refused.
pub enum Another {
    Made(Arc<Prepared>),
    /// Somebody else has had it made.
    There(Arc<Prepared>),
    /// The last one was made a moment ago, for the same reason.
    TooSoon,
}

/// Whether a credential may be renewed at `now` only since an upstream has refused it, when that was last done at `last`: an
/// upstream that refuses everything must not have us renew without end.
fn may_force(last: UnixTime, now: UnixTime) -> bool {
    now.0.abs_diff(last.0) >= FORCED_EVERY
}

impl Prepared {
    fn is_good(&self, need: Duration, now: UnixTime) -> bool {
        now < self.renew_at && now.until(self.expires) >= need
    }
}

impl Profile {
    /// Nothing of it depends on the token.
    fn is_bare(&self) -> bool {
        self.identity.is_empty() && !matches!(self.credential, Credential::InternalJwt { .. })
    }

    fn reserved_bytes(&self) -> usize {
        let credential = if matches!(self.credential, Credential::InternalJwt { .. }) { INTERNAL_JWT_BYTES } else { 0 };
        let identity = self.identity.len() * IDENTITY_HEADER_BYTES;
        if self.is_bare() { 0 } else { size_of::<Prepared>() + credential + identity }
    }

    fn make(
        &self,
        verdict: &Verdict,
        signer: Option<&Minter>,
        now: UnixTime,
        forced: UnixTime,
    ) -> Result<Prepared, MintFailed> {
        let identity = self
            .identity
            .iter()
            .filter_map(|(header, _, slot)| {
                let value = verdict.claims.get(*slot)?.as_ref()?.header_value()?;
                Some((header.clone(), value))
            })
            .collect();
        let Credential::InternalJwt { audience } = &self.credential else {
            let expires = verdict.valid_until;
            return Ok(packed(Prepared { credential: None, identity, renew_at: expires, expires, forced }));
        };
        let signer = signer.ok_or(MintFailed)?;
        let minted = signer.mint(audience, &self.claims(verdict), now, verdict.valid_until).map_err(|_| MintFailed)?;
        let mut credential = HeaderValue::from_str(&format!("Bearer {}", minted.token)).map_err(|_| MintFailed)?;
        credential.set_sensitive(true);
        let life = minted.expires.0.saturating_sub(now.0);
        let renew_at = now.plus((life * 4 / 5).max(1));
        Ok(packed(Prepared { credential: Some(credential), identity, renew_at, expires: minted.expires, forced }))
    }

    /// The subject, the client, the scope, the claims that the identity headers name, and the intent of a grant of ours.
    fn claims(&self, verdict: &Verdict) -> Map<String, Value> {
        let named = self.identity.iter().map(|(_, name, slot)| (name.as_str(), *slot));
        let ours = verdict.issuer == LOCAL_ISSUER;
        let intent = self.intent.iter().copied().filter(|_| ours);
        let mut claims = Map::new();
        for (name, slot) in named.chain(intent) {
            if let Some(Some(claim)) = verdict.claims.get(slot) {
                claims.insert(name.to_owned(), claim.to_json());
            }
        }
        if let Some(subject) = &verdict.subject {
            claims.insert("sub".into(), (**subject).into());
        }
        if let Some(client) = &verdict.client {
            claims.insert("client_id".into(), (**client).into());
        }
        if !verdict.scope.is_empty() {
            claims.insert("scope".into(), (*verdict.scope).into());
        }
        claims
    }
}

/// The same with all values in one piece of memory.
fn packed(mut prepared: Prepared) -> Prepared {
    let values = || prepared.credential.iter().chain(prepared.identity.iter().map(|(_, value)| value));
    let mut all = Vec::with_capacity(values().map(HeaderValue::len).sum());
    values().for_each(|value| all.extend_from_slice(value.as_bytes()));
    let mut all = beside_their_count(&all);
    let values = prepared.credential.iter_mut().chain(prepared.identity.iter_mut().map(|(_, value)| value));
    for value in values {
        let sensitive = value.is_sensitive();
        if let Ok(mut same) = HeaderValue::from_maybe_shared(all.split_to(value.len())) {
            same.set_sensitive(sensitive);
            *value = same;
        }
    }
    prepared
}

/// Shared bytes, and the count of those who share them in the same piece of memory: each use of a header counts, and would
/// otherwise wait for one place of memory more.
fn beside_their_count(bytes: &[u8]) -> Bytes {
    // With the count, each is a size in which memory is handed out.
    macro_rules! in_one_of {
        ($($size:literal)*) => {
            match bytes.len() {
                $(..=$size => Beside::<$size>::of(bytes),)*
                _ => Bytes::copy_from_slice(bytes),
            }
        };
    }
    in_one_of!(24 56 120 184 248 312 376 440 504 632 760 888 1016)
}

/// Bytes that need no memory of their own where their owner lies.
struct Beside<const SIZE: usize>([u8; SIZE]);

impl<const SIZE: usize> Beside<SIZE> {
    /// `bytes` are no more than `SIZE`.
    fn of(bytes: &[u8]) -> Bytes {
        let mut all = [0; SIZE];
        all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Bytes::from_owner(Beside(all)).slice(..bytes.len().min(SIZE))
    }
}

impl<const SIZE: usize> AsRef<[u8]> for Beside<SIZE> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

const NEVER: UnixTime = UnixTime(0);

/// The internal JWT could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the internal token could not be signed")]
pub struct MintFailed;

/// Room for an internal JWT signed with ES256 and an ordinary set of claims.
const INTERNAL_JWT_BYTES: usize = 640;

/// Room for one identity header.
const IDENTITY_HEADER_BYTES: usize = 128;

/// What a grant is for: claims of our own tokens that every upstream with an internal JWT is told.
pub const INTENT: [&str; 2] = ["intentid", "itype"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beside_their_count_are_the_same_bytes() {
        for length in [0, 1, 24, 25, 56, 57, 500, 504, 505, 1016, 1017, 5000] {
            let bytes: Vec<u8> = (0..length).map(|number: usize| (number % 251) as u8).collect();
            let mut all = beside_their_count(&bytes);
            let first = all.split_to(length / 3);
            assert_eq!([first.clone(), all.clone()].concat(), bytes, "{length}");
        }
    }
}
