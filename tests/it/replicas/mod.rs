//! One session, whichever replica is asked.

mod anywhere;
mod away;
mod clocks;
mod crossing;
mod house;
mod refreshed;
mod slow;
mod told;
