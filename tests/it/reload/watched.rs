//! The files of a running configuration, swapped as the kubelet swaps them.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use sidegate::app::reload::Watch;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    oauth::house::{PASSWORD, authority, form, public, user},
    support::{
        Issuer, Mount, Sidegate, Upstream, Wire, get,
        issuer::{Key, sign_with},
        must, send,
        sidegate::{completed, protecting},
    },
};

pub(super) struct Watched {
    pub(super) sidegate: Sidegate,
    pub(super) mount: Mount,
    watch: Option<Watch>,
}

impl Watched {
    /// `sidegate.yaml` and these files beside it.
    pub(super) async fn start(yaml: &str, files: &[(&str, String)]) -> Watched {
        let mut mount = Mount::new(files);
        mount.swap(&[("sidegate.yaml", completed(yaml))]);
        let (sidegate, watch) = Sidegate::from_file(&mount.path("sidegate.yaml")).await;
        Watched { sidegate, mount, watch: Some(watch) }
    }

    pub(super) fn configure(&mut self, yaml: &str) {
        self.mount.swap(&[("sidegate.yaml", completed(yaml))]);
    }

    pub(super) async fn beat(&mut self) {
        self.with(Watch::beat).await;
    }

    async fn with(&mut self, act: fn(&mut Watch)) {
        let mut watch = self.watch.take().unwrap();
        let acted = tokio::task::spawn_blocking(move || {
            act(&mut watch);
            watch
        });
        self.watch = Some(acted.await.unwrap());
    }

    pub(super) async fn reloads(&self) -> Value {
        self.sidegate.status_page("localhost", "*/*").await.json()["reloads"].clone()
    }

    /// Reloads that were taken over, that were refused, and looks that came to nothing.
    async fn counted(&self) -> (f64, f64, f64) {
        (
            self.sidegate.series("sidegate_config_reloads_total{result=\"success\"}").await,
            self.sidegate.series("sidegate_config_reloads_total{result=\"failure\"}").await,
            self.sidegate.series("sidegate_config_watch_errors_total").await,
        )
    }

    /// Swaps this file, and says what `/status` then tells of the reload: which files, which sections.
    async fn swapped(&mut self, name: &str, content: String) -> (Vec<String>, Value) {
        let before = self.counted().await.0;
        self.mount.swap(&[(name, content)]);
        self.beat().await;
        assert_eq!(self.counted().await.0, before + 1.0, "{name}: {}", self.reloads().await);
        let last = self.reloads().await["last"].clone();
        assert_eq!((&last["source"], &last["succeeded"]), (&json!("watch"), &json!(true)));
        let name_of = |path: &Value| path.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        (last["files"].as_array().unwrap().iter().map(name_of).collect(), last["sections"].clone())
    }
}

fn public_route(upstream: &Upstream, path: &str) -> String {
    format!(
        "upstreams: [{{ name: app, url: \"http://{}\" }}]\n\
         routes: [{{ name: all, paths: [{path}], upstream: app, public: true }}]\n",
        upstream.address
    )
}

/// A certificate for `localhost` that signs itself, and its key.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A connection to who has this very certificate.
async fn secure(address: SocketAddr, certificate: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    must(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream)).await
}

#[tokio::test]
async fn a_swapped_configuration_is_taken_over_at_the_next_beat_and_only_once() {
    let upstream = Upstream::start().await;
    let mut watched = Watched::start(&public_route(&upstream, "/old"), &[]).await;
    watched.beat().await;
    assert_eq!(watched.reloads().await["last"], Value::Null);
    watched.configure(&public_route(&upstream, "/new"));
    assert_eq!(get(watched.sidegate.public, "/new", "").await.status, 404);
    for _ in 0..3 {
        watched.beat().await;
        assert_eq!(get(watched.sidegate.public, "/new", "").await.status, 200);
        assert_eq!(get(watched.sidegate.public, "/old", "").await.status, 404);
        assert_eq!(watched.counted().await, (1.0, 0.0, 0.0));
    }
    let reloads = watched.reloads().await;
    assert_eq!(reloads["last"]["sections"], json!(["routes"]));
    assert_eq!(reloads["last"]["at"], reloads["in_force_since"]);
    assert_eq!(reloads["watch"], json!({"interval_seconds": 10, "files": 1, "unsettled": null}));
}

