//! The server alone, with a handler of the test's own behind it.

mod balance;
mod drain;
mod frames;
mod harness;
mod limits;
mod proxy_protocol;
mod smuggling;
mod tls;
mod versions;
