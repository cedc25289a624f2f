//! The one integration test binary: everything speaks to real sockets on port 0.

mod listeners;
