//! Upstreams that are shown the token of an authority outside, and how that is kept good.

mod anew;
mod doubled;
mod ends;
mod flood;
mod house;
mod kept;
mod passed;
mod refreshed;
mod shown;
