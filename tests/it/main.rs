//! The one integration test binary: everything speaks the wire to real sockets on port 0.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod cli;
mod floors;
mod forward;
mod listeners;
mod support;
mod upstream;
