//! The authority has done what it was asked, and its answer does not arrive.

use serde_json::json;

use super::house::House;
use crate::{
    oauth::{audited::events, house::text},
    support::{issuer::scratch, log::written},
};

fn series(reason: &str, result: &str) -> String {
    format!("sidegate_renewals_total{{kind=\"authority\",reason=\"{reason}\",result=\"{result}\"}}")
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_once_more_at_once_and_nobody_notices() {
    for store in ["memory: {}", "redb: { path: FOLDER/sessions.redb }"] {
        let folder = scratch("lost");
        let store = store.replace("FOLDER", &folder.display().to_string());
        let keys = if store.contains("redb") {
            format!("keys: {{ master_file: {}/master, generate: true }}\n", folder.display())
        } else {
            String::new()
        };
        let house = House::with("", &format!("{keys}store: {{ {store} }}\n")).await;
        let token = house.access().await;
        house.outside.forgive();
        house.outside.lose(1);
        house.sidegate.time.advance(300);
        assert_eq!(house.get(&token).await.status, 200);
        assert_eq!((house.outside.refreshes(), house.shown().as_str()), (2, "Bearer canary-at-3"));
        assert_eq!(house.sidegate.series(&series("recovered", "renewed")).await, 1.0);
        house.sidegate.time.advance(300);
        assert_eq!(house.get(&token).await.status, 200);
        assert_eq!(house.outside.refreshes(), 3);
        assert_eq!(house.sidegate.series(&series("refreshed", "renewed")).await, 1.0, "the doubt is over");
    }
}

#[tokio::test]
async fn an_answer_lost_by_an_authority_that_forgives_nothing_is_the_one_loss_and_is_counted() {
    written();
    let house = House::new().await;
    let token = house.access().await;
    house.outside.lose(1);
    house.sidegate.time.advance(300);
    let refused = house.get(&token).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").unwrap().contains("invalid_token"));
    assert_eq!(house.outside.refreshes(), 2);
    assert_eq!(house.sidegate.series(&series("answer_lost", "ended")).await, 1.0);
    assert_eq!(house.sidegate.series(&series("invalid_grant", "ended")).await, 0.0);
    let told = events("app").iter().any(|line| {
        (line["event"].clone(), line["reason"].clone()) == (json!("authority_ended"), json!("answer_lost"))
    });
    assert!(told);
}

#[tokio::test]
async fn an_authority_that_goes_on_losing_its_answers_is_asked_twice_and_the_session_waits_for_better_times() {
    let house = House::new().await;
    let refresh = text(&house.signed_in().await, "refresh_token");
    let token = house.access().await;
    house.outside.broken(500, None, json!({"error": "server_error"}));
    house.sidegate.time.advance(300);
    assert_eq!(house.get(&token).await.status, 503);
    assert_eq!(house.outside.refreshes(), 2, "the second time for the answer that may be lost");
    assert_eq!(house.refreshed(&refresh).await.status, 503);
    house.outside.mended();
    house.sidegate.time.advance(60);
    assert_eq!(house.get(&token).await.status, 200);
    assert_eq!(house.refreshed(&refresh).await.status, 200);
}
