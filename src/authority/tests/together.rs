//! Two processes that count together, by a keeper of counts in memory.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::*;
use crate::rate::{
    Key, Limiter,
    shared::{Answer, Count},
};

/// Its clock stands still.
struct Club {
    start: Instant,
    limiters: Mutex<Vec<(config::Rate, Arc<Limiter>)>>,
    known: Mutex<HashSet<[u8; 16]>>,
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Club {
    fn new() -> Arc<Club> {
        Arc::new(Club {
            start: Instant::now(),
            limiters: Mutex::default(),
            known: Mutex::default(),
            away: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        })
    }

    fn limiter(&self, rate: config::Rate) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap();
        if let Some((_, limiter)) = limiters.iter().find(|(other, _)| *other == rate) {
            return limiter.clone();
        }
        limiters.push((rate, Arc::new(Limiter::new(rate, self.start))));
        limiters[limiters.len() - 1].1.clone()
    }

    fn answer(&self, counts: &[Count], take: bool) -> Option<Answer> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return None;
        }
        let known = self.known.lock().unwrap().contains(&counts[0].id);
        let counts = if known { &counts[..1] } else { counts };
        let mut verdict = Ok(());
        for (place, count) in counts.iter().enumerate() {
            let (limiter, key) = (self.limiter(count.rate), Key::digest(u128::from_be_bytes(count.id)));
            verdict = if take { limiter.check(key, self.start) } else { limiter.look(key, self.start) };
            if verdict.is_err() {
                if take {
                    self.back(&counts[..place]);
                }
                break;
            }
        }
        Some(Answer { known, verdict })
    }

    fn back(&self, counts: &[Count]) {
        for count in counts {
            self.limiter(count.rate).give_back(Key::digest(u128::from_be_bytes(count.id)));
        }
    }
}

