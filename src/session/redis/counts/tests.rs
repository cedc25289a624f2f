//! On a server of the test's own.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use tokio::runtime::Handle;

use super::*;
use crate::{
    model::Time,
    rate::{Key, Limiter},
    session::{
        redis::{
            Redis,
            testing::{Server, metrics},
        },
        testing::ring,
    },
    telemetry::metrics::Metrics,
};

/// What a replica with these master keys counts by.
fn replica(server: &Server, time: &Time, keys: &[u32]) -> Counts {
    patient(server, time, keys, Duration::from_secs(20))
}

fn patient(server: &Server, time: &Time, keys: &[u32], patience: Duration) -> Counts {
    let store = Redis::open(&server.settings(), ring(keys), time.clone(), &Handle::current(), metrics()).unwrap();
    store.counts(patience, Metrics::new().oauth.store("redis"))
}

/// One name from one address: the pair, the address, the name.
fn counts(by: &Counts, name: &str, address: &str) -> [Count; 3] {
    let (name, address) = (name.as_bytes(), address.as_bytes());
    [
        Count { id: by.digest(&[b"pair", name, address]), rate: rate(60, 2) },
        Count { id: by.digest(&[b"address", address]), rate: rate(10, 4) },
        Count { id: by.digest(&[b"name", name]), rate: rate(10, 6) },
    ]
}

fn rate(seconds: u64, burst: u32) -> Rate {
    Rate { interval: Duration::from_secs(seconds), burst }
}

async fn ask<T: FromRedisValue>(by: &Counts, question: &[&str]) -> T {
    let mut command = redis::cmd(question[0]);
    command.arg(&question[1..]);
    T::from_redis_value(by.store.link.ask(&command).await.unwrap()).unwrap()
}

async fn keys(by: &Counts) -> Vec<String> {
    ask(by, &["KEYS", "sidegate:guesses:*"]).await
}

const GO: Option<Answer> = Some(Answer { known: false, verdict: Ok(()) });
const KNOWN: Option<Answer> = Some(Answer { known: true, verdict: Ok(()) });
const PATIENCE: Duration = Duration::from_millis(800);

#[track_caller]
fn waits(answer: Option<Answer>) -> u64 {
    answer.unwrap().verdict.unwrap_err().seconds()
}

#[tokio::test]
async fn what_one_replica_counts_another_one_counts_on() {
    let (server, time) = (Server::start(), Time::default());
    let (one, other) = (replica(&server, &time, &[2, 1]), replica(&server, &time, &[1]));
    let ana = counts(&one, "ana", "here");
    assert_eq!(ana.map(|count| count.id), counts(&other, "ana", "here").map(|count| count.id));
    assert_eq!(one.take(&ana).await, GO);
    assert_eq!(other.look(&ana).await, GO);
    assert_eq!(other.take(&ana).await, GO);
    assert_eq!((waits(one.look(&ana).await), waits(one.take(&ana).await), waits(other.take(&ana).await)), (60, 60, 60));
    assert_eq!(one.take(&counts(&one, "ana", "there")).await, GO);
    assert_eq!(one.take(&counts(&one, "bob", "here")).await, GO);
    time.advance(61);
    assert_eq!(one.look(&ana).await, GO);

    // An address that tries many names; what one count refuses is counted in none.
    for name in ["c", "d", "e", "f"] {
        assert_eq!(other.take(&counts(&other, name, "office")).await, GO);
    }
    let strange = counts(&one, "g", "office");
    assert_eq!(waits(one.take(&strange).await), 10);
    assert_eq!(one.look(&strange[..1]).await, GO);
    assert_eq!(one.take(&[strange[0]]).await, GO);
    assert_eq!(one.take(&[strange[0]]).await, GO, "the refused attempt is not among the two");
}

