//! Two sidegates on one Redis: they count guesses together and share their keys, and each goes on alone without it.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use sidegate::{config::MasterRing, model::Time};

use super::{
    house::{PASSWORD, as_app, assert_refused, authority, client, is_active, text, token},
    people::{STRICT, ask_from, behind_a_proxy, typed},
};
use crate::support::{Sidegate, Upstream, get, issuer::scratch, look::assert_problem, must, redis::Redis};

/// Where two keep their sessions, and the ring that they have for it.
struct House {
    redis: Redis,
    ring: PathBuf,
    time: Time,
}

impl House {
    async fn new() -> House {
        let ring = scratch("together").join("master.keys");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&ring).unwrap();
        file.write_all(MasterRing::generate().unwrap().text().expose().as_bytes()).unwrap();
        House { redis: Redis::start().await, ring, time: Time::default() }
    }

    /// One with these settings, but for where it keeps sessions.
    async fn sidegate(&self, yaml: &str) -> Sidegate {
        let (url, ring) = (self.redis.url(), self.ring.display());
        let store = format!("store: {{ redis: {{ url: \"{url}\", timeout: 2s }} }}\nkeys: {{ master_file: {ring} }}\n");
        assert!(yaml.contains("store: { memory: {} }\n"));
        Sidegate::at(&yaml.replace("store: { memory: {} }\n", &store), self.time.clone()).await
    }

    async fn two(&self, yaml: &str) -> [Sidegate; 2] {
        [self.sidegate(yaml).await, self.sidegate(yaml).await]
    }
}

#[tokio::test]
async fn guesses_at_one_slow_the_other_down() {
    let house = House::new().await;
    let [one, other] = house.two(&behind_a_proxy(STRICT)).await;
    for sidegate in [&one, &other, &one] {
        assert_refused(&ask_from(sidegate, "192.0.2.1", &typed("ana", "wrong")).await, 400, "invalid_grant");
    }
    for sidegate in [&one, &other] {
        let right = ask_from(sidegate, "192.0.2.1", &typed("ana", PASSWORD)).await;
        assert_refused(&right, 429, "invalid_grant");
        let seconds: u64 = right.header("retry-after").unwrap().parse().unwrap();
        assert!((30..=60).contains(&seconds), "{seconds}");
    }
    assert_eq!(ask_from(&other, "192.0.2.2", &typed("ana", PASSWORD)).await.status, 200);
    house.time.advance(61);
    assert_eq!(ask_from(&one, "192.0.2.1", &typed("ana", PASSWORD)).await.status, 200);
}

#[tokio::test]
async fn whoever_got_in_at_one_is_known_at_the_other() {
    let house = House::new().await;
    let [one, other] = house.two(&behind_a_proxy(STRICT)).await;
    assert_eq!(ask_from(&one, "192.0.2.2", &typed("ana", PASSWORD)).await.status, 200);
    for number in 10..16 {
        let reply = ask_from(&other, &format!("192.0.2.{number}"), &typed("ana", "wrong")).await;
        assert_refused(&reply, 400, "invalid_grant");
    }
    // For her name there is no patience left, with those whom nobody knows.
    assert_eq!(ask_from(&one, "192.0.2.20", &typed("ana", PASSWORD)).await.status, 429);
    assert_eq!(ask_from(&other, "192.0.2.20", &typed("ana", PASSWORD)).await.status, 429);
    assert_eq!(ask_from(&other, "192.0.2.2", &typed("ana", PASSWORD)).await.status, 200);
}

