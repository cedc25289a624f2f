//! The store that many replicas share, in Redis or Valkey.

#[expect(dead_code, reason = "the store is not there yet")]
mod link;
#[expect(dead_code, reason = "the store is not there yet")]
mod script;
