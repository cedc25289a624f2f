//! The one integration test binary: everything speaks the wire to real sockets on port 0.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod answers;
mod binary;
mod cors;
mod floors;
mod forward;
mod headers;
mod limits;
mod listeners;
mod operating;
mod paths;
mod reload;
mod routing;
mod streams;
mod support;
mod upstream;