impl Shared for Club {
    fn digest(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut content = Vec::new();
        for part in parts {
            content.push(u8::try_from(part.len()).unwrap());
            content.extend_from_slice(part);
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
        *digest.as_ref().first_chunk().unwrap()
    }

    fn look<'a>(&'a self, counts: &'a [Count]) -> BoxFuture<'a, Option<Answer>> {
        ready(self.answer(counts, false)).boxed()
    }

    fn take<'a>(&'a self, counts: &'a [Count]) -> BoxFuture<'a, Option<Answer>> {
        ready(self.answer(counts, true)).boxed()
    }

    fn give_back<'a>(&'a self, counts: &'a [Count], right: bool) -> BoxFuture<'a, ()> {
        self.back(counts);
        if right {
            self.known.lock().unwrap().insert(counts[0].id);
        }
        ready(()).boxed()
    }
}

/// The same configuration twice, and what they count together.
fn two() -> (House, House, Arc<Club>) {
    let (club, hash) = (Club::new(), hashed(CHEAP, "swordfish"));
    let house = || House::of(&hash, STRICT, Some(club.clone()));
    (house(), house(), club)
}

const ELSEWHERE: &str = "192.0.2.9";

#[tokio::test]
async fn guesses_at_one_slow_the_other_down() {
    let (one, other, _) = two();
    assert_eq!(one.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    assert_eq!(other.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    for house in [&one, &other] {
        assert_eq!(house.user("ana", "swordfish", &at(HOME, 0)).await, Err(Denied::Throttled(60)));
        assert_eq!(house.hashes(), 1, "nothing is hashed for a throttled guess");
    }
    assert!(other.client("app", "new secret", &at(HOME, 0)).await.is_ok(), "clients are counted apart");
    assert!(other.user("ana", "swordfish", &at(ELSEWHERE, 0)).await.is_ok(), "and she from elsewhere");
    assert!(matches!(other.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Throttled(_))));
}

#[tokio::test]
async fn whoever_got_in_at_one_is_known_at_the_other() {
    let (one, other, _) = two();
    assert!(one.user("ana", "swordfish", &at(HOME, 0)).await.is_ok());
    for name in ["b", "c", "d", "e"] {
        assert_eq!(other.user(name, "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    }
    for house in [&one, &other] {
        assert_eq!(house.user("f", "wrong", &at(HOME, 0)).await, Err(Denied::Throttled(10)));
    }
    // The other has seen nothing but guesses from there.
    assert!(other.user("ana", "swordfish", &at(HOME, 0)).await.is_ok());
    // Her pair is held to its own pace all the same, wherever it comes.
    assert_eq!(one.user("ana", "wrong", &at(HOME, 61)).await, Err(Denied::Wrong));
    assert_eq!(other.user("ana", "wrong", &at(HOME, 61)).await, Err(Denied::Wrong));
    assert!(matches!(one.user("ana", "swordfish", &at(HOME, 122)).await, Err(Denied::Throttled(_))));
}

#[tokio::test]
async fn right_ones_count_for_nothing_anywhere() {
    let (one, other, _) = two();
    for after in 0..20 {
        let house = if after % 2 == 0 { &one } else { &other };
        assert!(house.user("ana", "swordfish", &at(HOME, after * 100)).await.is_ok());
    }
}

#[tokio::test]
async fn what_was_right_a_moment_ago_is_no_way_around_what_others_counted() {
    let (one, other, _) = two();
    assert!(one.user("ana", "swordfish", &at(HOME, 0)).await.is_ok());
    for _ in 0..2 {
        assert_eq!(other.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    }
    assert!(matches!(one.user("ana", "swordfish", &at(HOME, 1)).await, Err(Denied::Throttled(_))));
}

#[tokio::test]
async fn who_gets_no_answer_goes_by_what_was_counted_here() {
    let (one, other, club) = two();
    assert_eq!(one.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    club.away.store(true, Ordering::SeqCst);
    assert_eq!(one.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    assert_eq!(one.user("ana", "swordfish", &at(HOME, 0)).await, Err(Denied::Throttled(60)));
    assert!(other.user("ana", "swordfish", &at(HOME, 0)).await.is_ok());
    for name in ["b", "c", "d", "e"] {
        assert_eq!(other.user(name, "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    }
    assert_eq!(other.user("f", "wrong", &at(HOME, 0)).await, Err(Denied::Throttled(10)));
    assert!(other.user("ana", "swordfish", &at(HOME, 61)).await.is_ok(), "she is known there");

    // What was counted here while nobody answered is not forgotten when somebody does.
    club.away.store(false, Ordering::SeqCst);
    assert_eq!(one.user("ana", "swordfish", &at(HOME, 0)).await, Err(Denied::Throttled(60)));
}

#[tokio::test]
async fn nobody_is_asked_for_a_generated_secret_or_a_pair_that_is_too_fast_already() {
    let (one, _, club) = two();
    assert!(one.client("shop", "a generated one", &at(HOME, 0)).await.is_ok());
    assert_eq!(club.asked.load(Ordering::SeqCst), 0);
    for _ in 0..2 {
        assert_eq!(one.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    }
    assert_eq!(club.asked.load(Ordering::SeqCst), 2, "once for each guess");
    for _ in 0..10 {
        assert_eq!(one.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Throttled(60)));
    }
    assert_eq!(club.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_reload_goes_on_counting_together() {
    let (one, other, _) = two();
    let changed = STRICT.replace("burst: 6", "burst: 7");
    let one = one.reload(&hashed(CHEAP, "swordfish"), &changed);
    for house in [&one, &other] {
        assert_eq!(house.user("ana", "wrong", &at(HOME, 0)).await, Err(Denied::Wrong));
    }
    assert_eq!(one.user("ana", "swordfish", &at(HOME, 0)).await, Err(Denied::Throttled(60)));
}

/// A rate of more than one in a second is one within the second, too.
#[tokio::test]
async fn who_waits_as_long_as_a_rate_says_is_not_held_to_whole_seconds() {
    let fast =
        STRICT.replace("per_pair: { requests: 1, per: 60s, burst: 2 }", "per_pair: { requests: 4, per: 1s, burst: 1 }");
    let house = House::with(&hashed(CHEAP, "swordfish"), &fast);
    let later = |millis: u64| {
        let cx = at(HOME, 0);
        Context { moment: UnixMillis(cx.moment.0 + millis), ..cx }
    };
    assert_eq!(house.user("ana", "wrong", &later(100)).await, Err(Denied::Wrong));
    assert_eq!(house.user("ana", "wrong", &later(349)).await, Err(Denied::Throttled(1)));
    assert_eq!(house.user("ana", "wrong", &later(350)).await, Err(Denied::Wrong));
}
