use std::path::{Path, PathBuf};

use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use sidegate::{
    config::{NamedFile, UpstreamTls},
    proxy::upstream::UpstreamSetupError,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A certificate authority with a folder for what it issues.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Authority {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sidegate-tls-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key for `name`.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    /// An HTTPS upstream for `name` that answers `hello`, to holders of a certificate of this authority if `mutual`.
    async fn origin(&self, name: &str, mutual: bool, alpn: Option<&[u8]>) -> SocketAddr {
        let (certificate, key) = self.issue(name);
        let certificate = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.ca()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(certificate, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|alpn| alpn.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let http2 = alpn == Some(b"h2");
        let origin = origin(move |wire| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(wire.stream).await else {
                    return;
                };
                let service = service_fn(|request: Request<Incoming>| async move {
                    assert!(request.uri().scheme_str().is_none_or(|scheme| scheme == "https"));
                    Ok::<_, Infallible>(Response::new(ResponseBody::from(Bytes::from("hello"))))
                });
                let io = TokioIo::new(stream);
                if http2 {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let _ = hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                }
            }
        })
        .await;
        origin.address
    }
}

fn https(address: SocketAddr, ca: &Path, name: &str, identity: Option<(PathBuf, PathBuf)>) -> config::Upstream {
    let read = |path: &Path| NamedFile::read(path).unwrap();
    let identity = identity.map(|(certificate, key)| (read(&certificate), read(&key)));
    let tls = UpstreamTls { ca_file: Some(read(ca)), server_name: Some(name.to_owned()), identity };
    settings(config::Target::Https { host: address.ip().to_string(), port: address.port(), tls })
}

#[tokio::test]
async fn a_private_authority_is_believed_for_its_names_only() {
    let authority = Authority::new("names");
    let address = authority.origin("orders.internal", false, None).await;
    let right = Upstream::new(https(address, &authority.ca(), "orders.internal", None), 1).unwrap();
    assert_eq!(fetch(&right, get()).await, (StatusCode::OK, Bytes::from("hello")));
    assert_eq!(fetch(&right, get()).await.1, "hello");
    assert_eq!((right.snapshot().opened, right.snapshot().reused), (1, 1));
    let wrong = Upstream::new(https(address, &authority.ca(), "billing.internal", None), 1).unwrap();
    let error = send(&wrong, get()).await.err().unwrap();
    assert_eq!((error.code(), error.status()), ("upstream_tls", StatusCode::BAD_GATEWAY));
}

#[tokio::test]
async fn another_authority_is_not_believed() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let address = theirs.origin("orders.internal", false, None).await;
    let upstream = Upstream::new(https(address, &ours.ca(), "orders.internal", None), 1).unwrap();
    assert_eq!(send(&upstream, get()).await.err().unwrap().code(), "upstream_tls");
}

#[tokio::test]
async fn mutual_tls_shows_our_certificate() {
    let authority = Authority::new("mutual");
    let address = authority.origin("orders.internal", true, None).await;
    let identity = authority.issue("sidegate");
    let with = Upstream::new(https(address, &authority.ca(), "orders.internal", Some(identity)), 1).unwrap();
    assert_eq!(fetch(&with, get()).await.1, "hello");
    let without = Upstream::new(https(address, &authority.ca(), "orders.internal", None), 1).unwrap();
    assert_eq!(send(&without, get()).await.err().unwrap().status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn http2_over_tls_needs_alpn() {
    let authority = Authority::new("alpn");
    let chosen = authority.origin("orders.internal", false, Some(b"h2")).await;
    let silent = authority.origin("orders.internal", false, None).await;
    let http2 = |address| {
        let mut settings = https(address, &authority.ca(), "orders.internal", None);
        settings.http2 = true;
        Upstream::new(settings, 1).unwrap()
    };
    assert_eq!(fetch(&http2(chosen), get()).await.1, "hello");
    assert_eq!(send(&http2(silent), get()).await.err().unwrap().code(), "upstream_alpn");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new("files");
    let address = "127.0.0.1:1".parse().unwrap();
    let empty = authority.folder.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let error = Upstream::new(https(address, &empty, "a", None), 1).err().unwrap();
    assert!(error.to_string().ends_with("empty.pem: holds no certificate"), "{error}");
    let error = Upstream::new(https(address, &authority.ca(), "not a name", None), 1).err().unwrap();
    assert!(matches!(error, UpstreamSetupError::ServerName(_)));
}
