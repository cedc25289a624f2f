//! Counts that several processes keep together, by the arithmetic of a [`super::Limiter`] each.

use futures_util::future::BoxFuture;

use super::RetryAfter;
use crate::config::Rate;

/// Where processes count together. A step asks once for all of its counts, and is over within a bounded time; `None` says
/// that nobody answered, and then whoever asked goes by what was counted here.
pub trait Shared: Send + Sync {
    /// What stands for `parts` in every one of the processes, and tells nobody what they are.
    fn digest(&self, parts: &[&[u8]]) -> [u8; 16];

    /// What [`Shared::take`] would answer, without counting.
    fn look<'a>(&'a self, counts: &'a [Count]) -> BoxFuture<'a, Option<Answer>>;

    /// Counts once in each of `counts`, or, if one of them refuses, in none. Whoever the first one belongs to may be known:
    /// then the others have no say, and nothing is counted there.
    fn take<'a>(&'a self, counts: &'a [Count]) -> BoxFuture<'a, Option<Answer>>;

    /// Takes back what was counted in each of `counts`. If it was `right`, whoever the first one belongs to is known from
    /// now on.
    fn give_back<'a>(&'a self, counts: &'a [Count], right: bool) -> BoxFuture<'a, ()>;
}

/// One count.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// By [`Shared::digest`].
    pub id: [u8; 16],
    pub rate: Rate,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whoever the first count belongs to has got in before.
    pub known: bool,
    /// The first refusal.
    pub verdict: Result<(), RetryAfter>,
}
