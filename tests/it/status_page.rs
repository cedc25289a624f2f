//! `/status`, as a person reads it and a machine does.

use serde_json::{Value, json};

use crate::support::{
    Issuer, Sidegate, Upstream, get,
    issuer::{NAME, Served},
    must,
    sidegate::{protecting, signalled},
};

async fn json_of(sidegate: &Sidegate) -> Value {
    sidegate.status_page("localhost", "application/json").await.json()
}

async fn page_of(sidegate: &Sidegate) -> String {
    sidegate.status_page("localhost", "text/html").await.text().to_owned()
}

#[tokio::test]
async fn the_first_sentence_says_how_it_stands_and_why() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let sidegate = Sidegate::protecting(&upstream, &issuer, "").await;
    must(async { while json_of(&sidegate).await["health"]["state"] != "good" {} }).await;
    let page = page_of(&sidegate).await;
    assert!(page.contains("<h1>Good: everything that is configured works.</h1>"), "{page}");
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("style=\""), "{page}");

    sidegate.app.refused("routes[0].paths: <b>wrong</b>\nand more".into(), signalled());
    let status = json_of(&sidegate).await;
    assert_eq!(status["health"]["state"], "degraded");
    let page = page_of(&sidegate).await;
    assert!(page.contains("Degraded: The last reload was refused, and the configuration before it runs on: routes[0].paths: &lt;b&gt;wrong"), "{page}");
    sidegate.reload(&protecting(&upstream, &issuer, "")).await;
    assert_eq!(json_of(&sidegate).await["health"]["reasons"], json!([]));
    sidegate.app.begin_drain();
    assert!(page_of(&sidegate).await.contains("<h1>Draining:"));
}

#[tokio::test]
async fn what_is_out_of_order_is_named_with_what_it_means() {
    let (upstream, issuer) = (Upstream::start().await, Issuer::new());
    let down = Served::start(500, String::new()).await;
    let sidegate = Sidegate::start(&format!(
        "{}  - {{ name: gone, issuer: {NAME}/gone, jwks_uri: \"{}\" }}\n\
         upstreams: [{{ name: app, url: \"http://{}\" }}, {{ name: closed, url: \"http://127.0.0.1:9\" }}]\n\
         routes:\n  - {{ name: all, paths: [\"/*\"], upstream: app, policy: {{ issuers: [corp, gone], audiences: [orders-api] }} }}\n  \
         - {{ name: lost, paths: [/lost], upstream: closed, public: true }}\n",
        issuer.yaml(),
        down.url,
        upstream.address
    ))
    .await;
    must(async { while json_of(&sidegate).await["health"]["reasons"].as_array().unwrap().len() != 1 {} }).await;
    let status = json_of(&sidegate).await;
    let sentence = status["health"]["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("Degraded: Issuer gone is not usable, and its tokens get 503"), "{sentence}");
    assert_eq!(get(sidegate.public, "/lost?canary=1", "").await.status, 503);
    for token in ["", &issuer.token(), &issuer.token()] {
        get(sidegate.public, "/canary", token).await;
    }
    let status = json_of(&sidegate).await;
    let error = status["errors"].as_array().unwrap().iter().find(|error| error["place"] == "upstream closed").unwrap();
    assert!(error["what"].as_str().unwrap().contains("refuses connections"), "{error}");
    assert_eq!(status["upstreams"][1]["errors_for"], json!({"upstream_unavailable": 1}));
    let route = &status["routes"][0];
    assert_eq!((&route["allowed"], &route["refused"]), (&2.into(), &1.into()));
    assert_eq!(route["refused_for"], json!({"token_missing": 1}));
    assert_eq!((&status["caches"][0]["lookups"], &status["caches"][0]["hit_ratio"]), (&2.into(), &0.0.into()));
    assert!(!status.to_string().contains("canary"), "{status}");
    let page = page_of(&sidegate).await;
    for part in ["not usable", "upstream closed", "refuses connections", "<code>token_missing</code> 1"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}
