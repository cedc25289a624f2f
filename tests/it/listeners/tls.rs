//! TLS: ALPN, client certificates, files that do not fit.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use sidegate::{
    config::{ClientCertificates, Listener, ListenerTls, NamedFile, Protocols, TlsVersion},
    server::{Listeners, tls},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::harness::{Raw, Server, body, folder, h2, listener_with, must, request};

/// An authority with one certificate of its making, as files.
struct Authority {
    ca: NamedFile,
    certificate: NamedFile,
    key: NamedFile,
}

impl Authority {
    fn new() -> Self {
        let folder = folder();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            NamedFile::read(&path).unwrap()
        };
        Authority {
            ca: write("ca.pem", ca.pem()),
            certificate: write("leaf.pem", leaf.pem()),
            key: write("leaf.key", key.serialize_pem()),
        }
    }

    fn listener(&self, client_certificates: ClientCertificates) -> Listener {
        listener_with(|listener| listener.tls = Some(self.tls(client_certificates)))
    }

    fn tls(&self, client_certificates: ClientCertificates) -> ListenerTls {
        ListenerTls {
            certificate_file: self.certificate.clone(),
            key_file: self.key.clone(),
            client_certificates,
            min_version: TlsVersion::Tls12,
        }
    }

    /// A client that believes this authority and shows the certificate of `identity`.
    fn client(&self, identity: Option<&Authority>, alpn: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.content()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_slice(identity.certificate.content()).unwrap()];
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(identity.key.content()).unwrap())
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

async fn connect(server: &Server, client: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    must(client.connect(ServerName::try_from("localhost").unwrap(), stream)).await
}

/// The answer to one request, or `None` if the server would not have this client.
async fn answer(server: &Server, client: &TlsConnector) -> Option<String> {
    let mut client = Raw::new(connect(server, client).await.ok()?);
    // With TLS 1.3 the refusal comes after the client has finished.
    let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, request).await.ok()?;
    let answer = String::from_utf8(client.rest().await).unwrap();
    (!answer.is_empty()).then_some(answer)
}

