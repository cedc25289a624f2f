//! Upstreams that are shown the token of an authority outside, and how that is kept good.

mod house;
mod shown;
