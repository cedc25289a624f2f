//! Access tokens whose use brings the next one.

mod answers;
mod house;
mod outside;
mod shown;
mod soak;
mod taken;
