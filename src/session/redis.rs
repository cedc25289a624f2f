//! The store that many replicas share, in Redis or Valkey.

#[cfg_attr(not(test), expect(dead_code, reason = "the store is not there yet"))]
mod link;
#[expect(dead_code, reason = "the store is not there yet")]
mod news;
#[cfg_attr(not(test), expect(dead_code, reason = "the store is not there yet"))]
mod script;
#[cfg(test)]
pub mod testing;
