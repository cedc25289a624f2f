//! The golden files of `tests/golden`, and what must hold for any bytes.

mod declared;
mod golden;
mod properties;
mod sample;
