//! Wrong guesses, counted before anything expensive is done for the next one.
//!
//! Three counts: of one name from one address (the pair), of an address, of a name. An address from which a name has
//! got in before answers only for its own pair: whoever guesses for a name from elsewhere, or for other names from the
//! same address, slows strangers and never keeps a user out where they are known.
//!
//! Where processes share what they count, an attempt has to pass both their counts and those of this process, which are
//! kept as if there were no others: they go on alone when nobody answers.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use smallvec::SmallVec;

use super::remembered::Keyed;
use crate::{
    config,
    model::Context,
    rate::{
        Key, Limiter, RetryAfter,
        shared::{Answer, Count, Shared},
    },
};

/// The counts for one kind of names.
pub(super) struct Throttle {
    /// What tells this kind from others.
    kind: &'static str,
    settings: config::Throttle,
    start: Instant,
    pairs: Limiter,
    addresses: Limiter,
    names: Limiter,
    /// Pairs that got in.
    known: Cache<Key, ()>,
    shared: Option<Arc<dyn Shared>>,
}

/// Whose secret is guessed, and from where.
pub(super) struct Attempt<'t> {
    throttle: &'t Throttle,
    at: Instant,
    /// The narrowest first: it is the pair that is slowed down first. Without an address (on a unix socket) there is but
    /// the name.
    counts: SmallVec<[(&'t Limiter, Key); 3]>,
    shared: Option<Together<'t>>,
}

/// The same counts, where they are shared.
struct Together<'t> {
    shared: &'t dyn Shared,
    counts: Vec<Count>,
}

/// An attempt that is counted as wrong until it is given back.
#[must_use]
pub(super) struct Taken<'a, 't> {
    attempt: &'a Attempt<'t>,
    /// How many of its counts it stands in, here and where they are shared.
    here: usize,
    shared: usize,
}

impl Throttle {
    pub fn new(kind: &'static str, settings: &config::Throttle, shared: Option<Arc<dyn Shared>>) -> Throttle {
        let start = Instant::now();
        Throttle {
            kind,
            settings: settings.clone(),
            start,
            pairs: Limiter::new(settings.per_pair, start),
            addresses: Limiter::new(settings.per_address, start),
            names: Limiter::new(settings.per_name, start),
            known: Cache::builder().max_capacity(MOST_KNOWN).time_to_idle(KNOWN_FOR).build(),
            shared,
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
        let mut counts = SmallVec::new();
        if let Some(address) = cx.client {
            counts.push((&self.pairs, key(&network(address))));
            counts.push((&self.addresses, Key::address(address)));
        }
        counts.push((&self.names, key(&[])));
        Attempt {
            throttle: self,
            // The clock of the request, which tests move. The day from which it counts does not matter.
            at: self.start.checked_add(Duration::from_millis(cx.moment.0)).unwrap_or(self.start),
            counts,
            shared: self.shared.as_deref().map(|shared| self.together(shared, &name, cx.client)),
        }
    }

    fn together<'t>(&'t self, shared: &'t dyn Shared, name: &str, client: Option<IpAddr>) -> Together<'t> {
        let count = |what: &str, who: &[&[u8]], rate| {
            let parts = [&[self.kind.as_bytes(), what.as_bytes()], who].concat();
            Count { id: shared.digest(&parts), rate }
        };
        let mut counts = Vec::with_capacity(3);
        if let Some(address) = client {
            let network = network(address);
            counts.push(count("pair", &[name.as_bytes(), &network], self.settings.per_pair));
            counts.push(count("address", &[&network], self.settings.per_address));
        }
        counts.push(count("name", &[name.as_bytes()], self.settings.per_name));
        Together { shared, counts }
    }
}

impl<'t> Attempt<'t> {
    /// Whether it may be looked at as far as this process knows by itself, without counting it.
    pub fn look(&self) -> Result<(), RetryAfter> {
        // Where counts are shared, a stranger here may be known elsewhere; their pair is slowed down all the same.
        let sure = if self.shared.is_some() { 1 } else { self.asked() };
        self.look_here(sure)
    }

    /// The same as far as all processes know, after [`Attempt::look`].
    pub async fn confirm(&self) -> Result<(), RetryAfter> {
        let Some(together) = &self.shared else { return Ok(()) };
        let asked = self.asked();
        self.heard(together.shared.look(&together.counts[..asked]).await, asked)?;
        self.look_here(self.asked())
    }

    /// Counts it as wrong until it is given back: guesses at the same time must not all be looked at before the first one
    /// is counted.
    pub async fn take(&self) -> Result<Taken<'_, 't>, RetryAfter> {
        let mut taken = Taken { attempt: self, here: 0, shared: 0 };
        if let Some(together) = &self.shared {
            self.look()?;
            let asked = self.asked();
            taken.shared = self.heard(together.shared.take(&together.counts[..asked]).await, asked)?;
        }
        match self.take_here() {
            Ok(here) => Ok(Taken { here, ..taken }),
            Err(wait) => {
                taken.give_back().await;
                Err(wait)
            }
        }
    }

    /// In how many of the counts that were `asked` it stands by that answer.
    fn heard(&self, answer: Option<Answer>, asked: usize) -> Result<usize, RetryAfter> {
        let Some(Answer { known, verdict }) = answer else { return Ok(0) };
        if known {
            self.note_known();
        }
        verdict.map(|()| if known { 1 } else { asked })
    }

    /// How many of its counts have a say.
    fn asked(&self) -> usize {
        let known = self.pair().is_some_and(|pair| self.throttle.known.contains_key(&pair));
        if known { 1 } else { self.counts.len() }
    }

    fn look_here(&self, most: usize) -> Result<(), RetryAfter> {
        self.counts[..most].iter().try_for_each(|(limiter, key)| limiter.look(*key, self.at))
    }

    fn take_here(&self) -> Result<usize, RetryAfter> {
        let counts = &self.counts[..self.asked()];
        for (place, (limiter, key)) in counts.iter().enumerate() {
            if let Err(wait) = limiter.check(*key, self.at) {
                self.give_back_here(place);
                return Err(wait);
            }
        }
        Ok(counts.len())
    }

    fn give_back_here(&self, first: usize) {
        self.counts[..first].iter().for_each(|(limiter, key)| limiter.give_back(*key));
    }

    /// This pair got in.
    fn note_known(&self) {
        if let Some(pair) = self.pair() {
            self.throttle.known.insert(pair, ());
        }
    }

    fn pair(&self) -> Option<Key> {
        (self.counts.len() > 1).then(|| self.counts[0].1)
    }
}

impl Taken<'_, '_> {
    /// It was not a guess after all, or nobody looked at it.
    pub async fn give_back(self) {
        self.back(false).await;
    }

    /// It was right: the pair got in.
    pub async fn got_in(self) {
        self.attempt.note_known();
        self.back(self.attempt.pair().is_some()).await;
    }

    async fn back(&self, right: bool) {
        self.attempt.give_back_here(self.here);
        if let Some(together) = &self.attempt.shared
            && self.shared > 0
        {
            together.shared.give_back(&together.counts[..self.shared], right).await;
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
