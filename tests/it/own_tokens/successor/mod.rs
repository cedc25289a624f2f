//! Access tokens whose use brings the next one.

mod answers;
mod house;
mod shown;
mod soak;
mod taken;
