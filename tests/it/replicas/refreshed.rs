//! Refresh tokens that come to several replicas.

use std::collections::HashSet;

use futures_util::future::join_all;

use super::house::{Replicas, soon};
use crate::oauth::house::{assert_refused, is_active, refresh, text};

const PARALLEL: usize = 64;

#[tokio::test]
async fn of_64_refreshes_of_one_token_at_once_over_three_replicas_all_get_the_one_successor() {
    let replicas = Replicas::start().await;
    let first = replicas.sign_in(0, "app").await;
    let presented = text(&first, "refresh_token");
    let replies = join_all((0..PARALLEL).map(|number| refresh(replicas.at(number), &presented))).await;
    for reply in &replies {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let of = |name: &str| replies.iter().map(|reply| text(reply, name)).collect::<HashSet<_>>();
    let (successors, tokens) = (of("refresh_token"), of("access_token"));
    assert_eq!((successors.len(), tokens.len()), (1, PARALLEL));
    let result = |result: &str| format!("sidegate_token_refreshes_total{{result=\"{result}\"}}");
    let (rotated, retried) = (replicas.metric(&result("rotated")).await, replicas.metric(&result("retried")).await);
    assert_eq!((rotated, retried), (1, PARALLEL as u64 - 1));
    for token in tokens.iter().chain([&text(&first, "access_token")]) {
        replicas.assert_served(token).await;
    }
    for (number, successor) in successors.iter().enumerate() {
        let next = refresh(replicas.at(number + 1), successor).await;
        assert_eq!(next.status, 200, "the session lives: {}", next.text());
        replicas.assert_served(&text(&next, "access_token")).await;
    }
}

#[tokio::test]
async fn a_replay_at_one_replica_is_the_end_at_all_of_them_within_a_second() {
    let replicas = Replicas::start().await;
    let first = replicas.sign_in(0, "app").await;
    let second = refresh(replicas.at(1), &text(&first, "refresh_token")).await;
    let third = refresh(replicas.at(2), &text(&second, "refresh_token")).await;
    let tokens = [&first, &second, &third].map(|reply| text(reply, "access_token"));
    for token in &tokens {
        replicas.assert_served(token).await;
    }
    assert_refused(&refresh(replicas.at(0), &text(&first, "refresh_token")).await, 400, "invalid_grant");
    for token in &tokens {
        replicas.assert_refused_soon(token).await;
    }
    for sidegate in replicas.all() {
        assert_refused(&refresh(sidegate, &text(&third, "refresh_token")).await, 400, "invalid_grant");
        assert!(!is_active(sidegate, &tokens[2]).await);
    }
}

/// The windows are those of the store: a retry at another replica is one.
#[tokio::test]
async fn a_client_whose_answer_was_lost_gets_the_same_successor_at_another_replica() {
    let replicas = Replicas::start().await;
    let first = text(&replicas.sign_in(0, "app").await, "refresh_token");
    let lost = refresh(replicas.at(0), &first).await;
    replicas.time.advance(50);
    let again = refresh(replicas.at(1), &first).await;
    assert_eq!(text(&again, "refresh_token"), text(&lost, "refresh_token"));
    // Seen by one replica, it is acknowledged at all of them: the window is over.
    replicas.assert_served(&text(&again, "access_token")).await;
    soon(async || refresh(replicas.at(2), &first).await.status == 400).await;
    assert_refused(&refresh(replicas.at(0), &text(&lost, "refresh_token")).await, 400, "invalid_grant");
}
