//! The endpoints of the local authority, over the wire.

mod house;
mod tokens;