#[tokio::test]
async fn the_beat_follows_the_clock_and_can_be_switched_off() {
    let upstream = Upstream::start().await;
    let mut watched = Watched::start(&public_route(&upstream, "/old"), &[]).await;
    let mut watch = watched.watch.take().unwrap();
    let app = watched.sidegate.app.clone();
    let looking = std::thread::spawn(move || {
        // The last beat takes over that there are none any more.
        while app.gate().config().watch.is_some() {
            app.background().block_on(watch.due());
            watch.beat();
        }
        watch
    });
    let off = format!("reload: {{ watch: false }}\n{}", public_route(&upstream, "/new"));
    watched.configure(&off);
    // As often as it takes: a beat may have begun before the files were there.
    must(async {
        while watched.sidegate.app.gate().generation() < 2 {
            watched.sidegate.time.advance(10);
            tokio::task::yield_now().await;
        }
    })
    .await;
    let watch = tokio::task::spawn_blocking(|| looking.join().unwrap()).await.unwrap();
    assert_eq!(get(watched.sidegate.public, "/new", "").await.status, 200);
    assert_eq!(watched.reloads().await["watch"], Value::Null);
    assert!(futures_util::FutureExt::now_or_never(watch.due()).is_none());
    watched.watch = Some(watch);
    watched.configure(&public_route(&upstream, "/newest"));
    watched.with(Watch::force).await;
    assert_eq!(get(watched.sidegate.public, "/newest", "").await.status, 200);
    assert_eq!(watched.reloads().await["last"]["source"], "signal");
}

#[tokio::test]
async fn a_broken_file_is_refused_once_told_everywhere_and_over_when_it_is_good_again() {
    let upstream = Upstream::start().await;
    let mut watched = Watched::start(&public_route(&upstream, "/old"), &[]).await;
    watched.mount.swap(&[("sidegate.yaml", "lisseners: []\n".to_owned())]);
    // Whoever writes one file after the other is not done yet.
    watched.beat().await;
    assert_eq!(watched.counted().await, (0.0, 0.0, 0.0));
    let reloads = watched.reloads().await;
    assert_eq!((&reloads["last_error"], &reloads["last"]), (&Value::Null, &Value::Null));
    assert!(reloads["watch"]["unsettled"].as_str().unwrap().contains("lisseners"), "{reloads}");
    for _ in 0..3 {
        watched.beat().await;
        assert_eq!(watched.counted().await, (0.0, 1.0, 0.0));
        assert_eq!(watched.sidegate.series("sidegate_config_last_reload_successful").await, 0.0);
        assert_eq!(get(watched.sidegate.public, "/old", "").await.status, 200);
    }
    let reloads = watched.reloads().await;
    assert!(reloads["last_error"].as_str().unwrap().contains("lisseners"), "{reloads}");
    assert_eq!(reloads["watch"]["unsettled"], Value::Null);
    assert_eq!((&reloads["last"]["succeeded"], &reloads["last"]["sections"]), (&json!(false), &json!([])));
    assert!(reloads["last"]["files"][0].as_str().unwrap().ends_with("/sidegate.yaml"), "{reloads}");

    // Broken in another way: that is news.
    watched.mount.swap(&[("sidegate.yaml", "routes: [\n".to_owned())]);
    watched.beat().await;
    watched.beat().await;
    assert_eq!(watched.counted().await.1, 2.0);

    // As it was in the beginning.
    watched.configure(&public_route(&upstream, "/old"));
    watched.beat().await;
    assert_eq!(watched.counted().await.0, 1.0);
    assert_eq!(watched.sidegate.series("sidegate_config_last_reload_successful").await, 1.0);
    assert_eq!(watched.reloads().await["last_error"], Value::Null);
}

