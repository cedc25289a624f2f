//! What one replica does and the others have in their caches: they hear of it within a second.

use serde_json::json;

use super::house::{Plan, Replicas, session};
use crate::{
    oauth::house::{PASSWORD, as_app, assert_refused, code, form, is_active, password, redeem, refresh, text, token},
    support::{Redis, Relay, Reply, Sidegate, Upstream, get, send},
};

async fn revoke(sidegate: &Sidegate, token: &str) {
    let reply = send(sidegate.public, form("/oauth20/revoke", &as_app(&format!("token={token}")), &[])).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn whoever_signs_out_at_one_replica_is_signed_out_at_all() {
    let replicas = Replicas::start().await;
    for (number, what) in ["refresh_token", "access_token"].into_iter().enumerate() {
        let granted = replicas.sign_in(number, "app").await;
        let access = text(&granted, "access_token");
        replicas.assert_served(&access).await;
        revoke(replicas.at(number + 1), &text(&granted, what)).await;
        replicas.assert_refused_soon(&access).await;
        for sidegate in replicas.all() {
            assert!(!is_active(sidegate, &access).await);
        }
    }
}

#[tokio::test]
async fn an_operator_ends_sessions_of_all_replicas_at_any_of_them() {
    let replicas = Replicas::start().await;
    let (first, second, third) =
        (replicas.sign_in(0, "app").await, replicas.sign_in(1, "jwt").await, replicas.sign_in(2, "slides").await);
    let tokens = [&first, &second, &third].map(|reply| text(reply, "access_token"));
    for token in &tokens {
        replicas.assert_served(token).await;
    }
    let one = replicas.operator(1, "DELETE", &format!("/sessions/{}", session(&first))).await;
    assert_eq!(one, json!({"revoked": 1}));
    replicas.assert_refused_soon(&tokens[0]).await;
    replicas.assert_served(&tokens[1]).await;
    let others = replicas.operator(0, "DELETE", "/sessions?user=ana").await;
    assert_eq!(others, json!({"revoked": 2}));
    for token in &tokens[1..] {
        replicas.assert_refused_soon(token).await;
    }
}

#[tokio::test]
async fn a_code_that_is_used_again_at_another_replica_ends_what_it_gave_at_all() {
    let replicas = Replicas::start().await;
    let body = redeem(&code(replicas.at(0), |_| {}).await);
    let granted = token(replicas.at(1), &body).await;
    let access = text(&granted, "access_token");
    replicas.assert_served(&access).await;
    assert_refused(&token(replicas.at(2), &body).await, 400, "invalid_grant");
    replicas.assert_refused_soon(&access).await;
    assert_refused(&refresh(replicas.at(0), &text(&granted, "refresh_token")).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_session_too_many_supersedes_the_oldest_wherever_they_began() {
    let replicas = Replicas::with(Plan { authority: "  sessions_per_user: 3\n", ..Plan::default() }).await;
    let mut tokens = Vec::new();
    for number in 0..4 {
        // They are told apart by when they began.
        replicas.time.advance(1);
        tokens.push(text(&password(replicas.at(number)).await, "access_token"));
        replicas.assert_served(&tokens[number]).await;
    }
    replicas.assert_refused_soon(&tokens[0]).await;
    for token in &tokens[1..] {
        replicas.assert_served(token).await;
    }
}

/// Its way to Redis is lost, while somebody else ends a session that it has in its cache.
#[tokio::test]
async fn what_a_replica_could_not_hear_it_asks_for_when_it_can() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address).await;
    let plan = Plan { last: Some(relay.address), store: ", timeout: 500ms", ..Plan::default() };
    let replicas = Replicas::before(Upstream::start().await, redis, Default::default(), plan).await;
    let (ended, other) = (replicas.sign_in(0, "app").await, replicas.sign_in(2, "app").await);
    let [ended_token, other_token] = [&ended, &other].map(|reply: &Reply| text(reply, "access_token"));
    for token in [&ended_token, &other_token] {
        replicas.assert_served(token).await;
    }
    relay.cut();
    revoke(replicas.at(0), &text(&ended, "refresh_token")).await;
    assert_eq!(get(replicas.at(2).public, "/", &other_token).await.status, 200, "it goes on without Redis");
    relay.open();
    crate::support::must(async {
        while get(replicas.at(2).public, "/", &ended_token).await.status != 401 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    replicas.assert_served(&other_token).await;
    let body = as_app(&format!("grant_type=password&username=ana&password={PASSWORD}"));
    assert_eq!(token(replicas.at(2), &body).await.status, 200);
}
