//! Where clients, probes and operators connect.

use std::{net::SocketAddr, path::Path, time::Duration};

use ipnet::IpNet;

use super::{
    files,
    names::{self, Distinct},
    section::Section,
    urls,
};
use crate::{
    config::{Address, ClientCertificates, Limits, Listener, ListenerTls, Protocols, TlsVersion, settings},
    model::Questions,
};

const KIB: u64 = 1024;
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// `root` is the whole configuration; `trust` tells whether any proxy is trusted.
pub(super) fn check(
    listeners: Option<&[settings::Listener]>,
    root: &Section<'_>,
    trust: bool,
) -> Option<Vec<Listener>> {
    let section = root.key("listeners");
    let one = [settings::Listener::default()];
    if listeners.is_some_and(<[_]>::is_empty) {
        section.problem("empty, so nobody could connect", "leave the key out for one listener on 127.0.0.1:8080");
        return None;
    }
    let listeners = listeners.unwrap_or(&one);
    let (mut names, mut addresses) = (Distinct::default(), Distinct::default());
    let checked: Vec<Option<Listener>> = listeners
        .iter()
        .enumerate()
        .map(|(index, settings)| {
            let section = section.key(index);
            let checked = check_one(settings, &section, trust)?;
            names.note(&*checked.name, index, "listeners", &section.key("name"));
            if let Some(address) = bound(&checked.address) {
                addresses.note(address, index, "listeners", &section.key("address"));
            }
            Some(checked)
        })
        .collect();
    checked.into_iter().collect()
}

fn check_one(settings: &settings::Listener, section: &Section<'_>, trust: bool) -> Option<Listener> {
    let main = "main".to_owned();
    let name = names::label(Some(settings.name.as_ref().unwrap_or(&main)), section, "main");
    let address = match &settings.address {
        Some(text) => address(text, &section.key("address")),
        None => Some(Address::Tcp(DEFAULT_ADDRESS)),
    };
    let speaks = |protocol| settings.protocols.as_ref().is_none_or(|list| list.contains(&protocol));
    let protocols = Protocols { http1: speaks(settings::Protocol::Http1), http2: speaks(settings::Protocol::Http2) };
    if !protocols.http1 && !protocols.http2 {
        section.key("protocols").problem("empty", "write for example protocols: [http1, http2]");
    }
    let tls = settings.tls.as_ref().map(|settings| check_tls(settings, &section.key("tls")));
    let proxy_protocol = settings.proxy_protocol == Some(settings::ProxyProtocol::Required);
    if proxy_protocol && !trust {
        section.key("proxy_protocol").problem(
            "required, but only trusted_proxies may send it and none is named",
            "name the network of the proxy in trusted_proxies",
        );
    }
    let decision = settings.decision.as_ref().map(|decision| check_decision(decision, &section.key("decision")));
    if decision.is_some() && proxy_protocol {
        section.key("proxy_protocol").problem(
            "what asks at a decision listener is the proxy itself, which sends no header of this kind",
            "leave it out",
        );
    }
    let (name, address) = (name?, address?);
    if let Address::Tcp(tcp) = address
        && decision.is_some()
        && !trust
        && !tcp.ip().is_loopback()
    {
        section.key("address").problem(
            "only the proxies in trusted_proxies may ask from other machines, and none is named",
            "name the network of the proxy in trusted_proxies, or use 127.0.0.1 or unix:/path",
        );
    }
    if let Address::Tcp(tcp) = address
        && tls.is_none()
        && !trust
        && !tcp.ip().is_loopback()
    {
        let section = section.key("address");
        section.warn(
            format!("tokens arrive in plain text at {}", section.shown(tcp)),
            "set tls; if something before it ends TLS, as an ingress does, name its network in trusted_proxies",
        );
    }
    let tls = match tls {
        Some(tls) => Some(tls?),
        None => None,
    };
    let decision = match decision {
        Some(decision) => Some(decision?),
        None => None,
    };
    Some(Listener {
        name,
        address,
        protocols,
        tls,
        proxy_protocol,
        decision,
        limits: check_limits(&settings.limits, &section.key("limits")),
    })
}

fn check_decision(settings: &settings::Decision, section: &Section<'_>) -> Option<Questions> {
    use settings::DecisionFrom as From;
    let Some(from) = settings.from else {
        section.key("from").problem("missing", "write from: nginx, from: forwarded (Traefik, Caddy) or from: envoy");
        return None;
    };
    let prefix = settings.path_prefix.as_deref().unwrap_or_default();
    let prefix_section = section.key("path_prefix");
    match from {
        From::Envoy if prefix.is_empty() => Some(Questions::Envoy { path_prefix: prefix.into() }),
        From::Envoy => match urls::literal_path_fault(prefix).or(prefix.ends_with('/').then(|| "ends with /".into())) {
            None => Some(Questions::Envoy { path_prefix: prefix.into() }),
            Some(fault) => {
                prefix_section.problem(
                    format!("{} {fault}", prefix_section.shown(prefix)),
                    "write what path_prefix of Envoy's http_service is, for example /ask",
                );
                None
            }
        },
        From::Nginx | From::Forwarded if !prefix.is_empty() => {
            prefix_section.problem("the target of the request is in a header here", "leave it out");
            None
        }
        From::Nginx => Some(Questions::Nginx),
        From::Forwarded => Some(Questions::Forwarded),
    }
}

