//! The small listeners beside the product's: health and admin. HTTP/1.1 without TLS, under tight limits.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{BindError, Handler, Listeners, Shutdown, worker::Worker};
use crate::config::{Address, Limits, Listener, Protocols};

const LIMITS: Limits = Limits {
    connections: 64,
    header_bytes: 8 * 1024,
    header_count: 64,
    header_read_timeout: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(5),
    http2_streams: 1,
    http2_pending_resets: 1,
};

/// A bound listener of that kind, served on the runtime of whoever calls [`PlainServer::serve`].
pub struct PlainServer {
    listeners: Listeners,
}

impl PlainServer {
    /// Opens the listener; connections wait until [`PlainServer::serve`].
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn bind(name: &str, address: &Address) -> Result<Self, BindError> {
        let listener = Listener {
            name: name.into(),
            address: address.clone(),
            protocols: Protocols { http1: true, http2: false },
            tls: None,
            proxy_protocol: false,
            decision: None,
            limits: LIMITS,
        };
        Ok(PlainServer { listeners: Listeners::bind(&[listener], &[])? })
    }

    /// Where it listens: a port 0 has become the one that was taken.
    pub fn address(&self) -> Address {
        self.listeners.addresses().swap_remove(0)
    }

    /// Accepts until the returned future is dropped. It stays open through a drain, which probes are to see.
    pub async fn serve<H: Handler>(self, handler: Arc<H>) {
        let bounds = self.listeners.watch();
        let bound = bounds.borrow().first().cloned().expect("`bind` opened one listener");
        let worker = Worker { index: 0, handler: Arc::new(ArcSwap::new(handler)), shutdown: Shutdown::default() };
        worker.accept(bound, bounds).await;
    }
}
