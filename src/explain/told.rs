//! What a proxy that asks would be told.

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::sight::{hidden, is_credential, text};
use crate::gate::{Gate, Outcome, Rehearsal};

/// The answer that lets its client's request go on.
#[derive(Debug, Serialize)]
pub struct Told {
    pub status: u16,
    /// Credentials are shown as `…`.
    pub headers: Vec<(String, String)>,
    /// The names that the proxy copies from each answer, in the place of its client's.
    pub copied: Vec<String>,
    /// Those of them that this answer does not have: the proxy removes its client's.
    pub removed: Vec<String>,
}

impl Told {
    /// `None` where nobody asks, or the answer is no.
    pub fn of(gate: &Gate, rehearsal: &Rehearsal) -> Option<Told> {
        let Ok(Outcome::Allow { route }) = rehearsal.outcome else { return None };
        let route = &gate.config().routes[route];
        let shown = |(name, value): (&HeaderName, &HeaderValue)| {
            let secret = is_credential(name, value, route)
                || gate.config().successors.as_ref().is_some_and(|names| names.token == *name);
            (name.to_string(), if secret { hidden(value) } else { text(value) })
        };
        let copied = gate.proxy().copied_headers();
        let removed = copied.iter().filter(|name| !rehearsal.answer.contains_key(*name));
        Some(Told {
            status: StatusCode::OK.as_u16(),
            headers: rehearsal.answer.iter().filter(|(name, _)| *name != header::CACHE_CONTROL).map(shown).collect(),
            copied: copied.iter().map(ToString::to_string).collect(),
            removed: removed.map(ToString::to_string).collect(),
        })
    }
}
