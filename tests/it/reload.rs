//! A new configuration in a running process, and the orderly end of one.

mod moved;
mod watched;

use crate::support::{
    Issuer, Scripted, Sidegate, Upstream, Wire, get,
    issuer::{self, Served},
    must,
    sidegate::{parse, protecting, signalled},
};

#[tokio::test]
async fn a_reload_brings_new_routes_and_leaves_requests_in_flight_alone() {
    let (upstream, issuer) = (Scripted::start().await, Issuer::new());
    let routes = |path: &str| {
        format!(
            "{}upstreams: [{{ name: app, url: \"http://{}\" }}]\n\
             routes: [{{ name: all, paths: [{path}], upstream: app, public: true }}]\n",
            issuer.yaml(),
            upstream.address
        )
    };
    let sidegate = Sidegate::start(&routes("/old")).await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say("GET /old HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut answering = upstream.next().await;
    answering.head().await;

    sidegate.reload(&routes("/new")).await;

    assert_eq!(get(sidegate.public, "/old", "").await.status, 404);
    answering.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    wire.until("slow").await;

    // The same client's connection, and the same connection to the upstream, under the new rules.
    wire.say("GET /new HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answering.head().await.starts_with("GET /new "));
    answering.say("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew").await;
    wire.until("new").await;
    assert!(upstream.is_untouched().await);
    assert_eq!(sidegate.app.gate().generation(), 2);
    assert_eq!(sidegate.series("sidegate_config_reloads_total{result=\"success\"}").await, 1.0);
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_issuers_and_the_signing_key() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let served = Served::start(200, serde_json::json!({"keys": [issuer.key.jwk]}).to_string()).await;
    let yaml = |route: &str| {
        format!(
            "issuers: [{{ name: corp, issuer: {}, algorithms: [ES256], jwks_uri: \"{}\" }}]\n\
             internal_jwt: {{ issuer: https://sidegate.internal }}\nupstreams: [{{ name: app, url: \"http://{}\", \
             credential: {{ internal_jwt: {{ audience: app }} }} }}]\n\
             routes: [{{ name: {route}, paths: [\"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}]\n",
            issuer::NAME,
            served.url,
            upstream.address
        )
    };
    let sidegate = Sidegate::start(&yaml("one")).await;
    assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 200);
    let keys = sidegate.health("/.well-known/sidegate/jwks.json").await.body;
    let asked = served.asked();

    served.set(500, "");
    sidegate.reload(&yaml("two")).await;

    assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 200);
    assert_eq!(sidegate.health("/.well-known/sidegate/jwks.json").await.body, keys);
    assert_eq!(served.asked(), asked);
    assert_eq!(
        sidegate.series("sidegate_auth_decisions_total{reason=\"allowed\",result=\"allow\",route=\"two\"}").await,
        1.0
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_bind_leaves_everything_as_it_was() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners = format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\" }}\n  - {{ name: more, address: \"{}\" }}\n",
        taken.local_addr().unwrap()
    );
    let wrong = parse(&protecting(&upstream, &issuer, &listeners).replace("\"/*\"", "\"/other/*\""));
    let app = sidegate.app.clone();
    let refused =
        tokio::task::spawn_blocking(move || app.reload(wrong, signalled())).await.unwrap().unwrap_err().to_string();

    assert!(refused.contains(&taken.local_addr().unwrap().to_string()), "{refused}");
    assert_eq!(sidegate.app.gate().generation(), 1);
    assert_eq!(get(sidegate.public, "/orders", &issuer.token()).await.status, 200);
}

#[tokio::test]
async fn a_reload_opens_new_listeners_and_closes_those_that_are_gone() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;
    let listeners = "listeners:\n  - { name: other, address: \"127.0.0.2:0\" }\n";
    sidegate.reload(&protecting(&upstream, &issuer, listeners)).await;

    let Some(sidegate::config::Address::Tcp(other)) = sidegate.app.address("other") else { panic!("not open") };
    assert_eq!(get(other, "/", &issuer.token()).await.status, 200);
    must(async {
        while tokio::net::TcpStream::connect(sidegate.public).await.is_ok() {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!(sidegate.series("sidegate_connections_total{listener=\"other\"}").await, 1.0);
}

#[tokio::test]
async fn a_drain_ends_readiness_and_new_connections_but_not_what_is_in_flight() {
    let (upstream, issuer) = (Scripted::start().await, Issuer::new());
    let yaml = format!(
        "{}upstreams: [{{ name: app, url: \"http://{}\" }}]\ndrain: {{ timeout: 20s }}\n\
         routes: [{{ name: all, paths: [\"/*\"], upstream: app, public: true }}]\n",
        issuer.yaml(),
        upstream.address
    );
    let sidegate = Sidegate::start(&yaml).await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut answering = upstream.next().await;
    answering.head().await;

    sidegate.app.begin_drain();
    must(async {
        while tokio::net::TcpStream::connect(sidegate.public).await.is_ok() {
            tokio::task::yield_now().await
        }
    })
    .await;
    let reply = sidegate.health("/readyz").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["draining"]), (503, &true.into()));
    assert_eq!(sidegate.health("/livez").await.status, 200);
    assert_eq!(sidegate.status_page("localhost", "*/*").await.json()["state"], "draining");

    answering.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await;
    let rest = wire.rest().await;
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("slow"), "{rest}");
    assert!(rest.to_lowercase().contains("connection: close"), "{rest}");
    let summary = must(sidegate.app.drained()).await;
    // Connections are counted, and those that only knocked are among them.
    assert!(summary.finished >= 1 && summary.cut == 0, "{summary:?}");
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_and_counted() {
    let (upstream, issuer) = (Scripted::start().await, Issuer::new());
    let yaml = format!(
        "{}upstreams: [{{ name: app, url: \"http://{}\" }}]\ndrain: {{ timeout: 200ms }}\n\
         routes: [{{ name: all, paths: [\"/*\"], upstream: app, public: true }}]\n",
        issuer.yaml(),
        upstream.address
    );
    let sidegate = Sidegate::start(&yaml).await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut answering = upstream.next().await;
    answering.head().await;

    sidegate.app.begin_drain();
    assert_eq!(must(sidegate.app.drained()).await.cut, 1);
    wire.rest().await;
    answering.rest().await;
}

#[tokio::test]
async fn the_limits_of_a_listener_hold_for_its_old_connections_when_another_is_removed() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let two = "  - { name: two, address: \"127.0.0.2:0\", limits: { header_bytes: 8KiB } }\n";
    let one = "  - { name: main, address: \"127.0.0.1:0\" }\n";
    let yaml = |listeners: &str| {
        protecting(&upstream, &issuer, &format!("listeners:\n{listeners}"))
            .replace("policy: { audiences: [orders-api] }", "public: true")
    };
    let sidegate = Sidegate::start(&yaml(&format!("{one}{two}"))).await;
    let Some(sidegate::config::Address::Tcp(address)) = sidegate.app.address("two") else { panic!("not open") };
    let mut wire = Wire::connect(address).await;
    let asked = format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "a".repeat(9000));
    wire.say(&asked).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 431"));
    wire.until("}").await;

    sidegate.reload(&yaml(two)).await;

    wire.say(&asked).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 431"));
    assert_eq!(sidegate.series("sidegate_http_overhead_seconds_count{listener=\"two\"}").await, 2.0);
}
