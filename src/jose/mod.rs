//! JSON Web Tokens: verify a foreign one, mint the internal one; algorithms are pinned to keys.

pub mod assertion;
pub mod claims;
pub mod folder;
pub mod header;
pub mod keys;
pub mod material;
pub mod mint;
pub mod refusal;
pub mod ring;
pub mod rotation;
#[cfg(test)]
pub mod testing;
pub mod verify;

pub use assertion::Asserter;
pub use claims::Claims;
pub use keys::{Key, KeySet, Liveness};
pub use mint::Minter;
pub use refusal::JwtError;
pub use ring::SigningKeys;
pub use verify::{Peek, Verified, peek};
