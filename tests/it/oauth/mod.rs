//! The endpoints of the local authority, over the wire.

mod authorize;
mod browser;
pub mod house;
mod tokens;
