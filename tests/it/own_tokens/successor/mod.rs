//! Access tokens whose use brings the next one.

mod answers;
pub mod house;
mod outside;
mod shown;
mod soak;
mod taken;
