//! One guess: throttled, remembered, hashed. What it counts and knows outlives a reload.

use std::{future::Future, io, sync::Arc};

use tokio::sync::watch;

use super::{
    Denied, hashes,
    line::{Full, LONGEST_WAIT, Line},
    pool::{NotDone, Pool},
    remembered::{Digest, Flights, Keyed, Remembered, Turn},
    throttle::{Attempt, Throttle},
};
use crate::{
    config::{self, SecretHash},
    model::{Context, Secret},
    rate::{RetryAfter, shared::Shared},
    telemetry::metrics::{Hashed, Limited, Metrics},
};

/// Whose secrets: a client and a user of one name have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Client,
    User,
}

/// A guess that is to be judged.
#[derive(Clone, Copy)]
pub(super) struct Guess<'g> {
    pub kind: Kind,
    pub name: &'g str,
    pub secret: &'g Secret<String>,
    /// One of them must fit; none: nobody of that name may come in.
    pub hashes: &'g [SecretHash],
    /// Hashed where there is nothing else to hash.
    pub decoy: Option<&'g Secret<String>>,
}

/// What it holds belongs to the process; each generation of the configuration has handles.
pub(super) struct Guard {
    secrets: Arc<Secrets>,
    pool: Arc<Pool>,
    questions: Arc<Line>,
    clients: Arc<Throttle>,
    users: Arc<Throttle>,
    shared: Option<Arc<dyn Shared>>,
    metrics: Arc<Metrics>,
}

struct Secrets {
    keyed: Keyed,
    remembered: Remembered,
    flights: Flights,
}

impl Guard {
    /// What is not set otherwise now is taken over from `old`: neither counts nor threads begin anew with a reload. Without
    /// `old`, what `shared` counts together with other processes counts as well.
    ///
    /// # Errors
    /// If the system gives no thread or no randomness.
    pub fn new(
        settings: &config::Throttle,
        old: Option<&Guard>,
        shared: Option<Arc<dyn Shared>>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Guard> {
        let shared = old.map_or(shared, |old| old.shared.clone());
        let (clients, users) = match old.filter(|old| old.clients.settings() == settings) {
            Some(old) => (old.clients.clone(), old.users.clone()),
            None => {
                let throttle = |kind| Arc::new(Throttle::new(kind, settings, shared.clone()));
                (throttle("client"), throttle("user"))
            }
        };
        let pool = match old.filter(|old| old.pool.line().at_once() == settings.password_checks) {
            Some(old) => old.pool.clone(),
            None => Arc::new(Pool::new(settings.password_checks)?),
        };
        let secrets = match old {
            Some(old) => old.secrets.clone(),
            None => {
                let keyed = Keyed::new().map_err(|_| io::Error::other("there is no randomness"))?;
                Arc::new(Secrets { keyed, remembered: Remembered::new(), flights: Flights::default() })
            }
        };
        let questions = old.map_or_else(|| Arc::new(Line::new(MOST_QUESTIONS)), |old| old.questions.clone());
        Ok(Guard { secrets, pool, questions, clients, users, shared, metrics })
    }

    /// How many passwords are being hashed, and how many wait for that.
    pub fn hashing(&self) -> (usize, usize) {
        self.pool.line().lengths()
    }

    /// The throttle of `kind` for `name` in this request.
    pub fn attempt(&self, kind: Kind, name: &str, cx: &Context) -> Attempt<'_> {
        let throttle = match kind {
            Kind::Client => &self.clients,
            Kind::User => &self.users,
        };
        throttle.attempt(name, cx, &self.secrets.keyed)
    }

    /// Whether the secret is right.
    ///
    /// # Errors
    /// `Wrong`, after as much work whoever was named; or that there is no room or no patience for another guess.
    pub async fn judge(&self, guess: Guess<'_>, cx: &Context) -> Result<(), Denied> {
        // Before the throttle: a generated secret cannot be guessed, so nobody can keep its owner out by trying.
        if hashes::fits_generated(guess.hashes, guess.secret) {
            return Ok(());
        }
        Box::pin(self.judge_slowly(guess, cx)).await
    }

