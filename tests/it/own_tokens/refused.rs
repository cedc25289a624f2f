//! What does not open the door.

use serde_json::json;
use sidegate::session::{Session, record::RevocationReason};

use super::{Setup, yaml};
use crate::{
    oauth::house::{PASSWORD, SECRET, hash, token},
    support::{get, look::assert_invalid_token, look::assert_problem},
};

#[tokio::test]
async fn a_token_ends_when_it_says_so_and_with_its_session_without_leeway() {
    let setup = Setup::new().await;
    let (_, opaque) = setup.opaque().await;
    let (_, jwt) = setup.jwt().await;
    let short = |session: &mut Session| session.state.absolute = session.state.created.plus(300);
    let (_, cut) = setup.opaque_with(short).await;
    let (_, cut_jwt) = setup.jwt_with(short, json!({}), "at+jwt").await;
    for token in [&opaque, &jwt, &cut, &cut_jwt] {
        assert_eq!(get(setup.sidegate.public, "/", token).await.status, 200);
    }
    setup.sidegate.time.advance(300);
    for token in [&cut, &cut_jwt] {
        assert_invalid_token(&get(setup.sidegate.public, "/", token).await);
    }
    for token in [&opaque, &jwt] {
        assert_eq!(get(setup.sidegate.public, "/", token).await.status, 200);
    }
    setup.sidegate.time.advance(300);
    for token in [&opaque, &jwt] {
        assert_invalid_token(&get(setup.sidegate.public, "/", token).await);
    }
    // Also where nothing is cached.
    let (_, late) = setup.opaque_with(|session| session.state.access[0].expires = session.state.created).await;
    assert_invalid_token(&get(setup.sidegate.public, "/", &late).await);
}

#[tokio::test]
async fn what_only_looks_like_a_token_of_ours_never_reaches_the_store() {
    let setup = Setup::new().await;
    let (_, good) = setup.opaque().await;
    let flipped = |at: usize| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let mut bad = vec!["sga1_".to_owned(), "sga1_x".to_owned(), format!("sga1_{}", "A".repeat(53))];
    bad.extend([format!("{good}A"), good[..good.len() - 1].to_owned(), format!("sga1_{}", "A".repeat(8000))]);
    bad.extend((5..good.len() - 1).step_by(6).map(flipped));
    for token in &bad {
        assert_invalid_token(&get(setup.sidegate.public, "/", token).await);
    }
    assert_eq!(setup.lookups().await, 0);
    // Nor is it remembered: the good one is as good as ever.
    assert_eq!(get(setup.sidegate.public, "/", &good).await.status, 200);
    assert_eq!(setup.sidegate.decisions("all", "token_invalid").await, bad.len() as u64);
}

#[tokio::test]
async fn a_route_that_does_not_trust_local_refuses_without_asking_the_store() {
    let setup = Setup::new().await;
    for (_, token) in [setup.opaque().await, setup.jwt().await] {
        assert_invalid_token(&get(setup.sidegate.public, "/foreign/x", &token).await);
        assert_eq!(setup.lookups().await, 0);
    }
    // Also when another route has put it into the cache.
    let (_, token) = setup.opaque().await;
    assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
    assert_invalid_token(&get(setup.sidegate.public, "/foreign/x", &token).await);
    assert_eq!(setup.sidegate.decisions("foreign", "issuer_refused").await, 3);
    // And the foreign one is good on both.
    assert_eq!(get(setup.sidegate.public, "/foreign/x", &setup.issuer.token()).await.status, 200);
    assert_eq!(get(setup.sidegate.public, "/", &setup.issuer.token()).await.status, 200);
}

/// S28.
#[tokio::test]
async fn a_token_for_one_audience_is_refused_where_another_is_wanted() {
    let setup = Setup::new().await;
    for (_, token) in [setup.opaque().await, setup.jwt().await] {
        assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
        assert_invalid_token(&get(setup.sidegate.public, "/other", &token).await);
    }
    let other = |session: &mut Session| session.state.access[0].audiences = Some(vec!["other-api".to_owned()]);
    let (_, other) = setup.opaque_with(other).await;
    assert_eq!(get(setup.sidegate.public, "/other", &other).await.status, 200);
    assert_invalid_token(&get(setup.sidegate.public, "/", &other).await);
}

