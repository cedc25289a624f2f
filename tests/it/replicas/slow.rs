//! A Redis that is slow. Nothing here is timed: what goes on while a step waits did not wait for it.

use std::time::Duration;

use futures_util::{future::join_all, poll};
use sidegate::model::Time;

use super::house::{Plan, REPLICAS, Replicas};
use crate::{
    oauth::house::{refresh, text},
    support::{Redis, Relay, Upstream, get, must},
};

#[tokio::test]
async fn a_thousand_requests_with_cached_tokens_are_done_while_one_step_waits_for_redis() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address).await;
    let plan = Plan { last: Some(relay.address), store: ", timeout: 10s", ..Plan::default() };
    let replicas = Replicas::before(Upstream::start().await, redis, Time::default(), plan).await;
    let slow = replicas.at(REPLICAS - 1);
    let (known, unknown) = (replicas.sign_in(0, "app").await, replicas.sign_in(1, "app").await);
    let cached = text(&known, "access_token");
    replicas.assert_served(&cached).await;
    for delay in [Duration::from_millis(200), Duration::ZERO] {
        relay.delays(delay);
        relay.hold();
        let token = text(&unknown, "refresh_token");
        let mut step = Box::pin(refresh(slow, &token));
        must(async {
            tokio::select! {
                _ = &mut step => panic!("it was answered without Redis"),
                () = relay.holds_something() => {}
            }
        })
        .await;
        for _ in 0..20 {
            let replies = join_all((0..50).map(|_| get(slow.public, "/", &cached))).await;
            assert!(replies.iter().all(|reply| reply.status == 200));
        }
        assert!(poll!(&mut step).is_pending(), "the step still waits");
        relay.delays(delay);
        assert_eq!(must(step).await.status, 200);
    }
}
