//! What was found out about one token: facts of the token alone. What depends on the route is decided on every hit.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use serde_json::Value;
use smallvec::SmallVec;

use super::{
    sliding::{Prolonged, Slides},
    successor::Succession,
};
use crate::{
    jose::keys::Liveness,
    json::{Member, Members},
    model::UnixTime,
    session::{SessionId, Watched},
};

/// A validated token.
#[derive(Debug)]
pub struct Verdict {
    /// Index into the issuers of the configuration, or [`crate::config::LOCAL_ISSUER`].
    pub issuer: usize,
    /// The token's own end (`exp` and the leeway).
    pub valid_until: UnixTime,
    /// When this verdict must be found anew: never after `valid_until`, sooner after an introspection.
    pub fresh_until: UnixTime,
    pub audiences: Arc<[Box<str>]>,
    /// Separated by spaces, as in the token.
    pub scope: Arc<str>,
    pub client: Option<Arc<str>>,
    pub subject: Option<Box<str>>,
    /// One for each name of the [`ClaimPlan`].
    pub claims: Box<[Option<Claim>]>,
    /// Who the token stands for: the key of rate limits.
    pub principal: u64,
    /// Ended when the key that signed the token is no longer the issuer's.
    pub liveness: Option<Arc<Liveness>>,
    /// Ended together with the session that the token belongs to.
    pub session: Option<Arc<Watched>>,
    /// Where the token's use moves its end.
    pub slides: Option<Arc<Slides>>,
    /// Where its use begins the next token.
    pub succession: Option<Arc<Succession>>,
    /// One for each credential profile that makes something of the token; filled at first use.
    pub prepared: SmallVec<[Slot; 2]>,
}

/// A claim as policies and headers need it: its text, or the texts of its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    One(Box<str>),
    Many(Box<[Box<str>]>),
}

/// Ready-made headers of one credential profile. Their bytes lie side by side, so that a hit among many tokens touches
/// few places in memory.
#[derive(Debug)]
pub struct Prepared {
    /// `Authorization` for the upstream; `None` where the profile has none or takes the client's own.
    pub credential: Option<HeaderValue>,
    pub identity: SmallVec<[(HeaderName, HeaderValue); 1]>,
    /// From here on a new one is made.
    pub renew_at: UnixTime,
    /// The end of the credential.
    pub expires: UnixTime,
    /// When one was last made since the upstream had refused the one before; 0: never.
    pub forced: UnixTime,
}

/// The place of what one credential profile makes. One that was never filled costs nothing when it goes, as most do not
/// where every token is new.
#[derive(Debug, Default)]
pub struct Slot(OnceLock<ArcSwap<Prepared>>);

impl Slot {
    pub fn load(&self) -> Option<Arc<Prepared>> {
        self.0.get().map(ArcSwap::load_full)
    }

    pub fn store(&self, made: Arc<Prepared>) {
        match self.0.get() {
            Some(filled) => filled.store(made),
            // What somebody else has made at this moment is as good.
            None => drop(self.0.set(ArcSwap::new(made))),
        }
    }

    /// Stores `made` in the place of `current`.
    ///
    /// # Errors
    /// What somebody else has stored there since.
    pub fn replace(&self, current: Option<&Arc<Prepared>>, made: Arc<Prepared>) -> Result<(), Arc<Prepared>> {
        let Some(current) = current else {
            return self.0.set(ArcSwap::new(made)).or_else(|_| self.load().map_or(Ok(()), Err));
        };
        let Some(filled) = self.0.get() else { return Ok(()) };
        let before = filled.compare_and_swap(current, made);
        if Arc::ptr_eq(&before, current) { Ok(()) } else { Err(before.clone()) }
    }
}

impl Verdict {
    /// Whether the verdict may be used at `now`.
    pub fn standing(&self, now: UnixTime) -> Standing {
        if !self.is_alive() {
            Standing::Ended
        } else if now >= self.valid_until {
            Standing::Expired
        } else if now >= self.fresh_until || !self.is_certain() {
            Standing::Stale
        } else {
            Standing::Good
        }
    }

    /// Whether the key and the session that the verdict rests on are still there.
    pub fn is_alive(&self) -> bool {
        self.liveness.as_ref().is_none_or(|key| key.is_alive())
            && self.session.as_ref().is_none_or(|session| session.is_alive())
            && self.succession.as_ref().is_none_or(|succession| succession.is_alive())
    }

