//! Plain counters of a listener, for telemetry to export.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use crate::model::UnixTime;

/// What one listener has seen since the start. Counts survive a reload as long as the listener's name does.
#[derive(Debug)]
pub struct ListenerStats {
    /// `listener` label: the name of the configuration.
    pub name: Arc<str>,
    open: AtomicUsize,
    accepted: AtomicU64,
    tls12: AtomicU64,
    tls13: AtomicU64,
    tls_failed: AtomicU64,
    /// Seconds since 1970; 0: it shows none.
    certificate_expires: AtomicU64,
}

impl ListenerStats {
    pub(super) fn new(name: Arc<str>) -> Self {
        ListenerStats {
            name,
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            tls12: AtomicU64::new(0),
            tls13: AtomicU64::new(0),
            tls_failed: AtomicU64::new(0),
            certificate_expires: AtomicU64::new(0),
        }
    }

    /// Connections open now, upgraded ones included.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Completed handshakes of TLS 1.2.
    pub fn tls12(&self) -> u64 {
        self.tls12.load(Relaxed)
    }

    /// Completed handshakes of TLS 1.3.
    pub fn tls13(&self) -> u64 {
        self.tls13.load(Relaxed)
    }

    /// Handshakes that failed or took too long; their version is unknown.
    pub fn tls_failed(&self) -> u64 {
        self.tls_failed.load(Relaxed)
    }

    /// When the first certificate of the chain ends that it shows.
    pub fn certificate_expires(&self) -> Option<UnixTime> {
        Some(UnixTime(self.certificate_expires.load(Relaxed))).filter(|expires| expires.0 > 0)
    }

    pub(super) fn shows_certificate(&self, expires: Option<UnixTime>) {
        self.certificate_expires.store(expires.map_or(0, |expires| expires.0), Relaxed);
    }

    pub(super) fn handshake(&self, version: Option<rustls::ProtocolVersion>) {
        match version {
            Some(rustls::ProtocolVersion::TLSv1_3) => &self.tls13,
            Some(_) => &self.tls12,
            None => &self.tls_failed,
        }
        .fetch_add(1, Relaxed);
    }
}

/// One open connection in the counts, until it is dropped.
#[derive(Debug)]
pub(super) struct Opened(Arc<ListenerStats>);

impl Opened {
    pub(super) fn count(stats: &Arc<ListenerStats>) -> Self {
        stats.accepted.fetch_add(1, Relaxed);
        stats.open.fetch_add(1, Relaxed);
        Opened(stats.clone())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
