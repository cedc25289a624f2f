//! The names that are labels: those of the configuration in force, and not too many.

use super::{page, series};
use crate::support::{
    Issuer, Sidegate, Upstream, get,
    issuer::{NAME, Served, scratch},
    sidegate::{parse, signalled},
};

/// Routes of these names, each at its own path and with an upstream of its own name.
fn routes(issuer: &Issuer, upstream: &Upstream, names: &[String]) -> String {
    let upstreams: String =
        names.iter().map(|name| format!("  - {{ name: up-{name}, url: \"http://{}\" }}\n", upstream.address)).collect();
    let routes: String = names
        .iter()
        .map(|name| {
            format!(
                "  - {{ name: {name}, paths: [/{name}], upstream: up-{name}, policy: {{ issuers: [corp], \
                 audiences: [orders-api] }} }}\n"
            )
        })
        .collect();
    format!("{}upstreams:\n{upstreams}routes:\n{routes}", issuer.yaml())
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn answered(route: &str) -> String {
    format!("sidegate_http_requests_total{{code=\"2xx\",method=\"GET\",route=\"{route}\"}}")
}

fn sent(upstream: &str) -> String {
    format!("sidegate_upstream_requests_total{{code=\"2xx\",upstream=\"{upstream}\"}}")
}

#[tokio::test]
async fn what_a_reload_removes_is_told_of_no_longer_and_what_stays_goes_on() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let keys = Served::start(200, serde_json::json!({"keys": [issuer.key.jwk]}).to_string()).await;
    let two = routes(&issuer, &upstream, &named(&["stays", "goes"]));
    let other = format!("issuers:\n  - {{ name: dropped, issuer: \"{NAME}/gone\", jwks_uri: \"{}\" }}\n", keys.url);
    let two = two.replace("issuers:\n", &other)
        + "listeners:\n  - { name: main, address: 127.0.0.1:0 }\n  - { name: second, address: 127.0.0.1:0 }\n";
    let one = routes(&issuer, &upstream, &named(&["stays"])) + "listeners: [{ name: main, address: 127.0.0.1:0 }]\n";

    let sidegate = Sidegate::start(&two).await;
    for path in ["/stays", "/goes", "/goes"] {
        assert_eq!(get(sidegate.public, path, &issuer.token()).await.status, 200);
    }
    let before = series(&sidegate).await;
    for name in ["route=\"goes\"", "upstream=\"up-goes\"", "issuer=\"dropped\"", "listener=\"second\""] {
        assert!(before.iter().any(|series| series.contains(name)), "{name}");
    }
    assert_eq!(sidegate.series(&sent("up-goes")).await, 2.0);

    sidegate.reload(&one).await;
    let after = series(&sidegate).await;
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    for name in ["goes", "dropped", "second"] {
        let left: Vec<_> = after.iter().filter(|series| series.contains(&format!("{name}\""))).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    for gone in before.difference(&after) {
        assert!(["goes\"", "dropped\"", "second\""].iter().any(|name| gone.contains(name)), "{gone} is gone, too");
    }
    assert_eq!(get(sidegate.public, "/stays", &issuer.token()).await.status, 200);
    assert_eq!(sidegate.series(&answered("stays")).await, 2.0);
    assert_eq!(sidegate.series("sidegate_config_generation").await, 2.0);

    // A name that comes back begins anew.
    sidegate.reload(&two).await;
    assert_eq!(series(&sidegate).await, before);
    assert!(page(&sidegate).await.contains(&format!("{} 0\n", answered("goes"))));
    let opened = "sidegate_upstream_connections_opened_total{upstream=\"up-goes\"}";
    assert_eq!(sidegate.series(opened).await, 0.0);
    assert_eq!(get(sidegate.public, "/goes", &issuer.token()).await.status, 200);
    assert_eq!((sidegate.series(&answered("goes")).await, sidegate.series(&sent("up-goes")).await), (1.0, 1.0));
    assert_eq!(sidegate.series(opened).await, 1.0);
}

#[tokio::test]
async fn an_issuer_that_has_no_keys_to_fetch_any_more_is_not_told_to_be_stale() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let yaml = routes(&issuer, &upstream, &named(&["all"]));
    let sidegate = Sidegate::start(&yaml).await;
    let fetched = "sidegate_jwks_last_success_timestamp_seconds{issuer=\"corp\"}";
    let age = "sidegate_jwks_max_age_seconds{issuer=\"corp\"}";
    let all = series(&sidegate).await;
    assert!(all.contains(fetched) && all.contains(age));
    assert_eq!(sidegate.series(age).await, 86_400.0);

    let secret = scratch("shared").join("secret");
    std::fs::write(&secret, [b'x'; 32]).unwrap();
    let (before, rest) = yaml.split_once("    algorithms:").unwrap();
    let (_, after) = rest.split_once("upstreams:").unwrap();
    let shared =
        format!("{before}    algorithms: [HS256]\n    hs_secret_file: {}\nupstreams:{after}", secret.display());
    sidegate.reload(&shared).await;
    let all = series(&sidegate).await;
    assert!(!all.contains(fetched) && !all.contains(age));
    assert_eq!(sidegate.series("sidegate_issuer_usable{issuer=\"corp\"}").await, 1.0);
}

#[tokio::test]
async fn a_configuration_that_is_refused_leaves_no_series_behind() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::start(&routes(&issuer, &upstream, &named(&["stays"]))).await;
    let before = series(&sidegate).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let yaml = routes(&issuer, &upstream, &named(&["stays", "never"]))
        + &format!("listeners: [{{ name: main, address: \"{}\" }}]\n", taken.local_addr().unwrap());
    let (app, config) = (sidegate.app.clone(), parse(&yaml));
    tokio::task::spawn_blocking(move || app.reload(config, signalled())).await.unwrap().unwrap_err();
    assert_eq!(series(&sidegate).await, before);
}

#[tokio::test]
async fn beyond_sixty_four_routes_and_upstreams_share_one_name() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let names: Vec<String> = (0..70).map(|number| format!("r{number}")).collect();
    let sidegate = Sidegate::start(&routes(&issuer, &upstream, &names)).await;
    for path in ["/r0", "/r63", "/r64", "/r69", "/r69"] {
        assert_eq!(get(sidegate.public, path, &issuer.token()).await.status, 200, "{path}");
    }
    assert_eq!(sidegate.series(&answered("r63")).await, 1.0);
    assert_eq!(sidegate.series(&answered("other")).await, 3.0);
    assert_eq!(sidegate.series(&sent("up-r63")).await, 1.0);
    assert_eq!(sidegate.series(&sent("other")).await, 3.0);
    // What upstreams count by themselves is added up.
    let other = async |series: &str| sidegate.series(&format!("sidegate_upstream_connections{series}}}")).await;
    let open = other("{state=\"idle\",upstream=\"other\"").await + other("{state=\"active\",upstream=\"other\"").await;
    // Each worker has connections of its own.
    assert!([2.0, 3.0].contains(&open), "{open}");
    assert_eq!(other("_opened_total{upstream=\"other\"").await, open);
    let all = series(&sidegate).await;
    assert!(!all.iter().any(|series| series.contains("r64\"") || series.contains("r69\"")));

    // In another order it is others that have names; nothing of the first order is left.
    let names: Vec<String> = names.into_iter().rev().collect();
    sidegate.reload(&routes(&issuer, &upstream, &names)).await;
    let all = series(&sidegate).await;
    assert!(all.iter().any(|series| series.contains("route=\"r69\"")));
    assert!(!all.iter().any(|series| series.contains("\"r0\"") || series.contains("up-r0\"")));
}