fn check_limits(settings: &settings::Limits, section: &Section<'_>) -> Limits {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    // hyper needs 8 KiB for a request head.
    let header_bytes = section.size("header_bytes", settings.header_bytes, 32 * KIB, 8 * KIB..=1024 * KIB);
    Limits {
        connections: section.number("connections", settings.connections, 10_000, 1..=1_000_000),
        header_bytes: usize::try_from(header_bytes).unwrap_or(usize::MAX),
        header_count: section.number("header_count", settings.header_count, 100, 8..=1000),
        header_read_timeout: section.span("header_read_timeout", settings.header_read_timeout, s(10), ms(100)..=s(600)),
        idle_timeout: section.span("idle_timeout", settings.idle_timeout, s(75), s(1)..=s(86400)),
        http2_streams: section.number("http2_streams", settings.http2_streams, 128, 1..=10_000),
        http2_pending_resets: section.number("http2_pending_resets", settings.http2_pending_resets, 20, 1..=10_000),
    }
}

fn check_tls(settings: &settings::ListenerTls, section: &Section<'_>) -> Option<ListenerTls> {
    use settings::ClientCertificates as Wanted;
    let certificate = section.required("certificate_file", settings.certificate_file.as_ref(), "tls/server.pem");
    let key = section.required("key_file", settings.key_file.as_ref(), "tls/server.key");
    let wanted = settings.client_certificates.unwrap_or(Wanted::Off);
    let ca_section = section.key("client_ca_file");
    let client_certificates = match (wanted, &settings.client_ca_file) {
        (Wanted::Off, None) => Some(ClientCertificates::Off),
        (Wanted::Off, Some(_)) => {
            ca_section.problem("given, but client certificates are off", "set client_certificates: required");
            None
        }
        (_, None) => {
            ca_section.problem("missing", "name the certificates that sign the clients' ones");
            None
        }
        (Wanted::Optional, Some(file)) => {
            files::authorities(file, &ca_section).map(|ca_file| ClientCertificates::Optional { ca_file })
        }
        (Wanted::Required, Some(file)) => {
            files::authorities(file, &ca_section).map(|ca_file| ClientCertificates::Required { ca_file })
        }
    };
    let (certificate_file, key_file) = files::identity(certificate?, key?, section)?;
    Some(ListenerTls {
        certificate_file,
        key_file,
        client_certificates: client_certificates?,
        min_version: match settings.min_version {
            Some(settings::TlsVersion::Tls13) => TlsVersion::Tls13,
            Some(settings::TlsVersion::Tls12) | None => TlsVersion::Tls12,
        },
    })
}

/// What two listeners cannot both bind; `None` for a port that the system chooses.
pub(super) fn bound(address: &Address) -> Option<String> {
    match address {
        Address::Tcp(address) => (address.port() != 0).then(|| address.to_string()),
        Address::Unix(path) => Some(format!("unix:{}", path.display())),
    }
}

pub(super) fn address(text: &str, section: &Section<'_>) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path, section).map(Address::Unix);
    }
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    match numeric.as_deref().unwrap_or(text).parse() {
        Ok(address) => Some(Address::Tcp(address)),
        Err(_) => {
            section.problem(
                format!("{} is not an address to listen on", section.shown(text)),
                "write 127.0.0.1:8080, [::1]:8080, 0.0.0.0:8080 or unix:/run/sidegate.sock",
            );
            None
        }
    }
}

/// The path of a unix socket, which the kernel keeps in 108 bytes.
pub(super) fn unix(path: &str, section: &Section<'_>) -> Option<std::path::PathBuf> {
    const LONGEST: usize = 107;
    let path = section.resolve(Path::new(path));
    let length = path.as_os_str().len();
    if path.file_name().is_none() || length > LONGEST || path.to_string_lossy().contains('\0') {
        section
            .problem(format!("this is not the path of a socket of up to {LONGEST} bytes"), "write unix:/run/app.sock");
        return None;
    }
    Some(path)
}

/// Networks; an address alone is a network of one.
pub(super) fn trusted_proxies(networks: &[String], section: &Section<'_>) -> Option<Vec<IpNet>> {
    names::all(networks, section, |text, section| {
        let network = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        match network {
            Ok(network) if network.prefix_len() == 0 => {
                section.warn(
                    "every peer is trusted, so every client can claim any address",
                    "name the network of the proxies",
                );
                Some(network)
            }
            Ok(network) => Some(network),
            Err(_) => {
                section.problem(format!("{} is not a network", section.shown(text)), "write for example 10.0.0.0/8");
                None
            }
        }
    })
}
