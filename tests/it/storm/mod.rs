//! Everybody at once, and for long: no session may be lost, and nothing that is over may reach an upstream.

mod clocks;
mod crossing;
mod flapping;
pub mod house;
mod hung_up;
mod outage;
mod soak;
