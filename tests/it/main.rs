//! Tests that speak the wire.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod upstream;
