//! The house of sidegate.
#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
pub mod body;
pub mod cli;
pub mod config;
pub mod fetch;
pub mod gate;
pub mod jose;
pub mod model;
pub mod proxy;
pub mod rate;
pub mod server;
pub mod telemetry;
