//! Tests that speak the wire.

mod upstream;
