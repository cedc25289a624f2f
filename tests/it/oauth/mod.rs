//! The endpoints of the local authority, over the wire.

mod authorize;
mod away;
mod browser;
mod dialects;
mod house;
mod table;
mod tokens;
