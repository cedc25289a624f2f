//! Servers that are reached by TLS, and want to know who comes.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::config::{RedisClientCertificate, RedisTls};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Else it would have the name of those it issues, which then look as if they had issued themselves.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key for these names.
    fn issue(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn trusted(&self, client: Option<(String, String)>) -> RedisTls {
        let client = client.map(|(chain, key)| RedisClientCertificate {
            chain: chain.into_bytes(),
            key: Secret::new(key.into_bytes()),
        });
        RedisTls { ca: Some(self.0.pem().into_bytes()), client }
    }
}

fn server(authority: &Authority) -> TestServer {
    let (certificate, key) = authority.issue(&["127.0.0.1"]);
    TestServer::start_with(|port, folder| {
        let write = |name: &str, content: &str| {
            fs::write(folder.path(name), content).unwrap();
            folder.path(name).to_str().unwrap().to_owned()
        };
        let arguments = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", write("server.pem", &certificate)),
            ("--tls-key-file", write("server.key", &key)),
            ("--tls-ca-cert-file", write("ca.pem", &authority.0.pem())),
        ];
        arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    })
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_is_shown_it_and_must_show_one_for_its_name() {
    let authority = Authority::new();
    let server = server(&authority);
    let with = |tls| RedisStore { tls: Some(tls), ..one(&server) };

    let client = authority.issue(&["sidegate"]);
    let trusted = link(&with(authority.trusted(Some(client.clone()))));
    assert_eq!(ask::<String>(&trusted, &["PING"]).await.unwrap(), "PONG");

    refused(&link(&with(authority.trusted(None))), &["PING"]).await;
    let stranger = Authority::new();
    refused(&link(&with(authority.trusted(Some(stranger.issue(&["sidegate"]))))), &["PING"]).await;
    let error = refused(&link(&with(stranger.trusted(Some(client.clone())))), &["PING"]).await;
    assert!(error.contains("certificate"), "{error}");
    refused(&link(&one(&server)), &["PING"]).await;

    let mut elsewhere = with(authority.trusted(Some(client)));
    elsewhere.servers = RedisServers::One(RedisAddress::Tcp { host: "localhost".to_owned(), port: server.port() });
    let error = refused(&link(&elsewhere), &["PING"]).await;
    assert!(error.contains("localhost"), "{error}");
}

#[tokio::test]
async fn certificates_that_are_none_are_refused_at_once() {
    let nothing = RedisTls { ca: Some(b"nothing".to_vec()), client: None };
    let settings =
        RedisStore { tls: Some(nothing), ..settings(RedisServers::One(RedisAddress::Unix("/nowhere".into()))) };
    let metrics = metrics();
    let error = Link::new(&settings, Time::default(), &Handle::current(), metrics).err().unwrap();
    assert!(error.to_string().contains("set `ca_file`"), "{error}");
}
