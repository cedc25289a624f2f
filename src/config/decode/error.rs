//! What can be wrong with one value, before it is put into words.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::KeyPath;

/// The first problem that the decoder met.
#[derive(Debug)]
pub(in crate::config) struct Error {
    /// Set by the innermost decoder that knows it.
    pub path: Option<KeyPath>,
    pub kind: Kind,
}

#[derive(Debug)]
pub(in crate::config) enum Kind {
    /// `variant`: the key should have named one of several forms of a value.
    UnknownKey {
        key: String,
        known: &'static [&'static str],
        variant: bool,
    },
    UnknownWord {
        word: String,
        known: &'static [&'static str],
    },
    Type {
        found: &'static str,
        expected: String,
        remedy: &'static str,
    },
    /// `text` is shown only if neither its key nor its origin forbids that.
    Value {
        text: Option<String>,
        expected: String,
    },
    /// Words of ours that hold no value.
    Message(String),
}

impl Error {
    pub fn new(kind: Kind) -> Self {
        Error { path: None, kind }
    }

    /// Sets the path unless a decoder further inside did.
    pub fn at(mut self, path: &KeyPath) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }

    fn value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let text = match unexpected {
            Unexpected::Str(text) => Some(text.to_owned()),
            Unexpected::Unsigned(number) => Some(number.to_string()),
            Unexpected::Signed(number) => Some(number.to_string()),
            _ => None,
        };
        let expected = match expected.to_string().as_str() {
            "u32" => format!("a whole number from 0 to {}", u32::MAX),
            "u64" | "usize" => "a whole number from 0".into(),
            other => other.to_owned(),
        };
        Error::new(Kind::Value { text, expected })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that does not fit") // the words are found by `explain`, which knows what may be shown
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    /// Only serde's own helpers call this; their words might hold a value, so they are not kept.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Error::new(Kind::Message("a value that does not fit".into()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Error::value(unexpected, expected)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Error::value(unexpected, expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Error::new(Kind::Value { text: None, expected: expected.to_string() })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Error::new(Kind::UnknownWord { word: variant.into(), known: expected })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Error::new(Kind::UnknownKey { key: field.into(), known: expected, variant: false })
    }

    fn missing_field(field: &'static str) -> Self {
        Error::new(Kind::Message(format!("{field:?} is missing")))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Error::new(Kind::Message(format!("{field:?} is given twice")))
    }
}
