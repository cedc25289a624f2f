//! Upstreams that are shown one token of sidegate's own, and how that is kept good.

mod ahead;
mod away;
mod dialects;
mod forced;
mod hostile;
pub mod house;
mod min_life;
mod reload;
mod seen;
mod shown;
