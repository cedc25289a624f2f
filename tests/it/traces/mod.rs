//! Spans, as a collector receives them.

mod collector;
mod delivery;
mod renewals;
mod tree;
