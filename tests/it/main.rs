//! The one integration test binary: everything speaks to real sockets on port 0.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, also in its helpers")]

mod listeners;
