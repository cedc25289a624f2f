//! How the authority is, as its last answers tell: nobody asks it only to know. Told to the log when it changes and not
//! with every question; and while it is away, hardly anything is asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    NotGiven,
    breaker::{Breaker, Change, Pass, Shut, Standing, Went, Whose},
};
use crate::{
    backoff,
    model::{ErrorCode, TokenError, UnixTime},
};

/// Outlives a reload that leaves the authority the same.
pub(super) struct Health {
    name: Box<str>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    seen: Seen,
    told: Told,
    breaker: Breaker,
}

/// What the log says, which is no more than a few lines a minute: an authority that fails every other question changes its
/// state with every answer.
#[derive(Default)]
struct Told {
    state: State,
    /// Lines since then.
    since: UnixTime,
    lines: u32,
}

/// What `/readyz` and `/status` say of the authority outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub state: State,
    /// Since when it is so.
    pub since: Option<UnixTime>,
    /// When it last gave or refused something, as it should.
    pub last_answer: Option<UnixTime>,
    /// Why the last question had no answer; `None` if it had one, or nothing was asked yet. No secret.
    pub last_error: Option<String>,
    pub breaker: Standing,
}

/// What the last question came to, as far as it says something of the authority and not of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was asked yet.
    #[default]
    Untried,
    Answers,
    /// It refuses us: wrong credentials, or something that it does not know.
    Refuses,
    /// No answer, or none that makes sense.
    Away,
}

