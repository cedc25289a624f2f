//! The one integration test binary: everything speaks the wire to real sockets on port 0.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod admin_sessions;
mod answers;
mod audit_stream;
mod authority_token;
mod basic;
mod binary;
mod broker;
mod cache;
mod cli;
mod cors;
mod credentials;
mod floors;
mod forward;
mod headers;
mod introspection;
mod issuers;
mod limits;
mod listeners;
mod moved;
mod oauth;
mod observe;
mod operating;
mod own_tokens;
mod pairs;
mod paths;
mod policy;
mod probe;
mod reload;
mod remote;
mod replay;
mod replicas;
mod revision;
mod routing;
mod secrets;
mod service;
mod signing_keys;
mod storm;
mod streams;
mod support;
mod tokens;
#[cfg(feature = "otlp")]
mod traces;
mod upstream;
