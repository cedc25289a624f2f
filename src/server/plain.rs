//! The small listeners beside the product's: health and admin. HTTP/1.1 without TLS, under tight limits.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{BindError, Handler, Listeners, Rebinding, Shutdown, balance::Team, worker::Worker};
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

/// A listener of that kind, served on the runtime of whoever calls [`PlainServer::serve`]. Clones share it.
#[derive(Clone)]
pub struct PlainServer {
    name: &'static str,
    listeners: Listeners,
}

impl PlainServer {
    /// Opens the listener, if it has an address; connections wait until [`PlainServer::serve`].
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn bind(name: &'static str, address: Option<&Address>) -> Result<Self, BindError> {
        let server = PlainServer { name, listeners: Listeners::bind(&[], &[])? };
        server.prepare(address)?.apply();
        Ok(server)
    }

    /// Opens what a new configuration has in place of its address. Connections that are there go on.
    ///
    /// # Errors
    /// The address cannot be listened on; then everything stays as it was.
    pub fn prepare(&self, address: Option<&Address>) -> Result<Rebinding<'_>, BindError> {
        let listener = address.map(|address| Listener {
            name: self.name.into(),
            address: address.clone(),
            protocols: Protocols { http1: true, http2: false },
            tls: None,
            proxy_protocol: false,
            decision: None,
            limits: LIMITS,
        });
        self.listeners.prepare(listener.as_slice(), &[])
    }

    /// Where it listens, if it does: a port 0 has become the one that was taken.
    pub fn address(&self) -> Option<Address> {
        self.listeners.addresses().pop()
    }

    /// Accepts as long as the runtime lives. It stays open through a drain, which probes are to see.
    pub async fn serve<H: Handler>(self, handler: Arc<H>) {
        let bounds = self.listeners.watch();
        let opened = bounds.borrow().clone();
        let handler = Arc::new(ArcSwap::new(handler));
        let (team, mut inboxes) = Team::new(1);
        let inbox = inboxes.remove(0);
        Worker { index: 0, team, handler, shutdown: Shutdown::default() }.work(inbox, opened, bounds).await;
    }
}
