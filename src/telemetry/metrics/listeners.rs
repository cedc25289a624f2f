//! The families of listeners, and of the certificates that are shown to others.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::{Families, Metrics, clamp};

pub(super) struct ListenerFamilies {
    connections: IntGaugeVec,
    most: IntGaugeVec,
    accepted: IntCounterVec,
    handshakes: IntCounterVec,
    certificate: GaugeVec,
}

/// What a listener counts by itself, read at a scrape.
pub struct ListenerSnapshot<'a> {
    pub name: &'a str,
    pub open: u64,
    pub accepted: u64,
    /// Handshakes, by the version that they came to.
    pub tls12: u64,
    pub tls13: u64,
    pub tls_failed: u64,
}

/// A certificate that we show: a listener to clients, or to an upstream for ourselves.
pub struct CertificateSnapshot<'a> {
    /// Of the listener or the upstream.
    pub name: &'a str,
    /// Seconds since 1970.
    pub expires: u64,
}

impl ListenerFamilies {
    pub(super) fn new(family: &Families<'_>) -> ListenerFamilies {
        ListenerFamilies {
            connections: family.gauges("connections", "Open client connections.", &["listener"]),
            most: family.gauges(
                "connections_max",
                "Client connections that a listener may have open; more wait in the kernel.",
                &["listener"],
            ),
            accepted: family.counters("connections_total", "Client connections accepted.", &["listener"]),
            handshakes: family.counters(
                "tls_handshakes_total",
                "TLS handshakes with clients; one that failed has no version.",
                &["listener", "version", "result"],
            ),
            certificate: family.float_gauges(
                "tls_certificate_expiry_timestamp_seconds",
                "When the first certificate of the chain ends that a listener shows to clients, or sidegate to an upstream, in \
                 seconds since 1970.",
                &["name"],
            ),
        }
    }
}

impl Metrics {
    pub(super) fn observe_listeners(
        &self,
        listeners: &[ListenerSnapshot<'_>],
        limits: &[(&str, u64)],
        certificates: &[CertificateSnapshot<'_>],
    ) {
        let family = &self.listeners;
        for listener in listeners {
            let name = listener.name;
            family.connections.with_label_values(&[name]).set(clamp(listener.open));
            self.grow(&family.accepted, &[name], name, listener.accepted);
            for (version, result, count) in [
                ("1.2", "success", listener.tls12),
                ("1.3", "success", listener.tls13),
                ("none", "failure", listener.tls_failed),
            ] {
                self.grow(&family.handshakes, &[name, version, result], name, count);
            }
        }
        for (listener, most) in limits {
            family.most.with_label_values(&[listener]).set(clamp(*most));
        }
        family.certificate.reset();
        for certificate in certificates {
            family.certificate.with_label_values(&[certificate.name]).set(certificate.expires as f64);
        }
    }
}
