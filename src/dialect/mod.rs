//! The wire of token APIs: bytes to [`crate::model::TokenRequest`] and back, nothing else.

mod answer;
pub mod consinco;
mod media;
mod members;
pub mod redex;
mod spoken;
#[cfg(test)]
mod tests;
pub mod xml;

pub use self::spoken::{CannotSay, Endpoint, Heard, Said};
