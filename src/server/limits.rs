//! hyper's limits on a request's head: a little above the configured ones, so that the gate can refuse with a body.

use crate::config::Limits;

/// Room above the configured bytes, in which a head still reaches the gate and gets its answer from there.
const SLACK_BYTES: usize = 8 * 1024;

/// hyper keeps this many headers on the stack; one more costs allocations on every request.
const STACK_HEADERS: usize = 100;

/// What RFC 9113 section 6.5.2 counts for each field beyond its octets.
const H2_FIELD_OVERHEAD: usize = 32;

/// hyper's limits on a head, derived from the configured ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadLimits {
    pub(super) bytes: usize,
    pub(super) count: usize,
    /// SETTINGS_MAX_HEADER_LIST_SIZE.
    pub(super) h2_list: u32,
}

pub(super) fn head_limits(limits: &Limits) -> HeadLimits {
    let bytes = limits.header_bytes.saturating_add(SLACK_BYTES);
    let count = if limits.header_count < STACK_HEADERS { limits.header_count + 1 } else { limits.header_count };
    let list = bytes.saturating_add(limits.header_count.saturating_mul(H2_FIELD_OVERHEAD));
    HeadLimits { bytes, count, h2_list: u32::try_from(list).unwrap_or(u32::MAX) }
}
