//! The one integration test binary: everything speaks the wire to real sockets on port 0.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod cache;
mod cli;
mod credentials;
mod floors;
mod forward;
mod introspection;
mod issuers;
mod listeners;
mod observe;
mod policy;
mod secrets;
mod support;
mod tokens;
mod upstream;
