//! What the running program was built from.

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Twelve digits of the commit, with `-dirty` when something was changed since; empty where it is not known, as in a build
/// of every day. See `build.rs`.
pub const REVISION: &str = env!("SIDEGATE_REVISION");

/// Version and revision, as `sidegate --version` shows them: `0.1.0 (1a2b3c4d5e6f)`.
pub const SHOWN: &str = env!("SIDEGATE_SHOWN_VERSION");

/// The compiler's version.
pub const RUSTC: &str = env!("SIDEGATE_RUSTC");
