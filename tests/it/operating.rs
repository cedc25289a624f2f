//! What those who run sidegate see of it: probes, metrics, the status page, reloads and the end.

use http::StatusCode;

use crate::support::{
    Issuer, Scripted, Sidegate, Upstream, Wire, get,
    issuer::{self, Served},
    must, request, send,
    sidegate::protecting,
};

#[tokio::test]
async fn the_probes_answer_and_nothing_else_does() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;

    for path in ["/startupz", "/livez"] {
        let reply = sidegate.health(path).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok\n"), "{path}");
    }
    // The keys are read beside the start.
    let ready = serde_json::json!({"ready": true, "draining": false, "waiting_for": [], "degraded": []});
    must(async { while sidegate.health("/readyz").await.json() != ready {} }).await;
    assert_eq!(sidegate.health("/readyz").await.status, 200);
    assert_eq!(sidegate.health("/status").await.status, 404);
    assert_eq!(send(sidegate.health, request("POST", "/livez", "")).await.status, 405);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn readiness_waits_for_the_keys_of_required_issuers_only() {
    let (upstream, served) = (Upstream::start().await, Served::start(500, String::new()).await);
    for (required, ready) in [(true, false), (false, true)] {
        let sidegate = Sidegate::start(&format!(
            "issuers: [{{ name: corp, issuer: {}, algorithms: [ES256], jwks_uri: \"{}\", required: {required} }}]\n\
             upstreams: [{{ name: app, url: \"http://{}\" }}]\n\
             routes: [{{ name: all, paths: [\"/*\"], upstream: app, policy: {{ audiences: [a] }} }}]\n",
            issuer::NAME,
            served.url,
            upstream.address
        ))
        .await;
        let reply = sidegate.health("/readyz").await;
        let (kind, status) = if ready { ("degraded", 200) } else { ("waiting_for", 503) };
        assert_eq!((reply.status.as_u16(), &reply.json()[kind][0]["issuer"]), (status, &"corp".into()));
        assert_eq!(sidegate.health("/startupz").await.status, 200);
        if required {
            let key = issuer::Key::es256("k1");
            served.set(200, serde_json::json!({"keys": [key.jwk]}).to_string());
            sidegate.time.advance(40);
            must(async {
                while sidegate.health("/readyz").await.status != 200 {
                    tokio::task::yield_now().await
                }
            })
            .await;
            served.set(500, "");
        }
    }
}

const FAMILIES: [&str; 24] = [
    "http_requests_total",
    "http_request_duration_seconds_count",
    "http_overhead_seconds_count",
    "http_requests_in_flight",
    "connections",
    "connections_total",
    "tls_handshakes_total",
    "upstream_request_duration_seconds_count",
    "upstream_connections",
    "auth_decisions_total",
    "cache_requests_total",
    "cache_entries",
    "cache_bytes",
    "cache_evictions_total",
    "rate_limited_total",
    "jwks_fetches_total",
    "jwks_last_success_timestamp_seconds",
    "jwks_keys",
    "introspections_total",
    "upstream_errors_total",
    "config_reloads_total",
    "config_last_reload_successful",
    "config_last_reload_success_timestamp_seconds",
    "build_info",
];