#[tokio::test]
async fn whoever_got_in_is_known_to_all_and_what_is_given_back_leaves_nothing() {
    let (server, time) = (Server::start(), Time::default());
    let (one, other) = (replica(&server, &time, &[1]), replica(&server, &time, &[1]));
    let ana = counts(&one, "ana", "office");
    assert_eq!(one.take(&ana).await, GO);
    one.give_back(&ana, false).await;
    assert_eq!(keys(&one).await, Vec::<String>::new());
    assert_eq!(one.take(&ana).await, GO);
    one.give_back(&ana, true).await;
    assert_eq!(keys(&one).await.len(), 1);

    for name in ["b", "c", "d", "e"] {
        assert_eq!(other.take(&counts(&other, name, "office")).await, GO);
    }
    assert_eq!(waits(other.take(&counts(&other, "f", "office")).await), 10);
    assert_eq!((other.look(&ana).await, other.take(&ana).await), (KNOWN, KNOWN));
    // Neither the address nor the name has been charged for it.
    assert!(waits(other.look(&counts(&other, "f", "office")).await) <= 10);
    assert_eq!(one.take(&ana[..1]).await, KNOWN);
    let slow = one.take(&ana).await.unwrap();
    assert!(slow.known && slow.verdict.is_err(), "the pair keeps to its own pace");
    time.advance(29 * 24 * 3600);
    assert_eq!(one.look(&ana).await, KNOWN);
    time.advance(24 * 3600);
    assert_eq!(one.look(&ana).await, GO);
}

#[tokio::test]
async fn nobody_can_be_told_from_the_keys_and_every_one_of_them_ends() {
    let (server, time) = (Server::start(), Time::default());
    let one = replica(&server, &time, &[1]);
    let ana = counts(&one, "ana", "192.0.2.1");
    assert_eq!(one.take(&ana).await, GO);
    assert_eq!(one.take(&counts(&one, "ana", "192.0.2.2")).await, GO);
    one.give_back(&ana, true).await;
    let keys = keys(&one).await;
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in &keys {
        assert!(!key.contains("192") && !key.contains("ana"), "{key}");
        let (ends, size): (i64, i64) = (ask(&one, &["PTTL", key]).await, ask(&one, &["MEMORY", "USAGE", key]).await);
        let known = *key == one.store.keys.guesses(&ana[0].id);
        let most = if known { KNOWN_FOR.as_millis() } else { 60_000 };
        assert!(ends > 0 && ends <= most as i64, "{key}: {ends} of {most}");
        assert!(size < 200, "{size}");
    }
}

#[tokio::test]
async fn other_rates_and_a_clock_that_was_set_back_keep_nobody_out_for_longer() {
    let (server, time) = (Server::start(), Time::default());
    let one = replica(&server, &time, &[1]);
    let slow = Count { id: [7; 16], rate: rate(86_400, 1_000_000) };
    for _ in 0..20 {
        assert_eq!(one.take(&[slow]).await, GO);
    }
    let fast = Count { rate: rate(5, 3), ..slow };
    assert_eq!(waits(one.look(&[fast]).await), 5);
    time.advance(-100_000);
    assert_eq!(waits(one.take(&[fast]).await), 5);
    let endless = Count { id: [8; 16], rate: Rate { interval: Duration::MAX, burst: u32::MAX } };
    assert_eq!((one.take(&[endless]).await, one.take(&[endless]).await.is_some()), (GO, true));
}

#[tokio::test]
async fn a_server_that_is_stuck_or_gone_is_waited_for_once_and_found_again() {
    let (mut server, time) = (Server::start(), Time::default());
    let one = patient(&server, &time, &[1], PATIENCE);
    let ana = counts(&one, "ana", "here");
    until_answered(&one, &ana).await;
    server.stall();
    let started = Instant::now();
    assert_eq!(one.take(&ana).await, None);
    assert!(started.elapsed() >= PATIENCE);
    for _ in 0..100 {
        assert_eq!((one.look(&ana).await, one.take(&ana).await), (None, None));
        one.give_back(&ana, true).await;
    }
    assert!(started.elapsed() < PATIENCE * 2, "nobody else has waited");
    server.go_on();
    until_answered(&one, &ana).await;
    server.kill();
    while one.look(&ana).await.is_some() {}
    server.start_again();
    until_answered(&one, &ana).await;
}

