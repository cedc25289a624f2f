//! What `explain` says of when something is renewed, and by whom.

use super::house::House;
use crate::{
    oauth::house::{sessions, text},
    support::{issuer::scratch, request, send},
};

#[tokio::test]
async fn each_token_is_told_with_its_word_its_seconds_and_who_renews_it() {
    let house = House::new().await;
    let token = house.access().await;
    let told = async |path: &str| house.sidegate.explained_at(path, &token).await.0;
    let fresh = told("/").await;
    assert!(
        fresh.contains("fresh: the token expires in 59m") || fresh.contains("fresh: the token expires in 1h"),
        "{fresh}"
    );
    assert!(fresh.contains("only its client renews it"), "{fresh}");
    assert!(fresh.contains("fresh: the authority's token ends in "), "{fresh}");
    assert!(fresh.contains("sidegate renews it with the authority's refresh token, beside a request in 4m"), "{fresh}");
    assert!(fresh.contains("waits for it, 5s at most, then 503 with Retry-After"), "{fresh}");
    let minted = told("/jwt").await;
    assert!(minted.contains("fresh: the internal JWT is made for this request and ends in 2m"), "{minted}");
    assert!(minted.contains("makes the next one once 1m 36s are over"), "{minted}");
    assert!(told("/original").await.contains("the upstream is shown nothing that is renewed"));
    house.sidegate.time.advance(280);
    let soon = told("/").await;
    assert!(soon.contains("soon: the authority's token ends in "), "{soon}");
    assert!(soon.contains("this request goes with it"), "{soon}");
    house.until(async || house.outside.refreshes() == 1).await;
    house.sidegate.time.advance(360);
    let due = told("/").await;
    assert!(due.contains("due: the authority's token ended "), "{due}");
    assert!(due.contains("this request waits until sidegate has renewed it"), "{due}");
    assert!(due.contains("Forwarded"), "{due}");
    house.sidegate.time.advance(3600);
    let dead = told("/").await;
    assert!(dead.contains("dead: the token expired "), "{dead}");
}

#[tokio::test]
async fn a_token_that_nobody_can_renew_is_fresh_and_then_dead() {
    let house = House::new().await;
    house.outside.bare();
    let token = house.access().await;
    let told = house.sidegate.explained(&token).await.0;
    assert!(told.contains("fresh: the authority's token ends in "), "{told}");
    assert!(told.contains("so the user signs in again"), "{told}");
    house.sidegate.time.advance(300);
    let told = house.sidegate.explained(&token).await.0;
    assert!(told.contains("dead: session "), "{told}");
}

#[tokio::test]
async fn a_session_is_shown_with_the_end_of_the_authority_s_token_and_without_the_token() {
    let file = scratch("admin").join("token");
    std::fs::write(&file, "token-of-the-operators").unwrap();
    let admin =
        format!("store: {{ memory: {{}} }}\nadmin: {{ address: 127.0.0.1:0, token_file: {} }}\n", file.display());
    let house = House::with("", &admin).await;
    let given = house.signed_in().await;
    let listed = sessions(&house.sidegate).list(sidegate::session::Filter::default(), None, 10).await.unwrap();
    let show = async || {
        let mut asked = request("GET", &format!("/sessions/{}", listed[0].id), "token-of-the-operators");
        asked.headers_mut().insert("host", "localhost".parse().unwrap());
        let shown = send(house.sidegate.admin, asked).await;
        assert!(!shown.text().contains("canary"), "{}", shown.text());
        shown.json()["authority"].clone()
    };
    let first = show().await;
    assert_eq!(
        (&first["renewals"], &first["under_way"], &first["doubtful"]),
        (&0.into(), &false.into(), &false.into())
    );
    house.refreshed(&text(&given, "refresh_token")).await;
    house.sidegate.time.advance(300);
    house.get(&text(&given, "access_token")).await;
    let later = show().await;
    assert_eq!(later["renewals"], 2);
    assert!(later["expires"].as_str().unwrap() > first["expires"].as_str().unwrap(), "{first} {later}");
}