#[tokio::test]
async fn alpn_chooses_the_version() {
    let authority = Authority::new();
    let server = Server::start(authority.listener(ClientCertificates::Off));
    let stream = connect(&server, &authority.client(None, &["h2", "http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, _connection) = h2(stream).await;
    assert!(body(must(client.send_request(request("/"))).await.unwrap()).await.ends_with(" tls"));
    for alpn in [&["http/1.1"][..], &[]] {
        assert!(answer(&server, &authority.client(None, alpn)).await.unwrap().ends_with(" tls"));
    }
    assert_eq!(server.listeners.stats()[0].tls13(), 3);
}

#[tokio::test]
async fn plain_text_on_a_tls_listener_gets_nothing() {
    let authority = Authority::new();
    let server = Server::start(authority.listener(ClientCertificates::Off));
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert!(!client.rest().await.starts_with(b"HTTP"));
    let counted = async {
        while server.listeners.stats()[0].tls_failed() == 0 {
            tokio::task::yield_now().await;
        }
    };
    must(counted).await;
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_required_client_certificate_must_come_from_the_right_authority() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca_file = authority.ca.clone();
    let server = Server::start(authority.listener(ClientCertificates::Required { ca_file }));
    assert!(answer(&server, &authority.client(Some(&authority), &[])).await.is_some());
    assert!(answer(&server, &authority.client(Some(&stranger), &[])).await.is_none());
    assert!(answer(&server, &authority.client(None, &[])).await.is_none());
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn an_optional_client_certificate_may_be_absent_but_not_wrong() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca_file = authority.ca.clone();
    let server = Server::start(authority.listener(ClientCertificates::Optional { ca_file }));
    assert!(answer(&server, &authority.client(Some(&authority), &[])).await.is_some());
    assert!(answer(&server, &authority.client(None, &[])).await.is_some());
    assert!(answer(&server, &authority.client(Some(&stranger), &[])).await.is_none());
}

#[tokio::test]
async fn a_reload_swaps_the_certificate_and_a_bad_one_swaps_nothing() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = Server::start(old.listener(ClientCertificates::Off));
    let mut mixed = new.listener(ClientCertificates::Off);
    mixed.tls.as_mut().unwrap().key_file = old.key.clone();
    assert!(server.listeners.rebind(&[mixed], &[]).is_err());
    assert!(answer(&server, &old.client(None, &[])).await.is_some());
    server.listeners.rebind(&[new.listener(ClientCertificates::Off)], &[]).unwrap();
    assert!(answer(&server, &new.client(None, &[])).await.is_some());
    assert!(answer(&server, &old.client(None, &[])).await.is_none());
}

/// Visits once: how the handshake went and which worker answered, with the connection, which stays open.
async fn visit(server: &Server, client: &TlsConnector) -> (HandshakeKind, String, Raw<TlsStream<TcpStream>>) {
    let stream = connect(server, client).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let mut client = Raw::new(stream);
    let answer = client.get("/worker").await;
    (kind, answer.lines().last().unwrap().to_owned(), client)
}

#[tokio::test]
async fn a_client_resumes_at_every_worker_and_after_a_reload_that_leaves_tls_alone() {
    let authority = Authority::new();
    let mut listener = authority.listener(ClientCertificates::Off);
    let server = Server::start(listener.clone());
    let client = authority.client(None, &["http/1.1"]);
    let (first, ..) = visit(&server, &client).await;
    assert_eq!(first, HandshakeKind::Full);
    let (mut open, mut workers) = (Vec::new(), BTreeSet::new());
    for _ in 0..6 {
        let (kind, worker, connection) = visit(&server, &client).await;
        assert_eq!(kind, HandshakeKind::Resumed);
        workers.insert(worker);
        open.push(connection);
    }
    assert_eq!(workers.len(), 2);

    listener.limits.connections = 50;
    server.listeners.rebind(&[listener.clone()], &[]).unwrap();
    assert_eq!(visit(&server, &client).await.0, HandshakeKind::Resumed);

    // Who was let in by other settings comes in anew.
    listener.tls = Some(authority.tls(ClientCertificates::Optional { ca_file: authority.ca.clone() }));
    server.listeners.rebind(&[listener], &[]).unwrap();
    assert_eq!(visit(&server, &client).await.0, HandshakeKind::Full);
}

#[test]
fn files_that_do_not_fit_are_named_and_never_quoted() {
    let authority = Authority::new();
    let named = |text: &str| NamedFile::new(Path::new("broken.key").to_owned(), text.into());
    let broken = named("-----BEGIN PRIVATE KEY SECRETSECRET\nSECRETSECRET\n");
    let empty = named("");
    let both = Protocols { http1: true, http2: true };
    for (key_file, certificate_file) in [
        (&broken, &authority.certificate),
        (&empty, &authority.certificate),
        (&authority.certificate, &authority.certificate),
        (&Authority::new().key, &authority.certificate),
        (&authority.key, &authority.key),
    ] {
        let mut settings = authority.tls(ClientCertificates::Off);
        (settings.key_file, settings.certificate_file) = (key_file.clone(), certificate_file.clone());
        let error = tls::acceptor(&settings, both).unwrap_err().to_string();
        assert!(!error.contains("SECRET"), "{error}");
        assert!(error.contains(".pem") || error.contains(".key") || error.contains("key"), "{error}");
    }
}

#[tokio::test]
async fn a_listener_with_bad_tls_is_not_bound() {
    let authority = Authority::new();
    let mut listener = authority.listener(ClientCertificates::Off);
    listener.tls.as_mut().unwrap().key_file = Authority::new().key;
    assert!(Listeners::bind(&[listener], &[]).is_err());
}

#[tokio::test]
async fn a_proxy_header_comes_before_the_handshake() {
    let authority = Authority::new();
    let mut listener = authority.listener(ClientCertificates::Off);
    listener.proxy_protocol = true;
    let server = Server::start_trusting(listener, &["127.0.0.1/32"]);
    let mut balancer = server.connect().await;
    balancer.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n").await;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = must(authority.client(None, &["http/1.1"]).connect(name, balancer.stream)).await.unwrap();
    assert!(Raw::new(stream).get("/").await.ends_with("ok 192.0.2.7:4711 tls"));
}
