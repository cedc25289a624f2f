//! What is known of a request from its first moment.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::{
    model::{Connection, Context, RequestId, TraceId, UnixMillis, distinct},
    proxy::headers::{asked_client, client_address, is_trusted},
};

pub(super) fn of(
    headers: &HeaderMap,
    connection: &Arc<Connection>,
    moment: UnixMillis,
    trusted_proxies: &[IpNet],
) -> Context {
    let peer = connection.peer().ip();
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
        client: asked_client(connection.peer().ip(), headers, trusted_proxies),
        connection: connection.clone(),
    }
}

/// The one that a trusted proxy gave, so that one id holds from end to end; otherwise a new one.
fn request_id(headers: &HeaderMap, trusted: bool) -> RequestId {
    let given = trusted.then(|| headers.get(REQUEST_ID)).flatten().and_then(RequestId::given);
    given.unwrap_or_else(|| RequestId::new(distinct()))
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
