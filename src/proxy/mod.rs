//! To come.

pub mod cors;
pub mod headers;
pub mod path;
pub mod rate;
mod readings;
pub mod rewrite;
pub mod routes;
