//! The metric families: all of them, as the documentation says, and nothing of a request in them.

mod names;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use http::HeaderValue;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use crate::{
    authority_token::house as outside,
    oauth::{
        dialects,
        house::{SECRET, authority, basic, client, form, user},
    },
    service::house::By,
    support::{
        Issuer, Redis, Sidegate, Upstream,
        authority::Authority,
        get,
        issuer::{Served, scratch},
        must, raw, request, send,
        sidegate::protecting,
    },
};

/// 2 January of 2031 and of 2033, in seconds since 1970.
const IN_2031: f64 = 1_925_078_400.0;
const IN_2033: f64 = 1_988_236_800.0;

async fn page(sidegate: &Sidegate) -> String {
    sidegate.health("/metrics").await.text().to_owned()
}

/// Every series, without its value.
async fn series(sidegate: &Sidegate) -> BTreeSet<String> {
    let page = page(sidegate).await;
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

/// Name and type of what is announced, without the process's own.
fn announced(page: &str) -> BTreeMap<String, String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let ours = types.filter(|(name, _)| name.starts_with("sidegate_"));
    ours.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Type and labels of each family, by its name, as the tables of the documentation say.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = fs::read_to_string("docs/metrics.md").unwrap();
    let built_in = |line: &&str| cfg!(feature = "otlp") || !line.starts_with("| `sidegate_spans_");
    let rows = text.lines().filter(|line| line.starts_with("| `sidegate_")).filter(built_in);
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, who, _] = cells[..] else { panic!("{row}") };
        assert!(!meaning.is_empty() && !who.is_empty(), "{row}");
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        (name.trim_matches('`').to_owned(), (kind.to_owned(), labels))
    })
    .collect()
}

/// A certificate of its own making that ends on 2 January of `year`, as the files `name.pem` and `name.key`.
fn certificate(folder: &Path, name: &str, year: i32) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(year, 1, 2);
    fs::write(folder.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// With TLS on both sides: a listener `secure`, and an upstream `mutual` that is shown a certificate.
fn with_certificates(yaml: &str, folder: &Path) -> String {
    let at = folder.display();
    yaml.replace(
        "upstreams:\n",
        &format!(
            "listeners:\n  - {{ name: main, address: 127.0.0.1:0 }}\n  - {{ name: secure, address: 127.0.0.1:0, \
             tls: {{ certificate_file: {at}/server.pem, key_file: {at}/server.key }} }}\n\
             upstreams:\n  - {{ name: mutual, url: \"https://localhost:9\", tls: {{ ca_file: {at}/client.pem, \
             certificate_file: {at}/client.pem, key_file: {at}/client.key }} }}\n"
        ),
    )
}

#[tokio::test]
async fn each_family_is_documented_announced_from_the_first_scrape_and_has_the_labels_that_are_said() {
    // Everything that can be configured, so that every family has series.
    let redis = Redis::start().await;
    let (outside, upstream) = (outside::Outside::start().await, Upstream::start().await);
    let (issuer, served) = (Issuer::new(), Served::start(200, "{\"active\": false}".into()).await);
    let giver = Authority::start(By::ClientCredentials.speech()).await;
    let folder = scratch("certificates");
    certificate(&folder, "server", 2031);
    certificate(&folder, "client", 2033);
    fs::write(folder.join("secret"), "s3cret").unwrap();
    fs::write(folder.join("master"), sidegate::config::MasterRing::generate().unwrap().text().expose()).unwrap();
    fs::set_permissions(folder.join("master"), fs::Permissions::from_mode(0o600)).unwrap();
    let at = folder.display();
    let yaml = outside::yaml(&outside, &upstream, "", "")
        .replace(
            "upstreams:\n",
            &format!(
                "store: {{ redis: {{ url: \"{}\", journal: {at}/journal }} }}\nkeys: {{ master_file: {at}/master }}\n{}    \
                 introspection: {{ endpoint: \"{url}\", client_id: us, client_secret_file: {at}/secret }}\n  \
                 - {{ name: old, issuer: \"https://old.test\", probe: {{ url: \"{url}\", audiences: [a] }} }}\n\
                 upstreams:\n  - {{ name: grpc, url: \"http://{}\", protocol: http2 }}\n  \
                 - {{ name: vendor, url: \"http://{}\", credential: {{ service: {{ {} }} }} }}\n",
                redis.url(),
                issuer.yaml(),
                upstream.address,
                upstream.address,
                By::ClientCredentials.yaml(&giver),
                url = served.url,
            ),
        )
        .replace(
            "routes:\n",
            "routes:\n  - { name: orders, paths: [\"/orders/*\"], upstream: grpc, mode: observe, \
             policy: { audiences: [a] } }\n  - { name: parts, paths: [\"/parts/*\"], upstream: mutual, public: true }\n  \
             - { name: vendor, paths: [\"/vendor/*\"], upstream: vendor, policy: { audiences: [a] } }\n",
        );
    let sidegate = Sidegate::start(&with_certificates(&yaml, &folder)).await;
    let first = page(&sidegate).await;

    let (announced, documented) = (announced(&first), documented());
    let said = documented.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect();
    assert_eq!(announced, said, "docs/metrics.md and /metrics differ");
    for (name, (kind, labels)) in &documented {
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.clone() };
        let mut samples = first.lines().filter_map(|line| line.strip_prefix(&sample)).peekable();
        assert!(
            samples.peek().is_some_and(|rest| rest.starts_with(['{', ' '])),
            "{name} has no series at the first scrape"
        );
        for rest in samples.filter(|rest| rest.starts_with(['{', ' '])) {
            let pairs = rest.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')).map_or("", |(pairs, _)| pairs);
            let found: BTreeSet<String> =
                pairs.split(',').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect();
            assert_eq!(&found, labels, "{name}{rest}");
        }
        let help = first.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} "))).unwrap();
        assert!(help.ends_with('.'), "{name}: {help}");
        for (unit, word) in [("_seconds", "second"), ("_bytes", "bytes")] {
            assert!(
                !name.ends_with(unit) || help.to_lowercase().contains(word),
                "{name} does not say its unit: {help}"
            );
        }
    }

    // A process without any of it announces the same.
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;
    assert_eq!(self::announced(&page(&sidegate).await), announced);
}

