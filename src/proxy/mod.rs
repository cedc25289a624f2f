//! To come.

pub mod path;
mod readings;
pub mod routes;
