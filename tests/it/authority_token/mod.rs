//! Upstreams that are shown the token of an authority outside, and how that is kept good.

mod anew;
mod breaker;
mod doubled;
mod ends;
mod explained;
mod flood;
pub mod house;
mod kept;
mod lost;
mod mended;
mod min_life;
mod passed;
mod refreshed;
mod shared;
mod shown;
