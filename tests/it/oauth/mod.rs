//! The endpoints of the local authority, over the wire.

mod authorize;
mod browser;
mod house;
mod tokens;
