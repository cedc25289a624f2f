//! Whether the authority outside answers, told to the log when it changes and not with every request.

use std::sync::{Mutex, PoisonError};

/// How the last question went. Outlives a reload.
#[derive(Default)]
pub(super) struct Health(Mutex<State>);

/// What a question came to, as far as it says something of the authority and not of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Answers,
    /// It refuses us: wrong credentials, or something that it does not know.
    Refuses,
    Away,
}

impl Health {
    pub(super) fn note(&self, state: State, cause: &str) {
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), state);
        if before == state {
            return;
        }
        match state {
            State::Refuses => {
                tracing::error!(cause, "the authority outside refuses sidegate itself: look at authority.remote");
            }
            State::Away => tracing::warn!(cause, "the authority outside cannot be asked; sessions are kept"),
            State::Answers => tracing::info!("the authority outside answers again"),
        }
    }
}
