//! The endpoints of the local authority, over the wire.

pub mod audited;
mod authorize;
pub mod away;
pub mod browser;
mod codes;
mod compact;
mod declared;
pub mod dialects;
mod discovery;
pub mod house;
mod jwts;
mod known_clients;
mod people;
mod renewal;
mod table;
mod together;
mod tokens;
mod told;
