//! Wrong guesses, counted before anything expensive is done for the next one.
//!
//! Three counts: of one name from one address (the pair), of an address, of a name. An address from which a name has
//! got in before answers only for its own pair: whoever guesses for a name from elsewhere, or for other names from the
//! same address, slows strangers and never keeps a user out where they are known.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use moka::sync::Cache;

use super::remembered::Keyed;
use crate::{
    config,
    model::Context,
    rate::{Key, Limiter, RetryAfter},
};

/// The counts for one kind of names.
pub(super) struct Throttle {
    settings: config::Throttle,
    start: Instant,
    pairs: Limiter,
    addresses: Limiter,
    names: Limiter,
    /// Pairs that got in.
    known: Cache<Key, ()>,
}

/// Whose secret is guessed, and from where.
pub(super) struct Attempt<'t> {
    throttle: &'t Throttle,
    name: Key,
    /// None on a unix socket: then only the name counts.
    from: Option<From>,
    at: Instant,
}

struct From {
    address: Key,
    pair: Key,
}

impl Throttle {
    pub fn new(settings: &config::Throttle) -> Throttle {
        let start = Instant::now();
        Throttle {
            settings: settings.clone(),
            start,
            pairs: Limiter::new(settings.per_pair, start),
            addresses: Limiter::new(settings.per_address, start),
            names: Limiter::new(settings.per_name, start),
            known: Cache::builder().max_capacity(MOST_KNOWN).time_to_idle(KNOWN_FOR).build(),
        }
    }

    pub fn settings(&self) -> &config::Throttle {
        &self.settings
    }

    pub fn attempt(&self, name: &str, cx: &Context, keyed: &Keyed) -> Attempt<'_> {
        // A directory takes "Ana", "ana" and " ana" for one: other spellings must not be other counts.
        let name: String = name.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
        let key = |address: &[u8]| {
            let digest = keyed.digest([name.as_bytes(), address]);
            Key::digest(u128::from_be_bytes(*digest.first_chunk().expect("32 bytes are more than 16")))
        };
        let from = cx.client.map(|address| From { address: Key::address(address), pair: key(&network(address)) });
        Attempt {
            throttle: self,
            name: key(&[]),
            from,
            // The clock of the request, which tests move. The day from which it counts does not matter.
            at: self.start.checked_add(Duration::from_secs(cx.now.0)).unwrap_or(self.start),
        }
    }
}

impl Attempt<'_> {
    /// Whether it may be looked at, without counting it.
    pub fn look(&self) -> Result<(), RetryAfter> {
        self.counts().into_iter().try_for_each(|(limiter, key)| limiter.look(key, self.at))
    }

    /// Counts it as wrong until [`Attempt::give_back`] takes that back: guesses at the same time must not all be
    /// looked at before the first one is counted.
    pub fn take(&self) -> Result<(), RetryAfter> {
        let counts = self.counts();
        for (place, (limiter, key)) in counts.iter().enumerate() {
            if let Err(wait) = limiter.check(*key, self.at) {
                counts[..place].iter().for_each(|(limiter, key)| limiter.give_back(*key));
                return Err(wait);
            }
        }
        Ok(())
    }

    /// It was not a guess after all, or nobody looked at it.
    pub fn give_back(&self) {
        self.counts().into_iter().for_each(|(limiter, key)| limiter.give_back(key));
    }

    /// This pair got in.
    pub fn note_right(&self) {
        if let Some(from) = &self.from {
            self.throttle.known.insert(from.pair, ());
        }
    }

    /// The narrowest first: it is the pair that is slowed down first.
    fn counts(&self) -> Vec<(&Limiter, Key)> {
        let throttle = self.throttle;
        match &self.from {
            None => vec![(&throttle.names, self.name)],
            Some(from) if throttle.known.contains_key(&from.pair) => vec![(&throttle.pairs, from.pair)],
            Some(from) => {
                vec![(&throttle.pairs, from.pair), (&throttle.addresses, from.address), (&throttle.names, self.name)]
            }
        }
    }
}

/// What one client can take addresses from: of IPv6 the first 64 bits (see [`Key::address`]).
fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// A browser that has not signed in for a month is a stranger again.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
const MOST_KNOWN: u64 = 65_536;
