//! Certificates → TLS settings of a listener. A reload parses first and swaps only what is good.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::{
    certificate,
    config::{ClientCertificates, ListenerTls, NamedFile, Protocols, TlsVersion},
    model::UnixTime,
};

/// Why TLS cannot be served. The texts name files, never what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{path}: no certificate in this PEM file")]
    NoCertificate { path: PathBuf },
    #[error("certificate and key: {0}")]
    Certificate(rustls::Error),
    #[error("{path}: not usable as the authority of client certificates: {reason}")]
    ClientAuthority { path: PathBuf, reason: String },
    #[error("{0}")]
    Provider(rustls::Error),
}

/// The TLS settings of a listener.
#[derive(Debug, Clone)]
pub struct Acceptor {
    pub config: Arc<ServerConfig>,
    /// When the first certificate of its chain ends; `None`: that cannot be read.
    pub expires: Option<UnixTime>,
}

/// Builds the TLS settings of a listener: its certificate with a key that matches, client certificates, ALPN by
/// `protocols` (RFC 7301, h2 first), session tickets (their keys are new on every call).
///
/// # Errors
/// A file is not what it should be, or the key belongs to another certificate.
pub fn acceptor(tls: &ListenerTls, protocols: Protocols) -> Result<Acceptor, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = match tls.min_version {
        TlsVersion::Tls12 => rustls::ALL_VERSIONS,
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(TlsError::Provider)?;
    let verifier = |ca_file: &NamedFile, required: bool| {
        let roots = Arc::new(authorities(ca_file)?);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let builder = if required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|error| client_authority(ca_file, &error))
    };
    let verifier: Arc<dyn ClientCertVerifier> = match &tls.client_certificates {
        ClientCertificates::Off => WebPkiClientVerifier::no_client_auth(),
        ClientCertificates::Optional { ca_file } => verifier(ca_file, false)?,
        ClientCertificates::Required { ca_file } => verifier(ca_file, true)?,
    };
    let key =
        PrivateKeyDer::from_pem_slice(tls.key_file.content()).map_err(|error| unreadable(&tls.key_file, error))?;
    let chain = certificates(&tls.certificate_file)?;
    let expires = certificate::expires(&chain);
    let mut config =
        builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).map_err(TlsError::Certificate)?;
    if protocols.http2 {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    if protocols.http1 {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Provider)?;
    Ok(Acceptor { config: Arc::new(config), expires })
}

fn certificates(file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(file.content())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(file, error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate { path: file.path().into() }) } else { Ok(chain) }
}

fn authorities(file: &NamedFile) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| client_authority(file, &error))?;
    }
    Ok(roots)
}

fn client_authority(file: &NamedFile, error: &dyn std::error::Error) -> TlsError {
    TlsError::ClientAuthority { path: file.path().into(), reason: error.to_string() }
}

/// Says what is wrong without quoting: some of the parser's own texts hold a line of the file, which may be a key.
fn unreadable(file: &NamedFile, error: pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "no private key in this PEM file".into(),
        pem::Error::MissingSectionEnd { .. } => "a PEM section has no END line".into(),
        pem::Error::Base64Decode(_) => "a PEM section is not base64".into(),
        _ => "not a PEM file".into(),
    };
    TlsError::File { path: file.path().into(), reason }
}
