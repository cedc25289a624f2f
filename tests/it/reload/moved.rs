//! What a reload moves beside the product's listeners, and what it cannot change.

use serde_json::json;
use sidegate::config::Address;

use super::watched::Watched;
use crate::support::{Upstream, get, must};

fn settings(upstream: &Upstream, more: &str) -> String {
    format!(
        "upstreams: [{{ name: app, url: \"http://{}\" }}]\n\
         routes: [{{ name: all, paths: [/], upstream: app, public: true }}]\n\
         listeners: [{{ name: main, address: \"127.0.0.1:0\" }}]\n{more}",
        upstream.address
    )
}

#[tokio::test]
async fn the_small_listeners_move_come_and_go() {
    let upstream = Upstream::start().await;
    let mut watched = Watched::start(&settings(&upstream, ""), &[]).await;
    let write = |watched: &mut Watched, more: &str| {
        watched.mount.swap(&[("sidegate.yaml", settings(&upstream, &format!("workers: 2\n{more}")))]);
    };
    let at = |watched: &Watched, name: &str| match watched.sidegate.app.address(name) {
        Some(Address::Tcp(address)) => Some(address),
        _ => None,
    };
    let (health, admin) = (watched.sidegate.health, watched.sidegate.admin);
    write(&mut watched, "health: { address: \"127.0.0.4:0\" }\nadmin: { address: \"127.0.0.5:0\" }\n");
    watched.beat().await;
    let (new_health, new_admin) = (at(&watched, "health").unwrap(), at(&watched, "admin").unwrap());
    assert_eq!(get(new_health, "/readyz", "").await.status, 200);
    for gone in [health, admin] {
        must(async {
            while tokio::net::TcpStream::connect(gone).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    watched.sidegate.admin = new_admin;
    let reloads = watched.reloads().await;
    assert_eq!(reloads["last"]["sections"], json!(["health", "admin"]));
    assert_eq!(reloads["pending_restart"], json!([]));
    write(&mut watched, "admin: { address: \"127.0.0.5:0\" }\n");
    watched.beat().await;
    assert_eq!((at(&watched, "health"), at(&watched, "admin")), (None, Some(new_admin)));
}

#[tokio::test]
async fn a_small_listener_that_cannot_be_opened_leaves_every_other_as_it_was() {
    let upstream = Upstream::start().await;
    let mut watched = Watched::start(&settings(&upstream, ""), &[]).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_at = taken.local_addr().unwrap();
    let more = format!("workers: 2\nhealth: {{ address: \"127.0.0.1:0\" }}\nadmin: {{ address: \"{taken_at}\" }}\n");
    let yaml = settings(&upstream, &more);
    watched.mount.swap(&[(
        "sidegate.yaml",
        yaml.replace("name: main, address: \"127.0.0.1:0\"", "name: main, address: \"127.0.0.6:0\""),
    )]);
    for _ in 0..2 {
        watched.beat().await;
        assert_eq!(get(watched.sidegate.public, "/", "").await.status, 200);
    }
    let reloads = watched.reloads().await;
    assert!(reloads["last_error"].as_str().unwrap().contains(&taken_at.to_string()), "{reloads}");
    // It is tried again: whoever has the address may let go of it.
    drop(taken);
    watched.beat().await;
    watched.sidegate.admin = taken_at;
    assert_eq!(watched.reloads().await["last_error"], serde_json::Value::Null);
    assert_eq!(watched.sidegate.app.gate().generation(), 2);
}

#[tokio::test]
async fn what_takes_effect_at_the_next_start_is_told_until_it_is_as_it_was() {
    let upstream = Upstream::start().await;
    let mut watched = Watched::start(&settings(&upstream, ""), &[]).await;
    let whole = |more: &str| {
        let sides = "health: { address: \"127.0.0.1:0\" }\nadmin: { address: \"127.0.0.1:0\" }\n";
        settings(&upstream, &format!("{sides}{more}"))
    };
    watched.mount.swap(&[("sidegate.yaml", whole("workers: 3\nlog: { format: text }\n"))]);
    watched.beat().await;
    assert_eq!(watched.reloads().await["pending_restart"], json!(["workers", "log.format"]));
    // Another reload does not forget it.
    watched.mount.swap(&[("sidegate.yaml", whole("workers: 3\ndrain: { timeout: 7s }\n"))]);
    watched.beat().await;
    let reloads = watched.reloads().await;
    assert_eq!((&reloads["pending_restart"], &reloads["last"]["sections"]), (&json!(["workers"]), &json!(["drain"])));
    watched.mount.swap(&[("sidegate.yaml", whole("workers: 2\n"))]);
    watched.beat().await;
    assert_eq!(watched.reloads().await["pending_restart"], json!([]));
}
