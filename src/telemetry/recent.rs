//! The last distinct errors of the process, for `/status`: what the log says at `warn` and `error`, and what upstreams did not
//! answer. Who asked, and for what, is left out.

use std::{
    fmt,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use schemars::JsonSchema;
use serde::Serialize;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use crate::model::{Time, UnixTime, words::stamp};

/// Those of this process, as its log is.
pub fn recent() -> &'static Recent {
    static RECENT: LazyLock<Recent> = LazyLock::new(Recent::default);
    &RECENT
}

#[derive(Default)]
pub struct Recent {
    time: Time,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    place: String,
    what: String,
    detail: String,
    first: UnixTime,
    last: UnixTime,
    count: u64,
}

/// One kind of error at one place.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RecentError {
    /// The part of sidegate, and which one of several: `issuer corp`.
    pub place: String,
    pub what: String,
    /// As it was the last time.
    pub detail: Option<String>,
    pub first: String,
    pub last: String,
    pub count: u64,
}

impl Recent {
    pub fn note(&self, place: &str, what: &str, detail: &str) {
        let (now, detail) = (self.time.now(), shortened(detail));
        let mut kept = self.kept();
        if let Some(known) = kept.iter_mut().find(|known| known.place == place && known.what == what) {
            (known.last, known.detail) = (now, detail);
            known.count += 1;
            return;
        }
        let of_place = kept.iter().filter(|known| known.place == place).count();
        let full = |known: &Kept| of_place < OF_ONE_PLACE || known.place == place;
        if of_place >= OF_ONE_PLACE || kept.len() >= MOST {
            let oldest = kept.iter().enumerate().filter(|(_, known)| full(known)).min_by_key(|(_, known)| known.last);
            if let Some((at, _)) = oldest {
                kept.remove(at);
            }
        }
        kept.push(Kept { place: place.to_owned(), what: shortened(what), detail, first: now, last: now, count: 1 });
    }

    /// The newest one first.
    pub fn errors(&self) -> Vec<RecentError> {
        let kept = self.kept();
        let mut newest: Vec<&Kept> = kept.iter().rev().collect();
        newest.sort_by_key(|known| std::cmp::Reverse(known.last));
        newest.into_iter().map(RecentError::of).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecentError {
    fn of(kept: &Kept) -> RecentError {
        RecentError {
            place: kept.place.clone(),
            what: kept.what.clone(),
            detail: (!kept.detail.is_empty()).then(|| kept.detail.clone()),
            first: stamp(kept.first),
            last: stamp(kept.last),
            count: kept.count,
        }
    }
}

/// What keeps the errors of the log.
pub struct Keeping(pub &'static Recent);

impl<S: Subscriber> Layer<S> for Keeping {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || !metadata.target().starts_with("sidegate") {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let place = said.place.unwrap_or_else(|| room(metadata.target()).to_owned());
        self.0.note(&place, &said.what, &said.detail);
    }
}

#[derive(Default)]
struct Said {
    place: Option<String>,
    what: String,
    detail: String,
}

impl Said {
    /// Only of fields that come from the configuration or from an error: others may name a session or a user.
    fn take(&mut self, name: &str, value: String) {
        match name {
            "message" => self.what = value,
            "issuer" | "upstream" | "authority" | "listener" | "setting" | "server" => {
                self.place = Some(format!("{name} {value}"));
            }
            "error" | "cause" | "reason" | "problem" => self.detail = value,
            _ => {}
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field.name(), format!("{value:?}"));
    }
}

/// What a person calls the room that an event comes from.
fn room(target: &str) -> &str {
    match target.split("::").nth(1).unwrap_or(target) {
        "session" | "refresh" => "sessions",
        "grants" | "endpoints" => "token endpoints",
        "app" | "cli" | "config" => "configuration",
        "server" => "listeners",
        "auth" | "jwks" | "jose" => "tokens",
        other => other,
    }
}

fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

/// Kinds of errors that are kept, of one place and altogether.
const OF_ONE_PLACE: usize = 5;
const MOST: usize = 40;
/// Characters of one text.
const LONGEST: usize = 300;

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_log_leaves_its_errors_here_without_whom_they_were_of() {
        let recent: &'static Recent = Box::leak(Box::default());
        let subscriber = tracing_subscriber::registry().with(Keeping(recent));
        tracing::subscriber::with_default(subscriber, || {
            for attempt in 0..3 {
                let error = format!("refused, attempt {attempt}");
                tracing::warn!(target: "sidegate::jwks", issuer = "corp", error, "the keys cannot be fetched");
            }
            tracing::error!(target: "sidegate::refresh::flight", session = "canary", username = "canary", "it was lost");
            tracing::info!(target: "sidegate::access", "request");
            tracing::error!(target: "hyper", "canary");
        });
        let errors = recent.errors();
        let told: Vec<_> =
            errors.iter().map(|e| (e.place.as_str(), e.what.as_str(), e.detail.as_deref(), e.count)).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told.contains(&("issuer corp", "the keys cannot be fetched", Some("refused, attempt 2"), 3)),
            "{told:?}"
        );
        assert!(told.contains(&("sessions", "it was lost", None, 1)), "{told:?}");
    }

    #[test]
    fn one_place_does_not_push_out_another_and_all_are_bounded() {
        let recent = Recent::default();
        recent.note("issuer corp", "quiet", "");
        for number in 0..50 {
            recent.note("upstream app", &format!("loud {number}"), "");
        }
        assert_eq!(recent.errors().len(), 1 + OF_ONE_PLACE);
        assert!(recent.errors().iter().any(|error| error.what == "quiet"));
        for number in 0..100 {
            recent.note(&format!("upstream {number}"), "away", &"x".repeat(1000));
        }
        assert_eq!(recent.errors().len(), MOST);
        assert_eq!(recent.errors()[0].detail.as_ref().unwrap().chars().count(), LONGEST + 1);
    }
}
