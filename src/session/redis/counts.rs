//! Wrong guesses, counted by all replicas together. A count is a key of its own, in whatever slot it falls: an attempt is
//! one call for each of its counts, all at the same time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, try_join_all},
};
use redis::{FromRedisValue, Value};

use super::{Shared as Store, script::Script};
use crate::{
    config::Rate,
    rate::{
        RetryAfter,
        shared::{Answer, Count, Shared},
    },
    session::StoreError,
    telemetry::metrics::{StoreMetrics, StoreOperation, StoreResult},
};

pub struct Counts {
    store: Arc<Store>,
    script: Script,
    timeout: Duration,
    metrics: StoreMetrics,
    /// When it was found out last that the servers do not answer.
    away: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Look,
    Take,
    Back { right: bool },
}

/// What one count says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    known: bool,
    /// Microseconds.
    wait: u64,
}

impl Counts {
    /// No step takes longer than `timeout`.
    pub(super) fn new(store: Arc<Store>, timeout: Duration, metrics: StoreMetrics) -> Counts {
        Counts { store, script: Script::new(&[SERVERS_TIME, COUNT]), timeout, metrics, away: Mutex::new(None) }
    }

    /// The same step in each of `counts`; `None`: nobody answered, or nobody is asked because nobody did a moment ago.
    async fn step(&self, step: Step, counts: &[Count]) -> Option<Vec<Said>> {
        if self.rests() {
            return None;
        }
        let started = Instant::now();
        let all = try_join_all(counts.iter().enumerate().map(|(place, count)| {
            // Only the first count belongs to somebody who can be known.
            let step = if place == 0 { step } else { step.of_others() };
            self.one(step, count)
        }));
        let answered = tokio::time::timeout(self.timeout, all).await;
        let answered = answered.unwrap_or_else(|_| Err(StoreError::Unavailable("it took too long".to_owned())));
        let result = if answered.is_ok() { StoreResult::Ok } else { StoreResult::Unavailable };
        self.metrics.took(StoreOperation::Count, result, started.elapsed());
        self.went(answered)
    }

    async fn one(&self, step: Step, count: &Count) -> Result<Said, StoreError> {
        let Store { link, keys, time, .. } = &*self.store;
        let arguments = arguments(&time.moved().to_string(), step, count.rate);
        read(link.run(&self.script, &[keys.guesses(&count.id)], &arguments).await?)
    }

    /// Whoever waited for nothing a moment ago has waited for all who come meanwhile.
    fn rests(&self) -> bool {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match *away {
            Some(since) if since.elapsed() < REST => true,
            // One looks whether they are back.
            Some(_) => {
                *away = Some(Instant::now());
                false
            }
            None => false,
        }
    }

    fn went(&self, answered: Result<Vec<Said>, StoreError>) -> Option<Vec<Said>> {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match answered {
            Ok(said) => {
                if away.take().is_some() {
                    tracing::info!("wrong guesses are counted by all replicas together again");
                }
                Some(said)
            }
            Err(error) => {
                if away.replace(Instant::now()).is_none() {
                    tracing::warn!(%error, "wrong guesses are counted by this replica alone");
                }
                None
            }
        }
    }
}

impl Shared for Counts {
    fn digest(&self, parts: &[&[u8]]) -> [u8; 16] {
        self.store.ring.count(parts)
    }

    fn look<'a>(&'a self, counts: &'a [Count]) -> BoxFuture<'a, Option<Answer>> {
        async { Some(sum(&self.step(Step::Look, counts).await?).0) }.boxed()
    }

    fn take<'a>(&'a self, counts: &'a [Count]) -> BoxFuture<'a, Option<Answer>> {
        async {
            let said = self.step(Step::Take, counts).await?;
            let (answer, standing) = sum(&said);
            let odd = counts.iter().zip(&said).enumerate().skip(standing).filter(|(_, (_, said))| said.wait == 0);
            let odd: Vec<Count> = odd.map(|(_, (count, _))| *count).collect();
            if !odd.is_empty() {
                self.step(Step::Back { right: false }, &odd).await;
            }
            Some(answer)
        }
        .boxed()
    }

    fn give_back<'a>(&'a self, counts: &'a [Count], right: bool) -> BoxFuture<'a, ()> {
        self.step(Step::Back { right }, counts).map(drop).boxed()
    }
}

impl Step {
    fn of_others(self) -> Step {
        if matches!(self, Step::Back { .. }) { Step::Back { right: false } } else { self }
    }
}

/// What all of them say, and how many of them, from the first one on, an attempt stands in that is counted.
fn sum(said: &[Said]) -> (Answer, usize) {
    let known = said.first().is_some_and(|first| first.known);
    let asked = if known { 1 } else { said.len() };
    match said[..asked].iter().find(|said| said.wait > 0) {
        Some(refusal) => {
            let wait = RetryAfter(Duration::from_micros(refusal.wait));
            (Answer { known, verdict: Err(wait) }, 0)
        }
        None => (Answer { known, verdict: Ok(()) }, asked),
    }
}

fn arguments(clock: &str, step: Step, rate: Rate) -> [String; 5] {
    let interval = u64::try_from(rate.interval.as_micros()).unwrap_or(u64::MAX).min(MOST_MICROS);
    let tolerance = interval.saturating_mul(u64::from(rate.burst.saturating_sub(1))).min(MOST_MICROS);
    let (step, knows) = match step {
        Step::Look => ("look", Duration::ZERO),
        Step::Take => ("take", Duration::ZERO),
        Step::Back { right: false } => ("back", Duration::ZERO),
        Step::Back { right: true } => ("back", KNOWN_FOR),
    };
    [clock.to_owned(), step.to_owned(), interval.to_string(), tolerance.to_string(), knows.as_micros().to_string()]
}

fn read(answer: Value) -> Result<Said, StoreError> {
    let (known, wait) = <(u8, u64)>::from_redis_value(answer)
        .map_err(|error| StoreError::Unavailable(format!("a count is something else: {error}")))?;
    Ok(Said { known: known == 1, wait })
}

const COUNT: &str = include_str!("lua/count.lua");
/// Moved by what tests move their clocks by.
const SERVERS_TIME: &str = "local function now()
    local time = redis.call('TIME')
    return (time[1] + ARGV[1]) * 1000000 + time[2]
end
";

/// As a replica that is alone remembers it.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Some 70 years. Scripts count in doubles: with what 1970 lies back, whole microseconds fit.
const MOST_MICROS: u64 = 1 << 51;
/// For how long nobody is asked after nobody answered.
const REST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
