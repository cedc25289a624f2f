//! What began at one replica goes on at another as if it were the same.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::StatusCode;

use super::house::{REPLICAS, Replicas, session, soon, told};
use crate::{
    oauth::house::{assert_refused, code, is_active, redeem, refresh, text, token},
    own_tokens::successor::house::successor,
    support::{get, look::assert_invalid_token},
};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

#[tokio::test]
async fn a_token_of_any_kind_is_good_at_each_replica_and_each_can_say_whose_it_is() {
    let replicas = Replicas::start().await;
    for (number, id) in ["app", "jwt", "slides", "next"].into_iter().enumerate() {
        let granted = replicas.sign_in(number, id).await;
        let access = text(&granted, "access_token");
        replicas.assert_served(&access).await;
        for sidegate in replicas.all() {
            let told = told(sidegate, id, &access).await;
            assert_eq!((&told["active"], &told["sub"]), (&true.into(), &"sub-ana".into()), "{id}: {told}");
        }
        // One that slides is told of elsewhere.
        if id == "slides" {
            continue;
        }
        replicas.time.advance(HOUR - 5);
        replicas.assert_served(&access).await;
        replicas.time.advance(HOUR);
        for sidegate in replicas.all() {
            assert_invalid_token(&get(sidegate.public, "/", &access).await);
        }
    }
}

#[tokio::test]
async fn refreshes_go_round_the_replicas_for_as_long_as_the_session_lives() {
    let replicas = Replicas::start().await;
    let mut granted = replicas.sign_in(0, "app").await;
    for number in 0..30 {
        replicas.time.advance(DAY);
        granted = refresh(replicas.at(number), &text(&granted, "refresh_token")).await;
        assert_eq!(granted.status, 200, "day {number}: {}", granted.text());
        replicas.assert_served(&text(&granted, "access_token")).await;
    }
    assert_eq!(replicas.metric("sidegate_token_refreshes_total{result=\"rotated\"}").await, 30);
}

#[tokio::test]
async fn a_token_that_slides_slides_whichever_replica_sees_it() {
    let replicas = Replicas::start().await;
    let token = text(&replicas.sign_in(0, "slides").await, "access_token");
    replicas.assert_served(&token).await;
    for step in 0..60 {
        replicas.time.advance(25 * MINUTE);
        let (sidegate, other) = (replicas.at(step), replicas.at(step + 1));
        // An answer that was on its way while time was moved tells a wrong one; the next sets it right.
        for sidegate in replicas.all() {
            told(sidegate, "slides", &token).await;
        }
        // In the second half of its life it slides: that is beside the request.
        soon(async || {
            let status = get(sidegate.public, "/", &token).await.status;
            assert_eq!(status, StatusCode::OK, "request {step}");
            let until = told(other, "slides", &token).await["exp"].as_u64().unwrap();
            until - replicas.time.now().0 > 30 * 60
        })
        .await;
    }
    replicas.time.advance(HOUR + 10);
    for sidegate in replicas.all() {
        assert_invalid_token(&get(sidegate.public, "/", &token).await);
    }
}

#[tokio::test]
async fn each_replica_gives_one_successor_and_knows_those_of_the_others() {
    let replicas = Replicas::start().await;
    let mut token = text(&replicas.sign_in(0, "next").await, "access_token");
    for round in 1..=5 {
        replicas.assert_served(&token).await;
        replicas.time.advance(40 * MINUTE);
        let replies = join_all((0..24).map(|number| get(replicas.at(number).public, "/", &token))).await;
        let successors: BTreeSet<_> = replies
            .iter()
            .map(|reply| {
                assert_eq!(reply.status, 200, "{}", reply.text());
                successor(reply).unwrap_or_else(|| panic!("round {round}: no successor"))
            })
            .collect();
        assert_eq!(successors.len(), REPLICAS, "round {round}");
        for successor in &successors {
            replicas.assert_served(successor).await;
        }
        token = successors.into_iter().next_back().unwrap();
    }
    let made = "sidegate_renewals_total{kind=\"access_token\",reason=\"succeeded\",result=\"renewed\"}";
    assert_eq!(replicas.metric(made).await, 5 * REPLICAS as u64);
}

#[tokio::test]
async fn a_code_flow_begins_at_one_replica_and_ends_at_another() {
    let replicas = Replicas::start().await;
    let code = code(replicas.at(0), |_| {}).await;
    let granted = token(replicas.at(1), &redeem(&code)).await;
    assert_eq!(granted.status, 200, "{}", granted.text());
    replicas.assert_served(&text(&granted, "access_token")).await;
    assert_eq!(refresh(replicas.at(2), &text(&granted, "refresh_token")).await.status, 200);
}

/// S13, with two pairs of hands.
#[tokio::test]
async fn of_many_redemptions_of_a_code_at_all_replicas_at_once_one_succeeds_and_the_others_end_it() {
    let replicas = Replicas::start().await;
    for _ in 0..10 {
        let body = redeem(&code(replicas.at(0), |_| {}).await);
        let replies = join_all((0..2 * REPLICAS).map(|number| token(replicas.at(number), &body))).await;
        let (given, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
        assert_eq!(given.len(), 1);
        for reply in refused {
            assert_refused(reply, 400, "invalid_grant");
        }
        // A second use is somebody else's: nobody can say who came first.
        let access = text(given[0], "access_token");
        for sidegate in replicas.all() {
            soon(async || !is_active(sidegate, &access).await).await;
        }
    }
}

#[tokio::test]
async fn each_replica_lists_the_sessions_of_all() {
    let replicas = Replicas::start().await;
    let mut begun = BTreeSet::new();
    for number in 0..7 {
        begun.insert(session(&replicas.sign_in(number, "app").await).to_string());
    }
    for number in 0..REPLICAS {
        for path in ["/sessions", "/sessions?user=ana", "/sessions?client=app&user=sub-ana"] {
            let listed = replicas.operator(number, "GET", path).await;
            let listed: BTreeSet<_> = listed["sessions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["id"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(listed, begun, "{path} at {number}");
        }
        assert_eq!(replicas.operator(number, "GET", "/sessions?client=jwt").await["sessions"], serde_json::json!([]));
    }
}
