//! What an operator sees: log lines and metric families. Labels come from the configuration or from closed enums.

pub mod audit;
mod line;
pub mod log;
pub mod metrics;
pub mod reason;
pub mod recent;