#[tokio::test]
async fn what_is_half_written_is_no_failure() {
    let upstream = Upstream::start().await;
    let ((first, first_key), (second, second_key)) = (certificate(), certificate());
    let yaml = format!(
        "listeners: [{{ name: main, address: \"127.0.0.1:0\", tls: {{ certificate_file: c.pem, key_file: k.pem }} }}]\n{}",
        public_route(&upstream, "/")
    );
    let files = [("c.pem", first.clone()), ("k.pem", first_key)];
    let mut watched = Watched::start(&yaml, &files).await;
    let public = watched.sidegate.public;
    // A certificate that does not fit its key yet, a key that is gone for a moment, and then both.
    watched.mount.swap(&[("c.pem", second.clone())]);
    watched.beat().await;
    watched.mount.swap_away("k.pem");
    watched.beat().await;
    assert!(secure(public, &first).await.is_ok());
    assert_eq!(watched.counted().await, (0.0, 0.0, 1.0));
    watched.mount.swap(&[("k.pem", second_key)]);
    watched.beat().await;
    assert_eq!(watched.counted().await, (1.0, 0.0, 1.0));
    assert!(secure(public, &second).await.is_ok());

    // What was never taken over and is gone again leaves no trace.
    let yaml = std::fs::read_to_string(watched.mount.path("sidegate.yaml")).unwrap();
    watched.mount.swap(&[("sidegate.yaml", "routes: [\n".to_owned())]);
    watched.beat().await;
    watched.mount.swap(&[("sidegate.yaml", yaml)]);
    watched.beat().await;
    watched.beat().await;
    assert_eq!(watched.counted().await, (1.0, 0.0, 1.0));
    assert_eq!(watched.reloads().await["watch"]["unsettled"], Value::Null);
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let upstream = Upstream::start().await;
    let ((first, first_key), (second, second_key)) = (certificate(), certificate());
    let yaml = format!(
        "listeners: [{{ name: main, address: \"127.0.0.1:0\", tls: {{ certificate_file: c.pem, key_file: k.pem }} }}]\n{}",
        public_route(&upstream, "/")
    );
    let mut watched = Watched::start(&yaml, &[("c.pem", first.clone()), ("k.pem", first_key)]).await;
    let public = watched.sidegate.public;
    let mut open = secure(public, &first).await.unwrap();
    watched.mount.swap(&[("c.pem", second.clone()), ("k.pem", second_key)]);
    watched.beat().await;
    assert_eq!(watched.reloads().await["last"]["sections"], json!(["listeners"]));
    assert!(secure(public, &second).await.is_ok() && secure(public, &first).await.is_err());
    let asked = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut open, asked).await.unwrap();
    let mut answer = String::new();
    must(tokio::io::AsyncReadExt::read_to_string(&mut open, &mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn the_keys_of_an_issuer_follow_their_file_at_once() {
    let (upstream, issuer, next) = (Upstream::start().await, Issuer::new(), Key::es256("k2"));
    let set = |keys: &[&Value]| json!({ "keys": keys }).to_string();
    let yaml = protecting(&upstream, &issuer, "").replace(&*issuer.jwks_file().to_string_lossy(), "jwks.json");
    let mut watched = Watched::start(&yaml, &[("jwks.json", set(&[&issuer.key.jwk]))]).await;
    let public = watched.sidegate.public;
    let (old, new) = (issuer.token(), sign_with(&next, &issuer.claims()));
    assert_eq!(get(public, "/", &old).await.status, 200);
    let told = watched.swapped("jwks.json", set(&[&issuer.key.jwk, &next.jwk])).await;
    assert_eq!(told, (vec!["jwks.json".to_owned()], json!(["issuers"])));
    assert_eq!(
        (get(public, "/", &old).await.status, get(public, "/", &new).await.status),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    watched.swapped("jwks.json", set(&[&next.jwk])).await;
    assert_eq!(get(public, "/", &old).await.status, 401);
    assert_eq!(get(public, "/", &new).await.status, 200);
}

#[tokio::test]
async fn users_clients_tokens_secrets_and_pages_follow_their_files() {
    let listed = |users: &[String]| format!("users: [{}]\n", users.join(", "));
    let clients = |more: &str| format!("clients: [{}{more}]\n", public("shop", "grants: [password, refresh_token]"));
    let yaml = authority(&[], &[], "  clients_file: clients.yaml\n  users_file: users.yaml\n  pages: { theme: . }\n");
    let yaml = yaml.replace("  clients:\n", "")
        + "admin: { address: \"127.0.0.1:0\", token_file: admin.token }\n\
           internal_jwt: { issuer: \"https://sidegate.test\", algorithm: HS256, key_file: internal.key }\n\
           issuers: [{ name: old, issuer: \"https://old.test\", algorithms: [HS256], hs_secret_file: hs.secret }]\n";
    let files = [
        ("clients.yaml", clients("")),
        ("users.yaml", listed(&[user("ana", "")])),
        ("admin.token", "a-token-of-operators-1".repeat(2)),
        ("internal.key", "k".repeat(32)),
        ("hs.secret", "s".repeat(32)),
        ("style.css", "body {}".to_owned()),
    ];
    let mut watched = Watched::start(&yaml, &files).await;
    let public_address = watched.sidegate.public;
    let signed_in = async |name: &str| {
        let body = format!("grant_type=password&client_id=shop&username={name}&password={PASSWORD}");
        send(public_address, form("/oauth20/token", &body, &[])).await.status.as_u16()
    };
    assert_eq!((signed_in("ana").await, signed_in("ben").await), (200, 400));
    let files = |name: &str| vec![name.to_owned()];
    let told = watched.swapped("users.yaml", listed(&[user("ana", "enabled: false"), user("ben", "")])).await;
    assert_eq!(told, (files("users.yaml"), json!(["authority"])));
    assert_eq!((signed_in("ana").await, signed_in("ben").await), (400, 200));
    for (name, content, section) in [
        ("clients.yaml", clients(&format!(", {}", public("till", "grants: [password]"))), "authority"),
        ("admin.token", "a-token-of-operators-2".repeat(2), "admin"),
        ("internal.key", "l".repeat(32), "internal_jwt"),
        ("hs.secret", "t".repeat(32), "issuers"),
    ] {
        assert_eq!(watched.swapped(name, content).await, (files(name), json!([section])));
    }
    // What no setting holds is taken over all the same: here the folder of the theme.
    let (changed, sections) = watched.swapped("style.css", "body { color: red }".to_owned()).await;
    assert_eq!((changed.len(), sections), (1, json!([])));
    let text = watched.sidegate.status_page("localhost", "*/*").await.text().to_owned();
    assert!(!text.contains("a-token-of-operators") && !text.contains("kkkk") && !text.contains("tttt"), "{text}");
}

#[tokio::test]
async fn listeners_that_stay_keep_their_connections() {
    let upstream = Upstream::start().await;
    let listeners = |list: &str| format!("listeners:\n{list}{}", public_route(&upstream, "/"));
    let (main, old) =
        ("  - { name: main, address: \"127.0.0.1:0\" }\n", "  - { name: old, address: \"127.0.0.2:0\" }\n");
    let mut watched = Watched::start(&listeners(&format!("{main}{old}")), &[]).await;
    let at = |watched: &Watched, name: &str| match watched.sidegate.app.address(name) {
        Some(sidegate::config::Address::Tcp(address)) => address,
        other => panic!("{name}: {other:?}"),
    };
    let (public, closing) = (watched.sidegate.public, at(&watched, "old"));
    let (mut stays, mut leaves) = (Wire::connect(public).await, Wire::connect(closing).await);
    let ask = async |wire: &mut Wire| {
        wire.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        wire.until("hello").await;
    };
    ask(&mut stays).await;
    ask(&mut leaves).await;
    watched.configure(&listeners(&format!("{main}  - {{ name: new, address: \"127.0.0.3:0\" }}\n")));
    watched.beat().await;
    // The one that stays is at the same port, and the connections of both go on.
    assert_eq!(at(&watched, "main"), public);
    ask(&mut stays).await;
    ask(&mut leaves).await;
    assert_eq!(get(at(&watched, "new"), "/", "").await.status, 200);
    must(async {
        while TcpStream::connect(closing).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(watched.reloads().await["last"]["sections"], json!(["listeners"]));
}