    async fn judge_slowly(&self, guess: Guess<'_>, cx: &Context) -> Result<(), Denied> {
        let attempt = self.attempt(guess.kind, guess.name, cx);
        attempt.look().map_err(|wait| self.throttled(wait))?;
        let mut slow: Vec<Secret<String>> = hashes::slow(guess.hashes).cloned().collect();
        let real = !slow.is_empty();
        if !real {
            slow.extend(guess.decoy.cloned());
        }
        if slow.is_empty() {
            return Err(self.wrong(&attempt).await);
        }

        let digest = self.digest(&guess);
        if self.secrets.remembered.holds(&digest, cx.now) {
            return attempt.confirm().await.map_err(|wait| self.throttled(wait));
        }
        loop {
            match self.secrets.flights.join(digest) {
                Turn::Lead(lead) => {
                    let taken = attempt.take().await.map_err(|wait| self.throttled(wait))?;
                    let secret = guess.secret.clone();
                    let work = move || hashes::fits_slow(&slow, &secret) && real;
                    let right = match self.hash(work).await {
                        Ok(right) => right,
                        Err(denied) => {
                            taken.give_back().await;
                            return Err(denied);
                        }
                    };
                    if right {
                        taken.got_in().await;
                        self.secrets.remembered.note(digest, cx.now);
                    }
                    lead.found(right);
                    return if right { Ok(()) } else { Err(Denied::Wrong) };
                }
                Turn::Follow(mut found) => match learn(&mut found).await {
                    Some(true) => return attempt.confirm().await.map_err(|wait| self.throttled(wait)),
                    Some(false) => return Err(self.wrong(&attempt).await),
                    // The leader's client hung up, or there was no room for it.
                    None => attempt.look().map_err(|wait| self.throttled(wait))?,
                },
            }
        }
    }

    /// The same for a user whom somebody else judges: `question` is put to them only if the throttle allows it. What
    /// they cannot answer does not count as a guess.
    ///
    /// # Errors
    /// What came of the question, or that there is no patience for it.
    pub async fn ask<T>(
        &self,
        name: &str,
        cx: &Context,
        question: impl Future<Output = Result<T, Denied>>,
    ) -> Result<T, Denied> {
        let attempt = self.attempt(Kind::User, name, cx);
        let taken = attempt.take().await.map_err(|wait| self.throttled(wait))?;
        let answer = question.await;
        match &answer {
            Ok(_) => taken.got_in().await,
            Err(Denied::Wrong) => {}
            Err(Denied::Throttled(_) | Denied::Unavailable(_)) => taken.give_back().await,
        }
        answer
    }

    /// Puts `question` to whoever verifies users elsewhere, a few at once.
    ///
    /// # Errors
    /// What came of the question, or that there is no room for it.
    pub async fn in_line<T>(&self, question: impl Future<Output = Result<T, Denied>>) -> Result<T, Denied> {
        let _place = self.questions.enter().await.map_err(|Full| self.busy())?;
        question.await
    }

    /// Does `work` on the threads for it.
    async fn hash(&self, work: impl FnOnce() -> bool + Send + 'static) -> Result<bool, Denied> {
        let answer = self.pool.run(work).await;
        self.metrics.oauth.hashed(match answer {
            Ok(true) => Hashed::Right,
            Ok(false) => Hashed::Wrong,
            Err(NotDone::Full) => Hashed::Busy,
            Err(NotDone::Panicked) => Hashed::Failed,
        });
        answer.map_err(|error| match error {
            NotDone::Full => self.busy(),
            NotDone::Panicked => Denied::Unavailable("a secret could not be checked".to_owned()),
        })
    }

    fn digest(&self, guess: &Guess<'_>) -> Digest {
        let kind: &[u8] = match guess.kind {
            Kind::Client => b"client",
            Kind::User => b"user",
        };
        let hashes = guess.hashes.iter().map(hashes::bytes);
        let parts = [kind, guess.name.as_bytes(), guess.secret.expose().as_bytes()];
        self.secrets.keyed.digest(parts.into_iter().chain(hashes))
    }

    fn busy(&self) -> Denied {
        self.metrics.rate_limited(Limited::SignIn);
        Denied::Throttled(LONGEST_WAIT.as_secs())
    }

    /// A wrong guess, which is counted; or one too many.
    async fn wrong(&self, attempt: &Attempt<'_>) -> Denied {
        match attempt.take().await {
            // It stays counted.
            Ok(_) => Denied::Wrong,
            Err(wait) => self.throttled(wait),
        }
    }

    fn throttled(&self, wait: RetryAfter) -> Denied {
        self.metrics.rate_limited(Limited::SignIn);
        Denied::Throttled(wait.seconds())
    }
}

/// `None`: the one who would have found out has gone.
async fn learn(found: &mut watch::Receiver<Option<bool>>) -> Option<bool> {
    found.wait_for(Option::is_some).await.ok().and_then(|found| *found)
}

/// Put to whoever verifies users elsewhere, at once.
const MOST_QUESTIONS: usize = 32;