#[tokio::test]
async fn without_redis_each_counts_alone_and_together_again_afterwards() {
    let house = House::new().await;
    let [one, other] = house.two(&behind_a_proxy(STRICT)).await;
    house.redis.kill();
    for sidegate in [&one, &other] {
        for _ in 0..3 {
            assert_refused(&ask_from(sidegate, "192.0.2.1", &typed("ana", "wrong")).await, 400, "invalid_grant");
        }
        let fourth = ask_from(sidegate, "192.0.2.1", &typed("ana", "wrong")).await;
        assert_refused(&fourth, 429, "invalid_grant");
    }
    // A right one is right, and there is nowhere to keep its session.
    let right = ask_from(&one, "192.0.2.2", &typed("ana", PASSWORD)).await;
    assert_refused(&right, 503, "temporarily_unavailable");
    assert!(
        one.series("sidegate_session_operations_total{op=\"count\",result=\"unavailable\",store=\"redis\"}").await
            > 0.0
    );

    house.redis.restart().await;
    for sidegate in [&one, &other] {
        must(async { while ask_from(sidegate, "192.0.2.2", &typed("ana", PASSWORD)).await.status != 200 {} }).await;
    }
    // Nobody is asked again for a second after nobody answered.
    let counted = "sidegate_session_operations_total{op=\"count\",result=\"ok\",store=\"redis\"}";
    for sidegate in [&one, &other] {
        must(async {
            for number in 0_u32.. {
                if sidegate.series(counted).await > 0.0 {
                    break;
                }
                ask_from(sidegate, "192.0.2.77", &typed(&format!("nobody{number}"), "wrong")).await;
            }
        })
        .await;
    }
    for sidegate in [&one, &other, &one] {
        assert_refused(&ask_from(sidegate, "192.0.2.30", &typed("bea", "wrong")).await, 400, "invalid_grant");
    }
    assert_eq!(ask_from(&other, "192.0.2.30", &typed("bea", "wrong")).await.status, 429);
}

const JWKS: &str = "/.well-known/jwks.json";

fn jwts(upstream: &Upstream) -> String {
    let more = "grants: [client_credentials], scopes: [orders], access_token: { format: jwt }";
    let yaml = authority(&[client("app", more)], &[], "  signing: { publish_ahead: 10s }\n");
    yaml.replace("127.0.0.1:9\"", &format!("{}\"", upstream.address))
}

async fn mint(sidegate: &Sidegate) -> String {
    let reply = token(sidegate, &as_app("grant_type=client_credentials")).await;
    text(&reply, "access_token")
}

#[tokio::test]
async fn a_key_that_one_has_just_begun_is_good_at_the_other() {
    let (house, upstream) = (House::new().await, Upstream::start().await);
    let [one, other] = house.two(&jwts(&upstream)).await;
    let sets = async || (get(one.public, JWKS, "").await.json(), get(other.public, JWKS, "").await.json());
    let (first, second) = sets().await;
    assert_eq!(first, second);
    let keys = one.app.gate().endpoints().unwrap().grants.keys.clone();
    keys.rotate_now(false).await.unwrap();
    // Told within a second, long before it signs.
    let told = async {
        loop {
            let (here, there) = sets().await;
            if here == there && here != first {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(1), told).await.expect("not within a second");
    let before = mint(&one).await;
    house.time.advance(11);
    let mut after = mint(&one).await;
    must(async {
        while kid(&after) == kid(&before) {
            after = mint(&one).await;
        }
    })
    .await;
    for token in [&before, &after] {
        assert!(is_active(&other, token).await);
        assert_eq!(get(other.public, "/", token).await.status, 200);
    }
}

fn kid(token: &str) -> String {
    crate::support::keys::part(token, 0)["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_starts_while_redis_is_away_serves_what_needs_no_key_of_its_own_and_has_them_when_it_returns() {
    let (house, upstream) = (House::new().await, Upstream::start().await);
    let one = house.sidegate(&jwts(&upstream)).await;
    let (token, set) = (mint(&one).await, get(one.public, JWKS, "").await.json());
    house.redis.kill();

    let late = house.sidegate(&jwts(&upstream)).await;
    assert_eq!(late.health("/startupz").await.status, 200);
    let ready = late.health("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["degraded"][0]["authority"]), (200, &"local".into()));
    // Nothing is refused for good, and nobody keeps an empty set of keys.
    assert_problem(&get(late.public, "/", &token).await, 503, "temporarily_unavailable", None);
    let keys = get(late.public, JWKS, "").await;
    assert_refused(&keys, 503, "temporarily_unavailable");
    assert!(keys.header("retry-after").is_some());
    assert_refused(&super::house::introspect(&late, &token).await, 503, "temporarily_unavailable");

    house.redis.restart().await;
    must(async { while get(late.public, JWKS, "").await.status != 200 {} }).await;
    assert_eq!(get(late.public, JWKS, "").await.json(), set);
    must(async { while get(late.public, "/", &token).await.status != 200 {} }).await;
    let ready = late.health("/readyz").await.json();
    assert_eq!(ready["degraded"], serde_json::json!([]));
}
