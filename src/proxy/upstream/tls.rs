//! TLS towards the upstream.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    connect::within,
    error::{UpstreamError, UpstreamSetupError},
};
use crate::{
    certificate,
    config::{NamedFile, UpstreamTls},
    model::UnixTime,
};

/// What every TLS connection of an upstream shares, its resumable sessions among them.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    http2: bool,
    /// When the first certificate of our own chain ends.
    pub(super) expires: Option<UnixTime>,
}

impl Tls {
    pub(super) fn new(host: &str, settings: &UpstreamTls, http2: bool) -> Result<Self, UpstreamSetupError> {
        let host = settings.server_name.as_deref().unwrap_or(host);
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name =
            ServerName::try_from(bare.to_owned()).map_err(|_| UpstreamSetupError::ServerName(host.to_owned()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(settings.ca_file.as_ref())?);
        let mut expires = None;
        let mut config = match &settings.identity {
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                expires = certificate::expires(&chain);
                let key = PrivateKeyDer::from_pem_slice(key.content()).map_err(|error| unusable(key, error))?;
                builder.with_client_auth_cert(chain, key)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name, http2, expires })
    }

    pub(super) async fn handshake(
        &self,
        socket: TcpStream,
        deadline: Option<Instant>,
    ) -> Result<TlsStream<TcpStream>, UpstreamError> {
        let stream =
            within(deadline, self.connector.connect(self.name.clone(), socket)).await?.map_err(UpstreamError::Tls)?;
        if self.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(UpstreamError::Alpn);
        }
        Ok(stream)
    }
}

fn roots(ca_file: Option<&NamedFile>) -> Result<RootCertStore, UpstreamSetupError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| unusable(file, error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let reason = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
                return Err(UpstreamSetupError::SystemRoots(reason));
            }
        }
    }
    Ok(roots)
}

fn certificates(file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, UpstreamSetupError> {
    let certificates = CertificateDer::pem_slice_iter(file.content())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(file, error))?;
    if certificates.is_empty() {
        return Err(unusable(file, "holds no certificate"));
    }
    Ok(certificates)
}

fn unusable(file: &NamedFile, reason: impl ToString) -> UpstreamSetupError {
    UpstreamSetupError::File { path: file.path().to_owned(), reason: reason.to_string() }
}
