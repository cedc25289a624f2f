//! Whose tokens have successors, and whose have none.

use serde_json::json;

use crate::{
    oauth::{
        audited::events,
        house::{SECRET, client, form, introspect, sessions, text, token},
    },
    own_tokens::successor::house::{HOUR, House, MINUTE, Plan, SUCCEEDS, claims, yaml},
    support::{Issuer, log::written, look::assert_invalid_token, send},
};

#[tokio::test]
async fn twenty_at_once_get_one_successor_and_others_pay_nothing() {
    let house = House::new().await;
    let (token, other) = (house.sign_in("next").await, house.sign_in("next").await);
    assert_eq!((house.next(&token).await, house.next(&other).await), (None, None));
    house.sidegate.time.advance(29 * MINUTE);
    let looked = house.finds().await;
    assert_eq!(house.next(&token).await, None);
    assert_eq!(house.finds().await, looked, "it is fresh");
    house.sidegate.time.advance(MINUTE);
    let many = futures_util::future::join_all((0..20).map(|_| house.next(&token))).await;
    assert!(many.iter().all(|next| next.is_some() && *next == many[0]));
    assert_eq!(house.made().await, 1);
    let looked = house.finds().await;
    for _ in 0..10 {
        assert_eq!(house.next(&token).await, many[0]);
    }
    assert_eq!((house.finds().await, house.made().await), (looked, 1));
}

#[tokio::test]
async fn a_successor_is_known_like_any_other_token_and_goes_with_its_session() {
    let app = client("app", &format!("grants: [password, refresh_token], scopes: [orders], {SUCCEEDS}"));
    let house = House::with(Plan { clients: &[app], ..Plan::default() }).await;
    let granted = house.grant("app").await;
    let first = text(&granted, "access_token");
    house.sidegate.time.advance(40 * MINUTE);
    let next = house.next(&first).await.unwrap();
    let told = introspect(&house.sidegate, &next).await.json();
    assert_eq!((&told["active"], &told["exp"]), (&json!(true), &claims(&next)["exp"]));
    assert_eq!((&told["sid"], &told["jti"]), (&claims(&first)["sid"], &claims(&next)["jti"]));
    assert_eq!(house.next(&next).await, None);
    // What it succeeds is good until its own end, and no refresh token was touched by it.
    assert_eq!(house.status(&first).await, 200);
    let refresh = format!("grant_type=refresh_token&client_id=app&client_secret={SECRET}&refresh_token=");
    let refreshed = token(&house.sidegate, &format!("{refresh}{}", text(&granted, "refresh_token"))).await;
    assert_eq!(refreshed.status, 200);
    house.sidegate.time.advance(11);
    let newest = text(&refreshed, "refresh_token");
    assert_eq!(token(&house.sidegate, &format!("{refresh}{newest}")).await.status, 200);
    // The first refresh token comes back: everything ends, the successor as well.
    house.sidegate.time.advance(61);
    let reused = token(&house.sidegate, &format!("{refresh}{}", text(&granted, "refresh_token"))).await;
    assert_eq!(reused.status, 400);
    for token in [&first, &next] {
        assert_invalid_token(&house.get(token).await);
    }
    assert_eq!(introspect(&house.sidegate, &next).await.json()["active"], false);
}

