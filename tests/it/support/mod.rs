//! A real sidegate on free ports, an issuer whose tokens the test writes, an upstream that remembers, a plain client.

pub mod authority;
pub mod client;
pub mod issuer;
pub mod keys;
pub mod log;
pub mod look;
pub mod mount;
pub mod redis;
pub mod relay;
pub mod sidegate;
pub mod upstream;
pub mod wire;
pub mod xml;

pub use client::{Reply, get, h2, raw, request, send};
pub use issuer::Issuer;
pub use keys::Pair;
pub use mount::Mount;
pub use redis::Redis;
pub use relay::Relay;
pub use sidegate::Sidegate;
pub use upstream::Upstream;
pub use wire::{Scripted, Wire, must};