/// S27.
#[tokio::test]
async fn an_id_token_and_an_internal_token_are_no_access_tokens() {
    let setup = Setup::new().await;
    for token_type in ["JWT", "id+jwt", "sidegate+jwt", "logout+jwt", ""] {
        let (_, token) = setup.jwt_with(|_| {}, json!({}), token_type).await;
        assert_invalid_token(&get(setup.sidegate.public, "/", &token).await);
    }
    let (_, good) = setup.jwt_with(|_| {}, json!({}), "application/at+jwt").await;
    assert_eq!(get(setup.sidegate.public, "/", &good).await.status, 200);
    let seen = setup.upstream.last();
    let internal = seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
    assert_invalid_token(&get(setup.sidegate.public, "/", internal).await);
}

#[tokio::test]
async fn a_jwt_of_ours_without_a_session_or_with_a_strange_one_is_refused() {
    let setup = Setup::new().await;
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    for sid in [json!(null), json!(7), json!("x"), json!(""), json!(unknown)] {
        let (_, token) = setup.jwt_with(|_| {}, json!({ "sid": sid }), "at+jwt").await;
        assert_invalid_token(&get(setup.sidegate.public, "/", &token).await);
    }
    // Signed by a key that is not ours.
    let (id, _) = setup.jwt().await;
    let forged = json!({"iss": super::ISSUER, "sid": id.to_string(), "aud": "orders-api", "sub": "u-1",
        "exp": setup.sidegate.time.now().0 + 600});
    assert_invalid_token(&get(setup.sidegate.public, "/", &setup.issuer.sign(&forged)).await);
}

/// S33.
#[tokio::test]
async fn a_token_in_the_query_is_no_token() {
    let setup = Setup::new().await;
    let (_, token) = setup.opaque().await;
    let reply = get(setup.sidegate.public, &format!("/?access_token={token}"), "").await;
    assert_problem(&reply, 401, "token_missing", Some("Bearer realm=\"sidegate\""));
    assert_eq!(setup.lookups().await, 0);
}

#[tokio::test]
async fn a_reload_that_disables_client_or_user_or_changes_the_password_ends_their_tokens() {
    let setup = Setup::new().await;
    let (_, of_client) = setup.opaque().await;
    let form = format!("grant_type=password&username=ana&password={PASSWORD}&client_id=app&client_secret={SECRET}");
    let reply = token(&setup.sidegate, &form.replace(' ', "+")).await;
    let of_user = reply.json()["access_token"].as_str().unwrap().to_owned();
    for token in [&of_client, &of_user] {
        assert_eq!(get(setup.sidegate.public, "/", token).await.status, 200);
    }
    let good = yaml(&setup.issuer, &setup.upstream);
    setup.sidegate.reload(&good.replace("username: ana,", "username: ana, enabled: false,")).await;
    assert_eq!(get(setup.sidegate.public, "/", &of_client).await.status, 200);
    assert_invalid_token(&get(setup.sidegate.public, "/", &of_user).await);
    setup.sidegate.reload(&good.replace(&hash(PASSWORD), &hash("another"))).await;
    assert_eq!(get(setup.sidegate.public, "/", &of_client).await.status, 200);
    assert_invalid_token(&get(setup.sidegate.public, "/", &of_user).await);
    setup.sidegate.reload(&good.replace("{ id: app,", "{ id: app, enabled: false,")).await;
    for token in [&of_client, &of_user] {
        assert_invalid_token(&get(setup.sidegate.public, "/", token).await);
    }
    setup.sidegate.reload(&good).await;
    for token in [&of_client, &of_user] {
        assert_eq!(get(setup.sidegate.public, "/", token).await.status, 200);
    }
}

#[tokio::test]
async fn a_session_that_a_newer_one_pushed_out_takes_its_tokens_along() {
    let setup = Setup::new().await;
    let (id, token) = setup.opaque().await;
    assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
    let sessions = setup.sessions();
    let opening = sidegate::session::Opening {
        id: sidegate::session::SessionId::random().unwrap(),
        client: "app".to_owned(),
        granted: super::session(&sessions).granted,
        held: None,
        idle: 60,
        absolute: 60,
        refresh: None,
        access: None,
        most: 1,
    };
    sessions.open(opening).await.unwrap();
    let ended = sessions.find(id).await.unwrap().unwrap().state.revoked.unwrap();
    assert_eq!(ended.reason, RevocationReason::Superseded);
    assert_invalid_token(&get(setup.sidegate.public, "/", &token).await);
}