#[tokio::test]
async fn nothing_of_a_request_becomes_a_label() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let app = client("app", "grants: [password, client_credentials, refresh_token, basic], scopes: [orders]");
    let yaml = authority(&[app], &[user("ana", "")], "")
        .replace("http://127.0.0.1:9", &format!("http://{}", upstream.address))
        .replace("policy: {", "token: { basic: app }, mode: observe, policy: { issuers: [local, corp], ");
    let sidegate = Sidegate::start(&format!("{yaml}{}", issuer.yaml())).await;
    get(sidegate.public, "/", &issuer.token()).await;
    let before = series(&sidegate).await;

    for line in
        ["GET /", "EVIL /", "X-1 /y", "PROPFIND /{}", "get /\"a\"", "GET /metrics", "GET /%zz", "GET /evil?evil=1"]
    {
        for host in ["api.test", "evil.test", "a\"b", ""] {
            for credentials in [
                "Bearer ".to_owned(),
                "Bearer evil".to_owned(),
                format!("Bearer {}", issuer.token()),
                format!("Bearer {}", issuer.token_with(serde_json::json!({"iss": "https://evil.test"}))),
                format!("Bearer {}", issuer.token_with(serde_json::json!({"sub": "evil", "client_id": "evil"}))),
                basic("evil", "evil"),
            ] {
                let bytes = format!(
                    "{line} HTTP/1.1\r\nhost: {host}\r\nuser-agent: evil\r\nauthorization: {credentials}\r\n\
                     x-forwarded-host: evil\r\nconnection: close\r\n\r\n"
                );
                raw(sidegate.public, bytes.as_bytes()).await;
            }
        }
    }
    for body in [
        "grant_type=evil".to_owned(),
        "grant_type=password&username=evil&password=evil&client_id=evil".to_owned(),
        format!("grant_type=password&username=evil&password=evil&client_id=app&client_secret={SECRET}&scope=evil"),
        format!("grant_type=refresh_token&refresh_token=evil&client_id=app&client_secret={SECRET}"),
        format!("grant_type=client_credentials&client_id=app&client_secret={SECRET}&resource=http://evil.test"),
    ] {
        for path in ["/oauth20/token", "/oauth20/revoke", "/oauth20/introspect", "/oauth20/evil"] {
            send(sidegate.public, form(path, &body, &[])).await;
        }
    }
    for path in ["/evil", "/status", "/sessions?user=evil", "/metrics?evil"] {
        let mut asked = request("GET", path, "evil");
        asked.headers_mut().insert("host", HeaderValue::from_static("localhost"));
        send(sidegate.admin, asked).await;
        get(sidegate.health, path, "evil").await;
    }

    let after = series(&sidegate).await;
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(!after.iter().any(|series| series.contains("evil")), "{after:?}");
    assert!(sidegate.series("sidegate_http_requests_total{code=\"2xx\",method=\"other\",route=\"all\"}").await > 0.0);
    assert!(sidegate.series("sidegate_observed_refusals_total{reason=\"issuer_unknown\",route=\"all\"}").await > 0.0);
    let wrong = "sidegate_oauth_requests_total{dialect=\"oauth2\",endpoint=\"token\",grant=\"none\",result=\"unsupported_grant_type\"}";
    assert!(sidegate.series(wrong).await > 0.0);
}

#[tokio::test]
async fn served_dialects_bring_no_labels_either() {
    let sidegate = Sidegate::start(&dialects::keyed()).await;
    dialects::by_key(&sidegate, dialects::API_KEY).await;
    let before = series(&sidegate).await;
    for key in ["evil", "", "\\u0000"] {
        dialects::by_key(&sidegate, key).await;
        dialects::renew(&sidegate, key).await;
    }
    assert_eq!(series(&sidegate).await, before);
}

