//! The endpoints of the local authority, over the wire.

mod authorize;
mod away;
mod browser;
mod codes;
pub mod house;
mod jwts;
mod renewal;
mod table;
mod tokens;
