//! To come.

pub mod headers;
pub mod path;
mod readings;
pub mod routes;
