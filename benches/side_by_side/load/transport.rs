//! Connections: TCP, and TLS 1.3 on it.

use std::{error::Error, io, sync::Arc};

use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{plan::HOST, wire};

pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// How to connect; with TLS, its tickets are those of one connection after the other.
#[derive(Clone)]
pub struct Transport {
    tls: Option<TlsConnector>,
    pub resume: bool,
}

impl Transport {
    /// What the options say; `http2` is what ALPN offers.
    pub fn read(http2: bool) -> Result<Self, Box<dyn Error>> {
        let resume = wire::flag("--resume");
        let Some(file) = wire::option("--tls") else { return Ok(Self { tls: None, resume }) };
        let group =
            if wire::flag("--hybrid") { aws_lc_rs::kx_group::X25519MLKEM768 } else { aws_lc_rs::kx_group::X25519 };
        // One of each, so that no server chooses what is cheaper for it.
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![group],
            ..aws_lc_rs::default_provider()
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file)?)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        config.resumption = Resumption::disabled();
        Ok(Self { tls: Some(Arc::new(config).into()), resume })
    }

    /// The same with a place of its own for tickets, where there are any.
    pub fn with_own_tickets(&self) -> Self {
        let tls = self.tls.as_ref().map(|connector| {
            let mut config = ClientConfig::clone(connector.config());
            if self.resume {
                config.resumption = Resumption::in_memory_sessions(SERVERS);
            }
            TlsConnector::from(Arc::new(config))
        });
        Self { tls, ..*self }
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub async fn connect(&self, address: &str) -> io::Result<(Box<dyn Stream>, Option<HandshakeKind>)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok((Box::new(stream), None)) };
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let stream = tls.connect(name, stream).await?;
        let kind = stream.get_ref().1.handshake_kind();
        Ok((Box::new(stream), kind))
    }
}

/// Servers whose tickets are kept: there is one.
const SERVERS: usize = 1;
