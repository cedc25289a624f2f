//! The listening sockets, bound once and shared by all workers, and what a reload may change about them.

use std::{fs, io, sync::Arc};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use socket2::Socket;
use tokio::sync::watch;

use super::{
    permits::Permits,
    shutdown::{Count, Token},
    socket,
    stats::ListenerStats,
    tls::{self, Acceptor, TlsError},
};
use crate::{
    config::{Address, Limits, Listener, ListenerTls, Protocols},
    model::{Peer, Questions},
};

/// Why the listeners of a configuration cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "listener `{listener}`: cannot listen on {address}: {source}; if another process has it, choose another address"
    )]
    Socket { listener: Arc<str>, address: Address, source: io::Error },
    #[error("listener {listener:?}: {source}")]
    Tls { listener: Arc<str>, source: TlsError },
}

/// The open listeners. Clones share one state.
#[derive(Clone)]
pub struct Listeners {
    bound: Arc<watch::Sender<Vec<Arc<Bound>>>>,
    sockets: Count,
}

impl Listeners {
    /// Opens every listener; connections wait in the kernel until [`run`](super::run) accepts them.
    ///
    /// # Errors
    /// The first listener that cannot be opened; then none is.
    pub fn bind(listeners: &[Listener], trusted_proxies: &[IpNet]) -> Result<Self, BindError> {
        let opened = Listeners { bound: Arc::default(), sockets: Count::default() };
        opened.rebind(listeners, trusted_proxies)?;
        Ok(opened)
    }

    /// Takes over the listeners of a new configuration. One whose address stays is not closed; its certificates,
    /// limits and the rest hold for connections accepted from now on. One that is gone stops accepting, and its
    /// connections go on. Not to be called once a drain has begun.
    ///
    /// # Errors
    /// As [`Listeners::bind`]; then everything stays as it was. An address that overlaps one still open (a port moved
    /// from all addresses to one of them) is in use.
    pub fn rebind(&self, listeners: &[Listener], trusted_proxies: &[IpNet]) -> Result<(), BindError> {
        self.prepare(listeners, trusted_proxies)?.apply();
        Ok(())
    }

    /// Everything of [`Listeners::rebind`] that may fail. Sockets that it opened close when it is dropped.
    ///
    /// # Errors
    /// As [`Listeners::rebind`].
    pub fn prepare(&self, listeners: &[Listener], trusted_proxies: &[IpNet]) -> Result<Rebinding<'_>, BindError> {
        let mut left = self.bound.borrow().clone();
        let mut changes = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let stats = self.stats_of(&listener.name);
            let kept = left.iter().position(|bound| bound.configured == listener.address);
            let kept = kept.map(|at| left.swap_remove(at));
            let old = kept.as_ref().map(|bound| bound.settings.load_full());
            let settings = Settings::new(listener, trusted_proxies, stats, old.as_deref())?;
            let bound = match kept {
                Some(bound) => bound,
                None => Arc::new(Bound::open(listener, settings.clone(), self.sockets.token())?),
            };
            changes.push((bound, settings));
        }
        Ok(Rebinding { listeners: self, changes })
    }

    /// Where the listeners are, in the order of the configuration: a port 0 has become the one that was taken.
    pub fn addresses(&self) -> Vec<Address> {
        self.bound.borrow().iter().map(|bound| bound.address.clone()).collect()
    }

    /// The counters of the listeners, in the order of the configuration.
    pub fn stats(&self) -> Vec<Arc<ListenerStats>> {
        self.bound.borrow().iter().map(|bound| bound.settings.load().stats.clone()).collect()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Vec<Arc<Bound>>> {
        self.bound.subscribe()
    }

    /// Lets go of the sockets; each closes when the last worker does.
    pub(super) fn close(&self) {
        self.bound.send_replace(Vec::new());
    }

    /// Waits until every socket is closed, and with it every backlog emptied.
    pub(super) async fn closed(&self) {
        self.sockets.zero().await;
    }

    fn stats_of(&self, name: &Arc<str>) -> Arc<ListenerStats> {
        let same = self.stats().into_iter().find(|stats| stats.name == *name);
        same.unwrap_or_else(|| Arc::new(ListenerStats::new(name.clone())))
    }
}

