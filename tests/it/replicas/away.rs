//! Redis goes away and comes back.

use futures_util::future::join_all;
use http::StatusCode;

use super::{
    crossing::House,
    house::{Plan, REPLICAS, Replicas, session},
};
use crate::{
    oauth::house::{assert_refused, introspect, password, refresh, text},
    storm::house::LIFETIME,
    support::{Reply, authority::Mood, get, look::assert_problem, must, send},
};

/// Short, so that nobody waits for long; and still long for a machine that is busy.
const PLAN: Plan<'_> = Plan { authority: "", credential: "none: {}", store: ", timeout: 500ms", more: "", last: None };

/// What was used before is good; everything else is a 503 that says when to come back, and nothing is refused for good.
async fn assert_goes_on_without(replicas: &Replicas, cached: &str, unseen: &str, refresh_token: &str) {
    replicas.assert_served(cached).await;
    for sidegate in replicas.all() {
        assert_problem(&get(sidegate.public, "/", unseen).await, 503, "temporarily_unavailable", None);
        for reply in
            [refresh(sidegate, refresh_token).await, password(sidegate).await, introspect(sidegate, cached).await]
        {
            assert_refused(&reply, 503, "temporarily_unavailable");
            assert!(reply.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().unwrap() > 0));
        }
    }
    replicas.assert_served(cached).await;
}

async fn until_it_is_back(replicas: &Replicas) {
    for sidegate in replicas.all() {
        must(async { while password(sidegate).await.status != StatusCode::OK {} }).await;
    }
}

/// Each of them goes on with the tokens that its client had last.
async fn assert_nothing_was_lost(replicas: &Replicas, granted: &[Reply]) {
    for (number, granted) in granted.iter().enumerate() {
        replicas.assert_served(&text(granted, "access_token")).await;
        let reply = refresh(replicas.at(number), &text(granted, "refresh_token")).await;
        assert_eq!(reply.status, 200, "session {number}: {}", reply.text());
    }
    // A generation that the store had forgotten would be healed, and counted.
    for result in ["healed", "reused"] {
        let series = format!("sidegate_token_refreshes_total{{result=\"{result}\"}}");
        assert_eq!(replicas.metric(&series).await, 0, "{result}");
    }
}

#[tokio::test]
async fn while_redis_hangs_cached_tokens_go_on_and_what_was_refused_is_good_afterwards() {
    let replicas = Replicas::with(PLAN).await;
    let (first, second) = (replicas.sign_in(0, "app").await, replicas.sign_in(1, "app").await);
    let [cached, unseen] = [&first, &second].map(|granted| text(granted, "access_token"));
    replicas.assert_served(&cached).await;
    replicas.redis.freeze();
    assert_goes_on_without(&replicas, &cached, &unseen, &text(&second, "refresh_token")).await;
    replicas.redis.thaw();
    until_it_is_back(&replicas).await;
    // What it was asked before it hung it may have done since: then this is the same step once more.
    assert_nothing_was_lost(&replicas, &[first, second]).await;
}

#[tokio::test]
async fn while_redis_is_gone_cached_tokens_go_on_and_its_return_finds_all_that_was_acknowledged() {
    let replicas = Replicas::with(PLAN).await;
    let mut granted = Vec::new();
    for number in 0..20 {
        granted.push(replicas.sign_in(number, "app").await);
    }
    let cached = text(&granted[0], "access_token");
    replicas.assert_served(&cached).await;
    let unseen = text(&granted[19], "access_token");
    for round in 0..3 {
        let tokens: Vec<_> = granted.iter().map(|granted| text(granted, "refresh_token")).collect();
        let asked = tokens.iter().enumerate().map(|(number, token)| refresh(replicas.at(number + round), token));
        let refreshed = join_all(asked).await;
        assert!(refreshed.iter().all(|reply| reply.status == 200));
        let newest = text(&refreshed[7], "refresh_token");
        granted = refreshed;
        replicas.redis.kill();
        assert_goes_on_without(&replicas, &cached, &unseen, &newest).await;
        replicas.redis.restart().await;
        until_it_is_back(&replicas).await;
    }
    assert_nothing_was_lost(&replicas, &granted).await;
    for (number, granted) in granted.iter().enumerate() {
        let path = format!("/sessions/{}", session(granted));
        assert_eq!(replicas.operator(number, "GET", &path).await["alive"], true);
    }
}

/// Its lease has lapsed by then, and the authority's token is spent: who asked in its place would end the session.
#[tokio::test]
async fn an_answer_that_came_while_redis_was_away_is_kept_before_another_replica_asks() {
    let house = House::new(", timeout: 500ms").await;
    let (replicas, client) = (&house.replicas, &house.sign_in(0).await);
    replicas.time.advance(LIFETIME as i64);
    house.authority.is(Mood::Held);
    let first = async { send(replicas.at(0).public, client.request()).await };
    let meanwhile = async {
        must(async {
            while house.authority.presented() == 0 {
                tokio::task::yield_now().await
            }
        })
        .await;
        replicas.redis.kill();
        house.authority.is(Mood::Good);
        // The others find out that it is away.
        for number in 1..REPLICAS {
            assert_eq!(send(replicas.at(number).public, client.request()).await.status, 503);
        }
        // Longer than the lease.
        replicas.time.advance(20);
        replicas.redis.restart().await;
        // Until they have found their way back, they say so.
        let asked = (1..REPLICAS).map(|number| async move {
            must(async { while send(replicas.at(number).public, client.request()).await.status != 200 {} }).await;
        });
        join_all(asked).await;
    };
    let (first, _) = tokio::join!(first, meanwhile);
    assert!(first.status == 200 || first.status == 503, "{}", first.text());
    assert_eq!(send(replicas.at(0).public, client.request()).await.status, 200);
    assert_eq!((house.authority.presented(), house.authority.redeemed()), (1, 1));
    house.assert_nothing_wrong_was_shown();
}