impl Health {
    pub(super) fn of(name: &str) -> Health {
        Health { name: name.into(), inner: Mutex::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn seen(&self) -> Seen {
        let inner = self.lock();
        Seen { breaker: inner.breaker.shown(), ..inner.seen.clone() }
    }

    /// Whether anything is asked at `now`, before somebody waits for their turn.
    pub(super) fn may_ask(&self, whose: Option<Whose>, now: UnixTime) -> Result<(), Shut> {
        self.lock().breaker.may_ask(whose, now)
    }

    /// Leave for one question, put for `whose`.
    pub(super) fn admit(&self, whose: Option<Whose>, now: UnixTime) -> Result<Leave<'_>, Shut> {
        let pass = self.lock().breaker.admit(whose, now)?;
        Ok(Leave { health: self, whose, pass: Some(pass) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole by itself.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one question, taken back if nothing comes of it: whoever asked may be gone by then.
pub(super) struct Leave<'h> {
    health: &'h Health,
    whose: Option<Whose>,
    pass: Option<Pass>,
}

impl Leave<'_> {
    /// Notes what came of it by `now`; whether that keeps others from asking, or lets them again.
    pub(super) fn settle<T>(mut self, outcome: Result<T, &NotGiven>, now: UnixTime) -> Option<Change> {
        let (name, inner) = (self.health.name(), &mut *self.health.lock());
        let failure = outcome.err();
        let state = failure.map_or(State::Answers, |failure| state(&failure.error));
        inner.seen.note(state, failure.map(|failure| &failure.error), now);
        inner.told.tell(name, &inner.seen, now);
        // What was never asked says nothing of the authority, and the place of a probe is free again.
        let pass = self.pass.take()?;
        if failure.is_some_and(|failure| !failure.asked) {
            inner.breaker.give_back(pass);
            return None;
        }
        let went = match (state, failure) {
            (State::Away, Some(NotGiven { error, answered, .. })) => {
                let culprit = self.whose.filter(|_| *answered);
                Went::Away { come_back: error.throttled.or(error.retry_after), culprit }
            }
            _ => Went::Answered,
        };
        let change = inner.breaker.settle(pass, went, now, backoff::chance());
        if let Some(Change::Opened { for_seconds, again }) = change {
            let cause = inner.seen.last_error.as_deref();
            if again || !inner.told.may_say_more(now) {
                tracing::debug!(authority = name, cause, for_seconds, "the authority outside is still away");
            } else {
                tracing::warn!(
                    authority = name,
                    cause,
                    for_seconds,
                    "the authority outside is asked nothing for a while"
                );
            }
        }
        change
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.health.lock().breaker.give_back(pass);
        }
    }
}

impl Seen {
    fn note(&mut self, state: State, error: Option<&TokenError>, now: UnixTime) {
        let cause = error.map(|error| error.cause.as_deref().unwrap_or_else(|| error.code.as_str()));
        if self.state != state {
            (self.state, self.since) = (state, Some(now));
        }
        if state == State::Answers {
            self.last_answer = Some(now);
        }
        self.last_error = (state != State::Answers).then(|| cause.unwrap_or_default().to_owned());
    }
}

impl Told {
    /// Says what has changed since the last line: at once, or with the first answer that comes when there may be another.
    fn tell(&mut self, authority: &str, seen: &Seen, now: UnixTime) {
        let cause = seen.last_error.as_deref();
        if self.state == seen.state || !self.may_say_more(now) {
            return;
        }
        match seen.state {
            State::Refuses => {
                tracing::error!(
                    authority,
                    cause,
                    "the authority outside refuses sidegate itself: look at its settings"
                );
            }
            State::Away => {
                tracing::warn!(
                    authority,
                    cause,
                    "the authority outside does not answer as it should; sessions are kept"
                );
            }
            State::Answers if self.state != State::Untried => {
                tracing::info!(authority, "the authority outside answers again");
            }
            State::Answers | State::Untried => {}
        }
        self.state = seen.state;
    }

    /// Whether there may be another line at `now`, which is counted.
    fn may_say_more(&mut self, now: UnixTime) -> bool {
        if now.0.abs_diff(self.since.0) >= A_MINUTE {
            (self.since, self.lines) = (now, 0);
        }
        self.lines += 1;
        self.lines <= MOST_LINES
    }
}

/// Seconds.
const A_MINUTE: u64 = 60;
/// In a minute. Twice there and back, and what the breaker has to say of it.
const MOST_LINES: u32 = 6;

/// What an error says of the authority, or of us before it; nothing of whoever presented something.
fn state(error: &TokenError) -> State {
    match error.code {
        _ if error.throttled.is_some() => State::Away,
        ErrorCode::InvalidGrant => State::Answers,
        ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError => State::Away,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidClient
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope
        | ErrorCode::InvalidTarget
        | ErrorCode::UnsupportedTokenType => State::Refuses,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_000_000);

    fn failed(error: TokenError) -> NotGiven {
        NotGiven { error, spent: true, asked: true, answered: false }
    }

    fn ask(health: &Health, outcome: Result<(), NotGiven>, now: UnixTime) {
        health.admit(None, now).unwrap_or_else(|_| panic!("not asked")).settle(outcome.as_ref().copied(), now);
    }

    #[test]
    fn a_refusal_of_us_is_an_answer_and_one_of_a_token_is_a_good_one() {
        let health = Health::of("remote");
        assert_eq!(health.seen(), Seen::default());
        for code in ErrorCode::ALL {
            ask(&health, Ok(()), NOW);
            ask(&health, Err(failed(TokenError::new(code).because("told"))), NOW.plus(1));
            let seen = health.seen();
            let state = match code {
                ErrorCode::InvalidGrant => State::Answers,
                ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError => State::Away,
                _ => State::Refuses,
            };
            assert_eq!(seen.state, state, "{code:?}");
            assert_eq!(seen.last_error.as_deref(), (state != State::Answers).then_some("told"));
            assert_eq!(seen.since, Some(if state == State::Answers { NOW } else { NOW.plus(1) }), "{code:?}");
        }
        let refused = || Err(failed(TokenError::invalid_client()));
        (0..100).for_each(|_| ask(&health, refused(), NOW));
        assert_eq!(health.seen().breaker, Standing::Closed);
    }

    #[test]
    fn an_answer_that_may_concern_one_alone_counts_once_for_them_and_silence_for_everybody() {
        for (answered, breaker_is_closed) in [(true, true), (false, false)] {
            let health = Health::of("remote");
            for _ in 0..5 {
                let failed = NotGiven { answered, ..failed(TokenError::unavailable()) };
                let leave = health.admit(Some(Whose(1)), NOW).unwrap_or_else(|_| panic!("not asked"));
                leave.settle(Err::<(), _>(&failed), NOW);
            }
            assert_eq!(health.seen().breaker == Standing::Closed, breaker_is_closed);
        }
    }

    #[test]
    fn a_state_has_begun_when_it_was_first_seen() {
        let health = Health::of("remote");
        for second in 0..4 {
            ask(&health, Err(failed(TokenError::unavailable())), NOW.plus(second));
        }
        assert_eq!((health.seen().state, health.seen().since), (State::Away, Some(NOW)));
    }

    #[test]
    fn an_authority_that_fails_every_other_question_does_not_fill_the_log() {
        let health = Health::of("remote");
        let told = |health: &Health| {
            let inner = health.lock();
            (inner.told.lines.min(MOST_LINES), inner.told.state)
        };
        for second in 0..30 {
            ask(&health, Ok(()), NOW.plus(second));
            ask(&health, Err(failed(TokenError::unavailable())), NOW.plus(second));
        }
        ask(&health, Ok(()), NOW.plus(30));
        assert_eq!((told(&health), health.seen().state), ((6, State::Away), State::Answers));
        // What is so in the end is told.
        for second in 60..70 {
            ask(&health, Ok(()), NOW.plus(second));
            assert_eq!(told(&health), (1, State::Answers), "once");
        }
    }

    #[test]
    fn what_could_not_be_asked_opens_nothing_and_a_leave_that_is_dropped_frees_its_place() {
        let health = Health::of("remote");
        for _ in 0..100 {
            ask(&health, Err(NotGiven::from(TokenError::unavailable())), NOW);
        }
        assert_eq!((health.seen().breaker, health.seen().state), (Standing::Closed, State::Away));
        while health.seen().breaker == Standing::Closed {
            ask(&health, Err(failed(TokenError::unavailable())), NOW);
        }
        let probe = health.admit(None, NOW.plus(1)).ok().unwrap();
        assert!(health.admit(None, NOW.plus(1)).is_err() && health.may_ask(None, NOW.plus(1)).is_err());
        drop(probe);
        ask(&health, Err(NotGiven::from(TokenError::unavailable())), NOW.plus(1));
        ask(&health, Ok(()), NOW.plus(1));
        assert_eq!(health.seen().breaker, Standing::Closed);
    }
}