#[tokio::test]
async fn a_successor_belongs_to_the_generation_of_what_it_succeeds() {
    let app = client("app", &format!("grants: [password, refresh_token], scopes: [orders], {SUCCEEDS}"));
    let house = House::with(Plan { clients: &[app], ..Plan::default() }).await;
    let granted = house.grant("app").await;
    let first = text(&granted, "access_token");
    house.sidegate.time.advance(40 * MINUTE);
    let refresh = text(&granted, "refresh_token");
    let body = format!("grant_type=refresh_token&client_id=app&client_secret={SECRET}&refresh_token={refresh}");
    assert_eq!(token(&house.sidegate, &body).await.status, 200);
    // That answer was lost: the client goes on with what it has, and its successor says nothing of the lost one.
    let next = house.next(&first).await.unwrap();
    assert_eq!(house.status(&next).await, 200);
    house.sidegate.time.advance(30);
    assert_eq!(token(&house.sidegate, &body).await.status, 200, "a lost answer is answered again");
    let sessions = sessions(&house.sidegate);
    let state = sessions.find(claims(&first)["sid"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap().state;
    assert_eq!(state.generation, 2);
    let generations: Vec<_> = state.access.iter().map(|access| access.generation).collect();
    assert_eq!(generations, [1, 2, 1, 2]);
}

#[tokio::test]
async fn a_revoked_token_has_no_successor_also_not_when_it_is_over() {
    let house = House::with(Plan { more: "refresh: { accept_expired_for: 8h }", ..Plan::default() }).await;
    for late in [40 * MINUTE, 2 * HOUR] {
        let token = house.sign_in("next").await;
        assert_eq!(house.status(&token).await, 200);
        house.sidegate.time.advance(late);
        let revoke = format!("token={token}&client_id=next&client_secret={SECRET}");
        assert_eq!(send(house.sidegate.public, form("/oauth20/revoke", &revoke, &[])).await.status, 200);
        let reply = house.get(&token).await;
        assert_invalid_token(&reply);
        assert_eq!(reply.header("x-access-token"), None);
    }
    assert_eq!(house.made().await, 0);
}

#[tokio::test]
async fn a_successor_ends_with_a_revocation_and_so_does_what_brought_it() {
    let house = House::with(Plan { more: "refresh: { accept_expired_for: 8h }", ..Plan::default() }).await;
    let token = house.sign_in("next").await;
    house.sidegate.time.advance(40 * MINUTE);
    let next = house.next(&token).await.unwrap();
    let revoke = format!("token={next}&client_id=next&client_secret={SECRET}");
    assert_eq!(send(house.sidegate.public, form("/oauth20/revoke", &revoke, &[])).await.status, 200);
    for late in [0, 30 * MINUTE] {
        house.sidegate.time.advance(late);
        assert_invalid_token(&house.get(&next).await);
        assert_invalid_token(&house.get(&token).await);
    }
}

#[tokio::test]
async fn what_was_taken_from_the_client_or_the_user_is_not_succeeded() {
    let house = House::new().await;
    let other = |more: &str| client("other", &format!("grants: [password], {more}, {SUCCEEDS}"));
    let whole = [other("scopes: [orders]")];
    let before = yaml(&house.upstream, &Plan { clients: &whole, ..Plan::default() });
    for (narrower, at_once) in [("scopes: [orders], enabled: false", true), ("scopes: []", false)] {
        house.sidegate.reload(&before).await;
        let token = house.sign_in("other").await;
        assert_eq!(house.status(&token).await, 200);
        let clients = [other(narrower)];
        house.sidegate.reload(&yaml(&house.upstream, &Plan { clients: &clients, ..Plan::default() })).await;
        house.sidegate.time.advance(40 * MINUTE);
        let reply = house.get(&token).await;
        assert_eq!((reply.status == 401, reply.header("x-access-token")), (at_once, None));
        house.sidegate.time.advance(20 * MINUTE);
        assert_invalid_token(&house.get(&token).await);
    }
    assert_eq!(house.made().await, 0);
}

#[tokio::test]
async fn tokens_on_a_client_s_own_behalf_and_those_of_others_have_none() {
    let issuer = Issuer::new();
    let more = format!("{}refresh: {{ accept_expired_for: 8h }}", issuer.yaml());
    let house = House::with(Plan { more: &more, ..Plan::default() }).await;
    let own = format!("grant_type=client_credentials&client_id=next&client_secret={SECRET}");
    let own = text(&token(&house.sidegate, &own).await, "access_token");
    let foreign = issuer.token();
    assert_eq!(house.status(&foreign).await, 200);
    for _ in 0..8 {
        for token in [&own, &foreign] {
            assert_eq!(house.get(token).await.header("x-access-token"), None);
        }
        house.sidegate.time.advance(10 * MINUTE);
    }
    for token in [&own, &foreign] {
        assert_invalid_token(&house.get(token).await);
    }
    assert_eq!(house.made().await, 0);
}

#[tokio::test]
async fn a_token_that_nobody_signed_so_is_not_late_but_wrong() {
    let house = House::with(Plan { more: "refresh: { accept_expired_for: 8h }", ..Plan::default() }).await;
    let token = house.sign_in("next").await;
    house.sidegate.time.advance(2 * HOUR);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if &signature[9..10] == "A" { "B" } else { "A" };
    let forged = format!("{signed}.{}{other}{}", &signature[..9], &signature[10..]);
    assert_invalid_token(&house.get(&forged).await);
    assert_eq!(house.made().await, 0);
    assert!(house.next(&token).await.is_some());
}

#[tokio::test]
async fn each_successor_is_one_line_of_the_audit_stream_and_no_line_has_a_token() {
    written();
    const ID: &str = "succeeds-audited";
    let audited = client(ID, &format!("grants: [password], scopes: [orders], {SUCCEEDS}"));
    let house = House::with(Plan { clients: &[audited], ..Plan::default() }).await;
    let token = house.sign_in(ID).await;
    house.sidegate.time.advance(40 * MINUTE);
    let next = house.next(&token).await.unwrap();
    assert_eq!(house.status(&next).await, 200);
    let seen: Vec<_> = events(ID).iter().map(|line| json!([line["event"], line["subject"]])).collect();
    assert_eq!(seen, [json!(["granted", "sub-ana"]), json!(["access_token_succeeded", "sub-ana"])]);
    let written = written().text();
    assert!(!written.contains(&token) && !written.contains(&next));
    assert!(!written.contains(next.rsplit('.').next().unwrap()));
}

#[tokio::test]
async fn the_refresh_token_keeps_its_idle_end_unless_that_is_configured() {
    for (more, moves) in [("", false), ("refresh: { extends_idle: true }", true)] {
        let both = client("both", &format!("grants: [password, refresh_token], scopes: [orders], {SUCCEEDS}"));
        let house = House::with(Plan { clients: &[both], more, ..Plan::default() }).await;
        let token = house.sign_in("both").await;
        let id = claims(&token)["sid"].as_str().unwrap().parse().unwrap();
        let sessions = sessions(&house.sidegate);
        let before = sessions.find(id).await.unwrap().unwrap().state;
        house.sidegate.time.advance(40 * MINUTE);
        assert!(house.next(&token).await.is_some());
        let after = sessions.find(id).await.unwrap().unwrap().state;
        let by = if moves { 40 * MINUTE as u64 } else { 0 };
        assert_eq!((after.idle_until, after.absolute), (before.idle_until.plus(by), before.absolute));
    }
}

#[tokio::test]
async fn explain_says_when_the_answer_carries_a_successor() {
    let house = House::new().await;
    let token = house.sign_in("next").await;
    let (text, _) = house.sidegate.explained(&token).await;
    assert!(text.contains("or later is answered with its successor, which is good for 1h from then on"), "{text}");
    let plain = house.sign_in("plain").await;
    let (text, _) = house.sidegate.explained(&plain).await;
    assert!(!text.contains("successor"), "{text}");
}
