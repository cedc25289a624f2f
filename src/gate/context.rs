//! What is known of a request from its first moment.

use std::{cell::Cell, sync::Arc, time::Instant};

use aws_lc_rs::rand;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::{
    model::{Connection, Context, RequestId, TraceId, UnixMillis},
    proxy::headers::{asked_client, client_address, is_trusted},
};

pub(super) fn of(
    headers: &HeaderMap,
    connection: &Arc<Connection>,
    moment: UnixMillis,
    trusted_proxies: &[IpNet],
) -> Context {
    let peer = connection.peer.ip();
    let trusted = peer.is_some_and(|peer| is_trusted(peer, trusted_proxies));
    Context {
        now: moment.whole(),
        moment,
        started: Instant::now(),
        id: request_id(headers, trusted),
        trace: headers.get(TRACEPARENT).and_then(TraceId::of),
        client: client_address(peer, headers, trusted_proxies),
        connection: connection.clone(),
    }
}

/// Of a request that a proxy asks about. Its id is the one that the proxy gave.
pub(super) fn asked(
    headers: &HeaderMap,
    connection: &Arc<Connection>,
    moment: UnixMillis,
    trusted_proxies: &[IpNet],
) -> Context {
    Context {
        now: moment.whole(),
        moment,
        started: Instant::now(),
        id: request_id(headers, true),
        trace: headers.get(TRACEPARENT).and_then(TraceId::of),
        client: asked_client(connection.peer.ip(), headers, trusted_proxies),
        connection: connection.clone(),
    }
}

/// The one that a trusted proxy gave, so that one id holds from end to end; otherwise a new one.
fn request_id(headers: &HeaderMap, trusted: bool) -> RequestId {
    let given = trusted.then(|| headers.get(REQUEST_ID)).flatten().and_then(RequestId::given);
    given.unwrap_or_else(|| RequestId::new(next_random()))
}

/// Distinct, not secret: a counter of this thread, spread over 128 bits behind a random start (splitmix64).
fn next_random() -> u128 {
    thread_local! {
        static STATE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    STATE.with(|state| {
        let (mut prefix, counter) = state.get();
        if prefix == 0 {
            let mut seed = [0; 8];
            // Without a random source the ids of this thread begin at a fixed place, and are distinct all the same.
            let _ = rand::fill(&mut seed);
            prefix = u64::from_le_bytes(seed) | 1;
        }
        let counter = counter + 1;
        state.set((prefix, counter));
        u128::from(spread(prefix)) << 64 | u128::from(spread(prefix.wrapping_add(counter.wrapping_mul(GOLDEN))))
    })
}

fn spread(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_do_not_repeat() {
        let ids: HashSet<u128> = (0..10_000).map(|_| next_random()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