async fn until_answered(one: &Counts, counts: &[Count]) {
    for _ in 0..4000 {
        if one.look(counts).await.is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it is not found again");
}

/// What a test does.
#[derive(Debug, Clone)]
enum Does {
    Look(u8, u8),
    Take(u8, u8),
    /// Gives back one of those that are taken, right or not.
    Back(usize, bool),
    Wait(u32),
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        1 => (0..3_u8, 0..2_u8).prop_map(|(name, address)| Does::Look(name, address)),
        4 => (0..3_u8, 0..2_u8).prop_map(|(name, address)| Does::Take(name, address)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, right)| Does::Back(which, right)),
        2 => prop_oneof![0..4_u32, 0..100_u32, Just(31 * 24 * 3600_u32)].prop_map(Does::Wait),
    ]
}

/// The same by the limiters that a replica has for itself.
struct Alone {
    start: Instant,
    limiters: [Limiter; 3],
    /// Until when.
    known: HashMap<[u8; 16], u64>,
}

impl Alone {
    fn key(count: &Count) -> Key {
        Key::digest(u128::from_be_bytes(count.id))
    }

    fn attempt(&self, counts: &[Count], now: u64, take: bool) -> (Answer, usize) {
        let at = self.start + Duration::from_secs(now);
        let known = self.known.get(&counts[0].id).is_some_and(|until| *until > now);
        let asked = if known { 1 } else { counts.len() };
        for (place, count) in counts[..asked].iter().enumerate() {
            let limiter = &self.limiters[place];
            let said = if take { limiter.check(Self::key(count), at) } else { limiter.look(Self::key(count), at) };
            if let Err(wait) = said {
                if take {
                    self.back(&counts[..place]);
                }
                return (Answer { known, verdict: Err(wait) }, 0);
            }
        }
        (Answer { known, verdict: Ok(()) }, asked)
    }

    fn back(&self, counts: &[Count]) {
        counts.iter().zip(&self.limiters).for_each(|(count, limiter)| limiter.give_back(Self::key(count)));
    }
}

/// Its time is what the test moved it by, and keys stay until a script removes them: nothing depends on how long this takes.
const MOVED_TIME: &str = "local server = redis
local redis = { call = function(command, ...)
    if command ~= 'PEXPIRE' then return server.call(command, ...) end
end }
local function now() return 1700000000000000 + ARGV[1] * 1000000 end
";

async fn compare(rates: [(u64, u32); 3], steps: Vec<Does>) -> Result<(), TestCaseError> {
    let (server, time) = (Server::start(), Time::default());
    let together = Counts { script: Script::new(&[MOVED_TIME, COUNT]), ..replica(&server, &time, &[1]) };
    let rates = rates.map(|(micros, burst)| Rate { interval: Duration::from_micros(micros), burst });
    let start = Instant::now();
    let mut alone = Alone { start, limiters: rates.map(|rate| Limiter::new(rate, start)), known: HashMap::new() };
    let of = |name: u8, address: u8| {
        [[1, name, address], [2, 0, address], [3, name, 0]].map(|parts| together.digest(&[&parts]))
    };
    let counts = |name, address| {
        let ids = of(name, address);
        [0, 1, 2].map(|place| Count { id: ids[place], rate: rates[place] })
    };
    let mut taken: Vec<([Count; 3], usize)> = Vec::new();
    for does in steps {
        let now = time.moved().unsigned_abs();
        match does {
            Does::Look(name, address) => {
                let counts = counts(name, address);
                prop_assert_eq!(together.look(&counts).await, Some(alone.attempt(&counts, now, false).0));
            }
            Does::Take(name, address) => {
                let counts = counts(name, address);
                let (answer, standing) = alone.attempt(&counts, now, true);
                prop_assert_eq!(together.take(&counts).await, Some(answer));
                if standing > 0 {
                    taken.push((counts, standing));
                }
            }
            Does::Back(which, right) if !taken.is_empty() => {
                let (counts, standing) = taken.swap_remove(which % taken.len());
                together.give_back(&counts[..standing], right).await;
                alone.back(&counts[..standing]);
                if right {
                    alone.known.insert(counts[0].id, now + KNOWN_FOR.as_secs());
                }
            }
            Does::Back(..) => {}
            Does::Wait(seconds) => time.advance(seconds.into()),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn replicas_count_together_as_one_counts_alone(
        rates in prop::array::uniform3((1..90_000_000_u64, 1..6_u32)),
        steps in prop::collection::vec(does(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(rates, steps))?;
    }
}
