//! The JSON Schema of the configuration: for editors, and as a page for people.

mod markdown;

pub use self::markdown::markdown;
use super::settings::Settings;

/// A schema (2020-12) that describes the file, with the meaning and default of every key.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Settings).into()
}