#[tokio::test]
async fn every_family_is_there_and_moves() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let asked = Served::start(200, "{\"active\":false}".into()).await;
    let secret = issuer::scratch("introspection").join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let introspecting = format!(
        "introspection: {{ endpoint: \"{}\", client_id: sidegate, client_secret_file: {} }}\n",
        asked.url,
        secret.display()
    );
    let yaml = protecting(&upstream, &issuer, "").replace("upstreams:", &format!("    {introspecting}upstreams:"));
    let sidegate = Sidegate::start(&yaml).await;
    let token = issuer.token();
    for token in [&*token, &token, "", "opaque"] {
        get(sidegate.public, "/", token).await;
    }

    let page = sidegate.health("/metrics").await;
    assert!(page.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for family in FAMILIES {
        let name = format!("sidegate_{family}");
        let there =
            page.text().lines().any(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        assert!(there, "{name} is missing");
    }
    assert!(page.text().contains("process_resident_memory_bytes "));
    for (series, value) in [
        ("http_requests_total{code=\"2xx\",method=\"GET\",route=\"all\"}", 2.0),
        ("http_requests_total{code=\"4xx\",method=\"GET\",route=\"all\"}", 2.0),
        ("http_request_duration_seconds_count{route=\"all\"}", 4.0),
        ("http_overhead_seconds_count{listener=\"main\"}", 4.0),
        ("http_requests_in_flight{listener=\"main\"}", 0.0),
        ("connections_total{listener=\"main\"}", 4.0),
        ("upstream_request_duration_seconds_count{upstream=\"app\"}", 2.0),
        ("auth_decisions_total{reason=\"allowed\",result=\"allow\",route=\"all\"}", 2.0),
        ("auth_decisions_total{reason=\"token_missing\",result=\"deny\",route=\"all\"}", 1.0),
        ("auth_decisions_total{reason=\"token_revoked\",result=\"deny\",route=\"all\"}", 1.0),
        ("jwks_keys{issuer=\"corp\"}", 1.0),
        ("config_last_reload_successful", 1.0),
        ("config_generation", 1.0),
        ("ready", 1.0),
        ("upstream_requests_total{code=\"2xx\",upstream=\"app\"}", 2.0),
        ("token_validation_duration_seconds_count{method=\"jwt\"}", 1.0),
        ("token_validation_duration_seconds_count{method=\"introspection\"}", 1.0),
        ("connections_max{listener=\"main\"}", 10_000.0),
        ("issuer_usable{issuer=\"corp\"}", 1.0),
    ] {
        assert_eq!(sidegate.series(&format!("sidegate_{series}")).await, value, "{series}");
    }
    let labels: Vec<&str> = page.text().lines().filter(|line| line.contains("cache=")).collect();
    assert!(labels.iter().any(|line| line.contains("result=\"hit\"") && line.ends_with(" 1")), "{labels:?}");
}

#[tokio::test]
async fn status_is_told_to_loopback_names_only_and_escaped() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;
    get(sidegate.public, "/", &issuer.token()).await;
    sidegate.app.refused("<script>alert(1)</script> & \"more\"".into(), crate::support::sidegate::signalled());

    for host in ["localhost", "localhost:9902", "127.0.0.1:9902", "[::1]:9902"] {
        let reply = sidegate.status_page(host, "application/json").await;
        assert_eq!(reply.status, 200, "{host}");
    }
    for host in ["evil.test", "127.0.0.1.evil.test", "10.0.0.1", "localhost.evil.test:9902"] {
        let reply = sidegate.status_page(host, "*/*").await;
        assert_eq!((reply.status, reply.text()), (StatusCode::MISDIRECTED_REQUEST, "loopback only\n"), "{host}");
    }

    let json = sidegate.status_page("localhost", "*/*").await.json();
    assert_eq!((json["generation"].as_u64(), json["state"].as_str()), (Some(1), Some("running")));
    assert_eq!(json["reloads"]["failed"], 1);
    assert_eq!(json["issuers"][0]["name"], "corp");
    assert_eq!(json["routes"][0]["mode"], "enforce");
    assert_eq!(json["listeners"][0]["accepted"], 1);
    assert_eq!(json["caches"][0]["entries"], 1);

    let page = sidegate.status_page("localhost", "text/html,*/*").await;
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert!(page.text().contains("&lt;script&gt;") && !page.text().contains("<script"), "{}", page.text());
    let mut posted = request("POST", "/status", "");
    posted.headers_mut().insert("host", "localhost".parse().unwrap());
    assert_eq!(send(sidegate.admin, posted).await.status, 405);
}

#[tokio::test]
async fn what_is_in_flight_is_counted_and_let_go() {
    let (upstream, issuer) = (Scripted::start().await, Issuer::new());
    let sidegate = Sidegate::start(&format!(
        "{}upstreams: [{{ name: app, url: \"http://{}\" }}]\n\
         routes: [{{ name: all, paths: [\"/*\"], upstream: app, public: true }}]\n",
        issuer.yaml(),
        upstream.address
    ))
    .await;
    let mut wire = Wire::connect(sidegate.public).await;
    wire.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut answering = upstream.next().await;
    answering.head().await;
    assert_eq!(sidegate.series("sidegate_http_requests_in_flight{listener=\"main\"}").await, 1.0);
    assert_eq!(sidegate.series("sidegate_connections{listener=\"main\"}").await, 1.0);
    // A client that goes away before the answer leaves nothing behind.
    drop(wire);
    answering.rest().await;
    must(async { while sidegate.series("sidegate_http_requests_in_flight{listener=\"main\"}").await > 0.0 {} }).await;
    must(async { while sidegate.series("sidegate_connections{listener=\"main\"}").await > 0.0 {} }).await;
}