/// Listeners of a new configuration, ready to be taken over.
pub struct Rebinding<'l> {
    listeners: &'l Listeners,
    changes: Vec<(Arc<Bound>, Arc<Settings>)>,
}

impl Rebinding<'_> {
    /// Takes them over, which cannot fail.
    pub fn apply(self) {
        for (bound, settings) in &self.changes {
            bound.permits.resize(settings.limits.connections);
            bound.settings.store(settings.clone());
            settings.stats.shows_certificate(settings.tls.as_ref().and_then(|tls| tls.expires));
        }
        self.listeners.bound.send_replace(self.changes.into_iter().map(|(bound, _)| bound).collect());
    }
}

/// One open listening socket.
pub(super) struct Bound {
    /// As configured; a port 0 stays a 0, so that a reload finds it again.
    configured: Address,
    address: Address,
    pub(super) socket: Socket,
    pub(super) permits: Permits,
    pub(super) settings: ArcSwap<Settings>,
    _open: Token,
}

impl Bound {
    fn open(listener: &Listener, settings: Arc<Settings>, open: Token) -> Result<Self, BindError> {
        let failed =
            |source| BindError::Socket { listener: listener.name.clone(), address: listener.address.clone(), source };
        let socket = socket::listen(&listener.address).map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        Ok(Bound {
            configured: listener.address.clone(),
            address: local.as_socket().map_or_else(|| listener.address.clone(), Address::Tcp),
            socket,
            permits: Permits::new(listener.limits.connections),
            settings: ArcSwap::new(settings),
            _open: open,
        })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Before the socket closes, so that whoever binds next finds no file that he might take for a stale one.
        if let Address::Unix(path) = &self.address
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(%error, "the file of a unix socket could not be removed");
        }
    }
}

/// What holds for the connections of a listener; a reload replaces it whole.
pub(super) struct Settings {
    pub(super) protocols: Protocols,
    pub(super) tls: Option<Acceptor>,
    pub(super) proxy_protocol: bool,
    pub(super) decision: Option<Questions>,
    pub(super) limits: Limits,
    pub(super) stats: Arc<ListenerStats>,
    /// What `tls` was made of.
    configured_tls: Option<ListenerTls>,
    trusted_proxies: Arc<[IpNet]>,
}

impl Settings {
    fn new(
        listener: &Listener,
        trusted_proxies: &[IpNet],
        stats: Arc<ListenerStats>,
        old: Option<&Settings>,
    ) -> Result<Arc<Self>, BindError> {
        let same = |old: &&Settings| old.configured_tls == listener.tls && old.protocols == listener.protocols;
        let tls = match (old.filter(same), &listener.tls) {
            // Its clients' tickets stay good.
            (Some(old), _) => old.tls.clone(),
            (None, Some(tls)) => Some(
                tls::acceptor(tls, listener.protocols)
                    .map_err(|source| BindError::Tls { listener: listener.name.clone(), source })?,
            ),
            (None, None) => None,
        };
        Ok(Arc::new(Settings {
            protocols: listener.protocols,
            tls,
            proxy_protocol: listener.proxy_protocol,
            decision: listener.decision.clone(),
            limits: listener.limits.clone(),
            stats,
            configured_tls: listener.tls.clone(),
            trusted_proxies: trusted_proxies.into(),
        }))
    }

    /// Whether a PROXY header of this peer is believed. Who may reach a Unix socket is decided by its file's mode.
    pub(super) fn trusts(&self, peer: Peer) -> bool {
        peer.ip().is_none_or(|ip| self.trusted_proxies.iter().any(|network| network.contains(&ip)))
    }
}