    /// Whether nothing may have become of its session that was not heard here.
    fn is_certain(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.is_certain())
    }

    /// The same of a token whose end has moved.
    pub(super) fn prolonged(&self, prolonged: Prolonged) -> Verdict {
        Verdict {
            valid_until: prolonged.until,
            fresh_until: prolonged.until,
            slides: Some(Arc::new(Slides::new(prolonged))),
            ..self.anew()
        }
    }

    /// The same with nothing made of it: what was made to end with the token is made anew.
    pub(super) fn anew(&self) -> Verdict {
        Verdict {
            issuer: self.issuer,
            valid_until: self.valid_until,
            fresh_until: self.fresh_until,
            audiences: self.audiences.clone(),
            scope: self.scope.clone(),
            client: self.client.clone(),
            subject: self.subject.clone(),
            claims: self.claims.clone(),
            principal: self.principal,
            liveness: self.liveness.clone(),
            session: self.session.clone(),
            slides: self.slides.clone(),
            succession: self.succession.clone(),
            prepared: self.prepared.iter().map(|_| Slot::default()).collect(),
        }
    }

    pub fn has_audience(&self, wanted: &[String]) -> bool {
        self.audiences.iter().any(|audience| wanted.iter().any(|wanted| **wanted == **audience))
    }

    pub fn has_scope(&self, wanted: &str) -> bool {
        self.scope.as_bytes().split(|&byte| byte == b' ').any(|scope| scope == wanted.as_bytes())
    }

    /// Bytes that it takes beside its entry in the cache, all profiles reserved at `profile_bytes` together.
    pub fn weight(&self, profile_bytes: usize) -> usize {
        let texts = |texts: &[Box<str>]| texts.iter().map(|text| text.len() + size_of::<Box<str>>()).sum::<usize>();
        let claims: usize = self
            .claims
            .iter()
            .map(|claim| {
                size_of::<Option<Claim>>()
                    + match claim {
                        None => 0,
                        Some(Claim::One(text)) => text.len(),
                        Some(Claim::Many(many)) => texts(many),
                    }
            })
            .sum();
        size_of::<Verdict>()
            + SHARED
            + texts(&self.audiences)
            + self.scope.len()
            + self.client.as_deref().map_or(0, str::len)
            + self.subject.as_deref().map_or(0, str::len)
            + claims
            + if self.session.is_some() { SESSION_OVERHEAD } else { 0 }
            + self.slides.as_ref().map_or(0, |_| size_of::<Slides>() + SHARED)
            + self.succession.as_ref().map_or(0, |succession| size_of::<Succession>() + SHARED + succession.weight())
            + if self.prepared.spilled() { self.prepared.len() * size_of::<Slot>() } else { 0 }
            + profile_bytes
    }
}

/// The answer of [`Verdict::standing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// Still the token's time, but the verdict itself must be found anew.
    Stale,
    Expired,
    /// The key is gone, or the session.
    Ended,
}

/// The claims that policies and headers of this configuration name; nothing else of a token is kept.
#[derive(Debug, Default)]
pub struct ClaimPlan {
    names: Vec<String>,
}

impl ClaimPlan {
    pub fn new(names: impl IntoIterator<Item = String>) -> ClaimPlan {
        let mut plan = ClaimPlan::default();
        for name in names {
            if !plan.names.contains(&name) {
                plan.names.push(name);
            }
        }
        plan
    }

    /// The place of `name` in [`Verdict::claims`].
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn take(&self, claims: &Members) -> Box<[Option<Claim>]> {
        self.names.iter().map(|name| claims.get(name).and_then(Claim::of)).collect()
    }
}

impl Claim {
    /// `None` for null and for objects: neither a policy nor a header can mean those.
    fn of(claim: Member<'_>) -> Option<Claim> {
        match claim {
            Member::Text(text) => Some(Claim::One(text.into())),
            Member::Number(number) => Some(Claim::One(number.to_string().into())),
            Member::Other(Value::Array(items)) => Some(Claim::Many(items.iter().filter_map(scalar).collect())),
            Member::Other(other) => scalar(other).map(Claim::One),
        }
    }

    pub fn is_any_of(&self, wanted: &[String]) -> bool {
        let among = |text: &str| wanted.iter().any(|wanted| wanted == text);
        match self {
            Claim::One(text) => among(text),
            Claim::Many(texts) => texts.iter().any(|text| among(text)),
        }
    }

    /// The value of a header: items joined by commas. `None` if a byte of it may not stand in a header, or if the
    /// upstream would read another claim: it trims blanks at the ends, and an item with a comma would be two.
    pub fn header_value(&self) -> Option<HeaderValue> {
        let kept = |text: &str| text.trim_matches([' ', '\t']) == text;
        match self {
            Claim::One(text) if kept(text) => HeaderValue::from_str(text).ok(),
            Claim::Many(texts) if texts.iter().all(|text| kept(text) && !text.contains(',')) => {
                HeaderValue::from_str(&texts.join(",")).ok()
            }
            Claim::One(_) | Claim::Many(_) => None,
        }
    }

    pub fn to_json(&self) -> Value {
        match self {
            Claim::One(text) => Value::from(&**text),
            Claim::Many(texts) => texts.iter().map(|text| Value::from(&**text)).collect(),
        }
    }
}

fn scalar(value: &Value) -> Option<Box<str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(flag) => Some(if *flag { "true" } else { "false" }.into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The counts of an `Arc`.
const SHARED: usize = 16;

/// What is watched of a session and its place in the table of those: shared by the tokens of a session, counted for each.
const SESSION_OVERHEAD: usize = size_of::<Watched>() + SHARED + size_of::<(SessionId, usize)>() * 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn made(renew_at: u64) -> Arc<Prepared> {
        let times = UnixTime(renew_at);
        let identity = SmallVec::new();
        Arc::new(Prepared { credential: None, identity, renew_at: times, expires: times, forced: times })
    }

    #[test]
    fn of_two_that_replace_the_same_the_first_stays() {
        let slot = Slot::default();
        assert!(slot.load().is_none());
        assert!(slot.replace(None, made(1)).is_ok());
        assert_eq!(slot.replace(None, made(2)).unwrap_err().renew_at, UnixTime(1));
        let current = slot.load();
        assert!(slot.replace(current.as_ref(), made(3)).is_ok());
        assert_eq!(slot.replace(current.as_ref(), made(4)).unwrap_err().renew_at, UnixTime(3));
        slot.store(made(5));
        assert_eq!(slot.load().map(|made| made.renew_at), Some(UnixTime(5)));
    }
}