#[tokio::test]
async fn an_upstream_that_gives_no_answer_is_counted_as_none() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let yaml = protecting(&upstream, &issuer, "").replace(&upstream.address.to_string(), "127.0.0.1:9");
    let sidegate = Sidegate::start(&yaml).await;
    let counted = async |code: &str| {
        sidegate.series(&format!("sidegate_upstream_requests_total{{code=\"{code}\",upstream=\"app\"}}")).await
    };
    assert!(page(&sidegate).await.contains("sidegate_upstream_requests_total{code=\"none\",upstream=\"app\"} 0\n"));
    assert_eq!(get(sidegate.public, "/", &issuer.token()).await.status, 503);
    assert_eq!((counted("none").await, counted("5xx").await), (1.0, 0.0));
}

#[tokio::test]
async fn those_who_share_a_question_are_counted() {
    let issuer = Served::start(200, "{\"active\": false}".into()).await;
    let (upstream, folder) = (Upstream::start().await, scratch("coalesced"));
    fs::write(folder.join("secret"), "s3cret").unwrap();
    let sidegate = Sidegate::start(&format!(
        "issuers: [{{ name: corp, issuer: \"https://corp.test\", introspection: {{ endpoint: \"{}\", client_id: us, \
         client_secret_file: {}/secret }} }}]\n\
         upstreams: [{{ name: app, url: \"http://{}\" }}]\n\
         routes: [{{ name: all, paths: [\"/*\"], upstream: app, policy: {{ audiences: [a] }} }}]\n",
        issuer.url,
        folder.display(),
        upstream.address
    ))
    .await;
    issuer.hold(true);
    let public = sidegate.public;
    let asking: Vec<_> = (0..3).map(|_| tokio::spawn(async move { get(public, "/x", "opaque").await })).collect();
    let coalesced =
        async || sidegate.series("sidegate_cache_requests_total{cache=\"verdicts\",result=\"coalesced\"}").await;
    must(async { while coalesced().await < 2.0 {} }).await;
    issuer.hold(false);
    for asked in asking {
        assert_eq!(asked.await.unwrap().status, 401);
    }
    assert_eq!(coalesced().await, 2.0);
    assert_eq!(sidegate.series("sidegate_introspections_total{issuer=\"corp\",result=\"inactive\"}").await, 3.0);
    assert_eq!(
        sidegate.series("sidegate_token_validation_duration_seconds_count{method=\"introspection\"}").await,
        3.0
    );
}

#[tokio::test]
async fn the_end_of_each_certificate_is_told_and_follows_a_reload() {
    let (upstream, issuer, folder) = (Upstream::start().await, Issuer::new(), scratch("certificates"));
    certificate(&folder, "server", 2031);
    certificate(&folder, "client", 2033);
    let yaml = with_certificates(&protecting(&upstream, &issuer, ""), &folder);
    let sidegate = Sidegate::start(&yaml).await;
    let ends = async |name: &str| {
        sidegate.series(&format!("sidegate_tls_certificate_expiry_timestamp_seconds{{name=\"{name}\"}}")).await
    };
    assert_eq!((ends("secure").await, ends("mutual").await), (IN_2031, IN_2033));
    let told = sidegate.status_page("localhost", "*/*").await.json();
    let left = |ends: f64| ends as u64 - sidegate.time.now().0;
    assert!(told["listeners"][0]["certificate_expires_in"].is_null());
    assert!(told["listeners"][1]["certificate_expires_in"].as_u64().unwrap().abs_diff(left(IN_2031)) < 60);
    assert!(told["upstreams"][0]["certificate_expires_in"].as_u64().unwrap().abs_diff(left(IN_2033)) < 60);

    // A chain ends with the first of its certificates.
    certificate(&folder, "server", 2033);
    certificate(&folder, "authority", 2031);
    let chain = fs::read_to_string(folder.join("server.pem")).unwrap();
    sidegate.reload(&yaml).await;
    assert_eq!(ends("secure").await, IN_2033);
    fs::write(folder.join("server.pem"), chain + &fs::read_to_string(folder.join("authority.pem")).unwrap()).unwrap();
    sidegate.reload(&yaml).await;
    assert_eq!(ends("secure").await, IN_2031);

    // The same names, and nothing is shown any more.
    let plain = format!("{at}/server.pem, key_file: {at}/server.key", at = folder.display());
    let plain = yaml.replace(&format!(", tls: {{ certificate_file: {plain} }}"), "");
    let told = format!(
        "ca_file: {at}/client.pem, certificate_file: {at}/client.pem, key_file: {at}/client.key",
        at = folder.display()
    );
    sidegate.reload(&plain.replace(&told, &format!("ca_file: {}/client.pem", folder.display()))).await;
    assert!(!page(&sidegate).await.contains("sidegate_tls_certificate_expiry_timestamp_seconds{"));
}
