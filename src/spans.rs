//! What a collector of traces is told: who was asked on the way of a request, for how long, and what came of it.
//!
//! The span that work belongs to is of the task, not an argument: it decides nothing, and reaches places that know
//! nothing of requests. All of this is empty without the feature `otlp`, and one look at an `Option` where the
//! configuration has no `traces`. What is told holds no path, query, token, name or address of anybody: only what the
//! configuration says, the numbers and words of the protocol, and the words of our own decisions.

#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod on;

use std::{borrow::Cow, sync::Arc};

#[cfg(not(feature = "otlp"))]
pub use self::off::*;
#[cfg(feature = "otlp")]
pub use self::on::*;

/// A name by the semantic conventions of OpenTelemetry, or `sidegate.…`, and what is so called.
pub type Attribute = (&'static str, Value);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Word(Cow<'static, str>),
    /// A name of the configuration.
    Name(Arc<str>),
    Number(i64),
    Yes,
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Value {
        Value::Word(Cow::Borrowed(word))
    }
}

impl From<String> for Value {
    fn from(word: String) -> Value {
        Value::Word(Cow::Owned(word))
    }
}

impl From<&Arc<str>> for Value {
    fn from(name: &Arc<str>) -> Value {
        Value::Name(name.clone())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(number)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Value {
        Value::Number(number.into())
    }
}
