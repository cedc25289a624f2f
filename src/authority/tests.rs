//! Guesses, right and wrong, and what they cost. Times are the requests' own; hashes are counted, not timed.

mod together;

use std::{net::IpAddr, path::Path, time::Instant};

use super::*;
use crate::model::{Connection, HeadLimits, Peer, RequestId, UnixMillis, UnixTime};

/// A hash of `secret` whose parameters are far too low for anything but a test.
pub(super) fn hashed(parameters: &str, secret: &str) -> String {
    use argon2::{Argon2, password_hash::CustomizedPasswordHasher, password_hash::phc::PasswordHash};
    let given = PasswordHash::new(&format!("$argon2id$v=19${parameters}$c2lkZWdhdGUtc2FsdA")).unwrap();
    let parameters = argon2::Params::try_from(&given).unwrap();
    let hash = Argon2::default()
        .hash_password_customized(secret.as_bytes(), b"sidegate-salt", None, None, parameters)
        .unwrap();
    hash.to_string()
}

pub(super) fn generated(secret: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

const CHEAP: &str = "m=64,t=1,p=1";

struct House {
    authority: Authority,
    metrics: Arc<Metrics>,
}

impl House {
    fn new() -> House {
        House::with(&hashed(CHEAP, "swordfish"), "")
    }

    /// `ana` has the password of `hash`, `bea` is disabled; `app` has two secrets, `shop` a generated one.
    fn with(hash: &str, more: &str) -> House {
        House::of(hash, more, None)
    }

    /// One of several that count together.
    fn of(hash: &str, more: &str, shared: Option<Arc<dyn Shared>>) -> House {
        let metrics = Arc::new(Metrics::new());
        let authority = Authority::new(config(hash, more), None, shared, metrics.clone()).unwrap().unwrap();
        House { authority, metrics }
    }

    /// The next generation.
    fn reload(self, hash: &str, more: &str) -> House {
        let authority = Authority::new(config(hash, more), Some(&self.authority), None, self.metrics.clone());
        House { authority: authority.unwrap().unwrap(), metrics: self.metrics }
    }

    async fn user(&self, name: &str, password: &str, cx: &Context) -> Result<String, Denied> {
        let password = Secret::new(password.to_owned());
        self.authority.verify_user(name, &password, "app", cx).await.map(|identity| identity.subject)
    }

    async fn client(&self, id: &str, secret: &str, cx: &Context) -> Result<String, Denied> {
        let secret = Secret::new(secret.to_owned());
        self.authority.verify_client(id, &secret, cx).await.map(|client| client.id.to_string())
    }

    /// Hashes that were computed.
    fn hashes(&self) -> u64 {
        let page = String::from_utf8(self.metrics.render()).unwrap();
        let counts =
            page.lines().filter_map(|line| line.strip_prefix("sidegate_password_hashes_total")?.split_once(' '));
        counts.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
    }
}

fn config(hash: &str, more: &str) -> Arc<config::Config> {
    let (app, new, shop) = (hashed(CHEAP, "old secret"), hashed(CHEAP, "new secret"), generated("a generated one"));
    let yaml = format!(
        "authority:
  issuer: https://auth.example.com
  audiences: [api]
  clients:
    - {{ id: app, secret_hashes: ['{app}', '{new}'], grants: [client_credentials] }}
    - {{ id: shop, secret_hashes: ['{shop}'], grants: [client_credentials] }}
    - {{ id: off, enabled: false, secret_hashes: ['{app}'], grants: [client_credentials] }}
    - {{ id: device, public: true, grants: [authorization_code], redirect_uris: ['https://a.example/cb'] }}
  users:
    - {{ username: ana, subject: u-1, password_hash: '{hash}' }}
    - {{ username: bea, enabled: false, password_hash: '{hash}' }}
{more}
store: {{ memory: {{}} }}
upstreams: [{{ name: app, url: 'http://127.0.0.1:1' }}]
routes: [{{ name: all, paths: ['/*'], upstream: app, policy: {{ audiences: [api] }} }}]
"
    );
    let loaded = config::load_str(&yaml, "c.yaml", Path::new("/"), &config::Environment::default());
    Arc::new(loaded.unwrap_or_else(|problems| panic!("{problems}")).config)
}

/// A request from `address` (none: a unix socket), `after` seconds.
fn at(address: &str, after: u64) -> Context {
    let connection =
        Connection::new("main".into(), HeadLimits { bytes: 1 << 15, count: 100 }, None, Peer::Unix, false, 0);
    Context {
        now: UnixTime(1_800_000_000 + after),
        moment: UnixMillis((1_800_000_000 + after) * 1000),
        started: Instant::now(),
        id: RequestId::new(7),
        trace: None,
        client: (!address.is_empty()).then(|| address.parse::<IpAddr>().unwrap()),
        connection: Arc::new(connection),
    }
}

const HOME: &str = "192.0.2.1";

#[tokio::test]
async fn unknown_disabled_and_wrong_are_one_refusal_at_one_price() {
    let house = House::new();
    for (count, (name, password)) in
        [("ana", "wrong"), ("nobody", "wrong"), ("bea", "wrong"), ("bea", "swordfish")].into_iter().enumerate()
    {
        assert_eq!(house.user(name, password, &at(HOME, 0)).await, Err(Denied::Wrong), "{name}");
        assert_eq!(house.hashes(), count as u64 + 1, "{name}");
    }
    assert_eq!(house.user("ana", "swordfish", &at(HOME, 0)).await, Ok("u-1".to_owned()));
}

#[tokio::test]
async fn clients_have_any_of_their_secrets_and_strangers_pay_as_well() {
    let house = House::new();
    for secret in ["old secret", "new secret"] {
        assert_eq!(house.client("app", secret, &at(HOME, 0)).await, Ok("app".to_owned()));
    }
    let before = house.hashes();
    assert_eq!(house.client("shop", "a generated one", &at(HOME, 0)).await, Ok("shop".to_owned()));
    assert_eq!(house.hashes(), before, "what was generated needs no slow hash");
    for (id, secret) in
        [("shop", "wrong"), ("nobody", "wrong"), ("off", "old secret"), ("device", ""), ("app", "wrong")]
    {
        let before = house.hashes();
        assert_eq!(house.client(id, secret, &at(HOME, 0)).await, Err(Denied::Wrong), "{id}");
        assert_eq!(house.hashes(), before + 1, "{id}");
    }
}

#[tokio::test]
async fn a_right_secret_is_hashed_once_a_minute_until_its_hash_changes() {
    let house = House::new();
    for after in [0, 1, 59] {
        assert!(house.user("ana", "swordfish", &at(HOME, after)).await.is_ok());
    }
    assert_eq!(house.hashes(), 1);
    assert!(house.user("ana", "swordfish", &at(HOME, 60)).await.is_ok());
    assert_eq!(house.hashes(), 2);

    let house = house.reload(&hashed("m=64,t=2,p=1", "swordfish"), "");
    assert!(house.user("ana", "swordfish", &at(HOME, 61)).await.is_ok());
    assert_eq!(house.hashes(), 3);
    let house = house.reload(&hashed(CHEAP, "marlin"), "");
    assert_eq!(house.user("ana", "swordfish", &at(HOME, 61)).await, Err(Denied::Wrong));
}

#[tokio::test]
async fn a_wrong_one_is_never_remembered() {
    let house = House::new();
    for count in 1..4 {
        assert_eq!(house.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
        assert_eq!(house.hashes(), count);
    }
}

#[tokio::test]
async fn fifty_first_requests_at_once_cost_one_hash() {
    let house = House::new();
    let cx = at(HOME, 0);
    let answers = futures_util::future::join_all((0..50).map(|_| house.client("app", "new secret", &cx))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(house.hashes(), 1);
}

#[tokio::test]
async fn wrong_guesses_at_once_are_held_to_the_same_count_as_one_after_the_other() {
    let house = House::new();
    let cx = at(HOME, 0);
    let guesses: Vec<String> = (0..200).map(|guess| format!("wrong {guess}")).collect();
    let answers = futures_util::future::join_all(guesses.iter().map(|guess| house.user("ana", guess, &cx))).await;
    let judged = answers.iter().filter(|answer| **answer == Err(Denied::Wrong)).count();
    let turned_away = answers.iter().filter(|answer| matches!(answer, Err(Denied::Throttled(_)))).count();
    assert!((1..=10).contains(&judged), "{judged}");
    assert_eq!(judged + turned_away, 200);
}

const STRICT: &str = "  throttle:
    per_pair: { requests: 1, per: 60s, burst: 2 }
    per_address: { requests: 1, per: 10s, burst: 4 }
    per_name: { requests: 1, per: 10s, burst: 6 }";

#[tokio::test]
async fn the_pair_is_slowed_first_and_comes_back_after_its_time() {
    let house = House::with(&hashed(CHEAP, "swordfish"), STRICT);
    for _ in 0..2 {
        assert_eq!(house.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    }
    assert_eq!(house.user("ana", "swordfish", &at(HOME, 0)).await, Err(Denied::Throttled(60)));
    assert_eq!(house.hashes(), 2, "nothing is hashed for a throttled guess");
    assert_eq!(house.user("nobody", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong), "others may still try");
    assert!(house.user("ana", "swordfish", &at("192.0.2.2", 0)).await.is_ok(), "and she from elsewhere");
    assert!(house.user("ana", "swordfish", &at(HOME, 60)).await.is_ok());
    assert!(house.client("app", "new secret", &at(HOME, 0)).await.is_ok(), "clients are counted apart");
}

#[tokio::test]
async fn right_ones_count_for_nothing() {
    let house = House::with(&hashed(CHEAP, "swordfish"), STRICT);
    for after in 0..20 {
        assert!(house.user("ana", "swordfish", &at(HOME, after * 100)).await.is_ok());
    }
    assert_eq!(house.hashes(), 20);
}

#[tokio::test]
async fn an_address_that_tries_many_names_is_slowed_but_not_who_is_known_there() {
    let house = House::with(&hashed(CHEAP, "swordfish"), STRICT);
    assert!(house.user("ana", "swordfish", &at(HOME, 0)).await.is_ok());
    for name in ["b", "c", "d", "e"] {
        assert_eq!(house.user(name, "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    }
    assert_eq!(house.user("f", "wrong", &at(HOME, 0)).await, Err(Denied::Throttled(10)));
    assert!(house.user("ana", "swordfish", &at(HOME, 0)).await.is_ok());
    assert_eq!(house.user("f", "wrong", &at("192.0.2.9", 0)).await, Err(Denied::Wrong));
}

#[tokio::test]
async fn a_name_that_many_addresses_guess_for_is_slowed_but_its_user_gets_in_from_where_they_were() {
    let house = House::with(&hashed(CHEAP, "swordfish"), STRICT);
    assert!(house.user("ana", "swordfish", &at(HOME, 0)).await.is_ok());
    for number in 10..16 {
        assert_eq!(house.user("ana", "wrong", &at(&format!("192.0.2.{number}"), 0)).await, Err(Denied::Wrong));
    }
    assert_eq!(house.user("ana", "swordfish", &at("192.0.2.99", 0)).await, Err(Denied::Throttled(10)));
    // Not only from memory: after a minute it is hashed anew.
    assert!(house.user("ana", "swordfish", &at(HOME, 61)).await.is_ok());
    // Her own pair is held to its own pace all the same.
    for _ in 0..2 {
        assert_eq!(house.user("ana", "wrong", &at(HOME, 61)).await, Err(Denied::Wrong));
    }
    assert!(matches!(house.user("ana", "swordfish", &at(HOME, 61)).await, Err(Denied::Throttled(_))));
}

#[tokio::test]
async fn a_generated_secret_gets_in_whatever_others_guess() {
    let house = House::with(&hashed(CHEAP, "swordfish"), STRICT);
    for _ in 0..2 {
        assert_eq!(house.client("shop", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    }
    assert_eq!(house.client("shop", "wrong", &at(HOME, 0)).await, Err(Denied::Throttled(60)));
    assert!(house.client("shop", "a generated one", &at(HOME, 0)).await.is_ok());
}

#[tokio::test]
async fn without_an_address_only_the_name_counts() {
    let house = House::with(&hashed(CHEAP, "swordfish"), STRICT);
    for _ in 0..6 {
        assert_eq!(house.user("ana", "wrong", &at("", 0)).await, Err(Denied::Wrong));
    }
    assert_eq!(house.user("ana", "wrong", &at("", 0)).await, Err(Denied::Throttled(10)));
    assert_eq!(house.user("nobody", "wrong", &at("", 0)).await, Err(Denied::Wrong));
}

#[tokio::test]
async fn a_reload_forgives_nothing_unless_the_rates_change() {
    let house = House::with(&hashed(CHEAP, "swordfish"), STRICT);
    for _ in 0..2 {
        assert_eq!(house.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    }
    let house = house.reload(&hashed(CHEAP, "swordfish"), STRICT);
    assert_eq!(house.user("ana", "swordfish", &at(HOME, 0)).await, Err(Denied::Throttled(60)));
    let house = house.reload(&hashed(CHEAP, "swordfish"), "");
    assert!(house.user("ana", "swordfish", &at(HOME, 0)).await.is_ok());
}

#[tokio::test]
async fn whoever_is_gone_disabled_or_has_another_password_is_vouched_for_no_longer() {
    let house = House::new();
    let password = Secret::new("swordfish".to_owned());
    let noted = house.authority.verify_user("ana", &password, "app", &at(HOME, 0)).await.unwrap().credential.unwrap();
    assert!(house.authority.still_vouches("ana", Some(&noted)));
    assert!(!house.authority.still_vouches("ana", None) && !house.authority.still_vouches("ana", Some(&[0; 16])));
    assert!(!house.authority.still_vouches("bea", Some(&noted)) && !house.authority.still_vouches("eve", Some(&noted)));
    let house = house.reload(&hashed("m=64,t=2,p=1", "swordfish"), "");
    assert!(!house.authority.still_vouches("ana", Some(&noted)));
}
