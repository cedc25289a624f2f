//! Refresh tokens, over the wire.

use super::house::{
    SECRET, as_app, assert_refused, authority, client, form, is_active, password, public, refresh, text, token, user,
};
use crate::support::{Reply, Sidegate, send};

const GRANTS: &str = "grants: [password, refresh_token, client_credentials], scopes: [orders, refunds]";

fn yaml(more: &str) -> String {
    let app = client("app", &format!("{GRANTS}{more}"));
    let other = client("other", GRANTS);
    let phone = public("phone", &GRANTS.replace(", client_credentials", ""));
    authority(&[app, other, phone], &[user("ana", "")], "")
}

async fn start() -> Sidegate {
    Sidegate::start(&yaml("")).await
}

fn successor(reply: &Reply) -> String {
    text(reply, "refresh_token")
}

#[tokio::test]
async fn s17_the_refresh_tokens_of_a_public_client_rotate() {
    let sidegate = start().await;
    let body = format!("grant_type=password&username=ana&password={}&client_id=phone", super::house::PASSWORD);
    let first = successor(&token(&sidegate, &body).await);
    let second = token(&sidegate, &format!("grant_type=refresh_token&refresh_token={first}&client_id=phone")).await;
    assert_ne!(successor(&second), first);
}

#[tokio::test]
async fn s18_a_replay_outside_the_windows_ends_the_session_at_once() {
    let sidegate = start().await;
    let first = successor(&password(&sidegate).await);
    let second = refresh(&sidegate, &first).await;
    sidegate.time.advance(61);
    assert_refused(&refresh(&sidegate, &first).await, 400, "invalid_grant");
    assert!(!is_active(&sidegate, &text(&second, "access_token")).await);
    assert_refused(&refresh(&sidegate, &successor(&second)).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_retry_within_the_windows_gets_the_same_successor_and_a_fresh_access_token() {
    let sidegate = start().await;
    let first = successor(&password(&sidegate).await);
    let answers = [refresh(&sidegate, &first).await, refresh(&sidegate, &first).await, {
        sidegate.time.advance(50);
        refresh(&sidegate, &first).await
    }];
    let access: std::collections::HashSet<String> = answers.iter().map(|reply| text(reply, "access_token")).collect();
    assert_eq!(access.len(), 3);
    for reply in &answers {
        assert_eq!((successor(reply), reply.json()["expires_in"].as_u64()), (successor(&answers[0]), Some(3600)));
        let names: Vec<&str> = answers[0].headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(reply.headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), names);
        assert!(is_active(&sidegate, &text(reply, "access_token")).await);
    }
}

#[tokio::test]
async fn after_256_retries_a_client_is_told_to_wait_and_nothing_ends() {
    let sidegate = start().await;
    let first = successor(&password(&sidegate).await);
    let second = refresh(&sidegate, &first).await;
    for _ in 0..256 {
        assert_eq!(refresh(&sidegate, &first).await.status, 200);
    }
    let reply = refresh(&sidegate, &first).await;
    assert_refused(&reply, 429, "temporarily_unavailable");
    assert_eq!(reply.header("retry-after"), Some("60"));
    assert_eq!(refresh(&sidegate, &successor(&second)).await.status, 200);
}

#[tokio::test]
async fn s19_a_replay_by_another_client_ends_nothing() {
    let sidegate = start().await;
    let first = successor(&password(&sidegate).await);
    let second = refresh(&sidegate, &first).await;
    sidegate.time.advance(61);
    for id in ["other", "phone"] {
        let secret = if id == "phone" { String::new() } else { format!("&client_secret={SECRET}") };
        for old in [&first, &successor(&second)] {
            let body = format!("grant_type=refresh_token&refresh_token={old}&client_id={id}{secret}");
            assert_refused(&token(&sidegate, &body).await, 400, "invalid_grant");
        }
    }
    assert_eq!(refresh(&sidegate, &successor(&second)).await.status, 200);
}

#[tokio::test]
async fn s20_a_grandparent_within_the_window_is_a_replay() {
    let sidegate = start().await;
    let first = successor(&password(&sidegate).await);
    let second = refresh(&sidegate, &first).await;
    let third = refresh(&sidegate, &successor(&second)).await;
    assert_refused(&refresh(&sidegate, &first).await, 400, "invalid_grant");
    assert!(!is_active(&sidegate, &text(&third, "access_token")).await);
}

#[tokio::test]
async fn s21_a_narrowed_access_token_leaves_the_scope_of_the_session_and_nothing_widens_it() {
    let sidegate = Sidegate::start(&yaml(", refresh_token: { scope: narrow }")).await;
    let renew = |token: &str, scope: &str| as_app(&format!("grant_type=refresh_token&refresh_token={token}{scope}"));
    let body =
        as_app(&format!("grant_type=password&username=ana&password={}&scope=orders,refunds", super::house::PASSWORD));
    let first = token(&sidegate, &body).await;
    assert_eq!(text(&first, "scope"), "orders refunds");
    let narrowed = token(&sidegate, &renew(&successor(&first), "&scope=refunds")).await;
    assert_eq!(text(&narrowed, "scope"), "refunds");
    let whole = token(&sidegate, &renew(&successor(&narrowed), "")).await;
    assert_eq!(text(&whole, "scope"), "orders refunds");
    assert_refused(&token(&sidegate, &renew(&successor(&whole), "&scope=orders+admin")).await, 400, "invalid_scope");
    // Refused before the step: the token is as good as before.
    assert_eq!(token(&sidegate, &renew(&successor(&whole), "")).await.status, 200);
}

#[tokio::test]
async fn a_scope_is_ignored_as_published() {
    let sidegate = start().await;
    let first = successor(&password(&sidegate).await);
    let body = as_app(&format!("grant_type=refresh_token&refresh_token={first}&scope=admin,\"&username=x&code=y"));
    assert_eq!(text(&token(&sidegate, &body).await, "scope"), "orders refunds");
}

#[tokio::test]
async fn s22_idle_and_absolute_ends_hold_and_a_rotation_moves_only_the_first() {
    let sidegate = Sidegate::start(&yaml(", refresh_token: { idle: 1h, absolute: 150m }")).await;
    let mut last = password(&sidegate).await;
    sidegate.time.advance(3601);
    assert_refused(&refresh(&sidegate, &successor(&last)).await, 400, "invalid_grant");
    last = password(&sidegate).await;
    for _ in 0..2 {
        sidegate.time.advance(3500);
        last = refresh(&sidegate, &successor(&last)).await;
        assert_eq!(last.status, 200);
    }
    // 2000 s are left of the session, and no token says more.
    let left = last.json()["expires_in"].as_u64().unwrap();
    assert!((1900..=2000).contains(&left), "{left}");
    sidegate.time.advance(2001);
    assert_refused(&refresh(&sidegate, &successor(&last)).await, 400, "invalid_grant");
    assert!(!is_active(&sidegate, &text(&last, "access_token")).await);
}

#[tokio::test]
async fn s23_what_was_taken_from_user_or_client_ends_with_the_next_refresh() {
    let clients = |app: &str| [client("app", app)];
    let users = |more: &str| [user("ana", more)];
    let whole = authority(&clients(GRANTS), &users(""), "");
    for (what, yaml, status, error) in [
        ("user", authority(&clients(GRANTS), &users("enabled: false"), ""), 400, "invalid_grant"),
        ("client", authority(&clients(&format!("{GRANTS}, enabled: false")), &users(""), ""), 401, "invalid_client"),
        (
            "refresh",
            authority(&clients("grants: [password], scopes: [orders, refunds]"), &users(""), ""),
            400,
            "unauthorized_client",
        ),
        (
            "grant",
            authority(&clients("grants: [refresh_token], scopes: [orders, refunds]"), &users(""), ""),
            400,
            "invalid_grant",
        ),
        (
            "scope",
            authority(&clients("grants: [password, refresh_token], scopes: [orders]"), &users(""), ""),
            400,
            "invalid_grant",
        ),
    ] {
        let sidegate = Sidegate::start(&whole).await;
        let first = successor(&password(&sidegate).await);
        let second = successor(&refresh(&sidegate, &first).await);
        sidegate.reload(&yaml).await;
        let reply = refresh(&sidegate, &second).await;
        assert_eq!((reply.status.as_u16(), text(&reply, "error").as_str()), (status, error), "{what}");
        sidegate.reload(&whole).await;
        // An account that was gone has ended the session; what the client lost comes back with the configuration.
        let after = refresh(&sidegate, &second).await.status;
        assert_eq!(after, if what == "user" { 400 } else { 200 }, "{what}");
    }
}

#[tokio::test]
async fn s25_of_a_refresh_and_a_revocation_at_once_the_revocation_wins_for_ever() {
    let sidegate = std::sync::Arc::new(start().await);
    for _ in 0..20 {
        let first = successor(&password(&sidegate).await);
        let revoke = form("/oauth20/revoke", &as_app(&format!("token={first}")), &[]);
        let renewals = (0..4).map(|_| refresh(&sidegate, &first));
        let (revoked, renewed) =
            futures_util::join!(send(sidegate.public, revoke), futures_util::future::join_all(renewals));
        assert_eq!(revoked.status, 200);
        for reply in renewed.iter().filter(|reply| reply.status == 200) {
            assert_refused(&refresh(&sidegate, &successor(reply)).await, 400, "invalid_grant");
            assert!(!is_active(&sidegate, &text(reply, "access_token")).await);
        }
        assert_refused(&refresh(&sidegate, &first).await, 400, "invalid_grant");
    }
}

#[tokio::test]
async fn s26_a_client_on_its_own_behalf_gets_no_refresh_token() {
    let sidegate = start().await;
    let reply = token(&sidegate, &as_app("grant_type=client_credentials")).await;
    assert_eq!(reply.status, 200);
    assert!(reply.json().get("refresh_token").is_none());
}

#[tokio::test]
async fn a_stable_refresh_token_stays_the_same() {
    let sidegate = Sidegate::start(&yaml(", refresh_token: { rotation: stable }")).await;
    let first = successor(&password(&sidegate).await);
    for _ in 0..3 {
        sidegate.time.advance(100);
        let reply = refresh(&sidegate, &first).await;
        assert_eq!(successor(&reply), first);
        assert!(is_active(&sidegate, &first).await);
    }
}
