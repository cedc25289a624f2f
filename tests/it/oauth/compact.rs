//! Refresh tokens of sessions that begin through `redex`: short enough for its oldest clients, and otherwise like any.

use super::{
    away,
    dialects::{API_KEY, assert_refused, by_key, in_data, key_request, keyed, renew},
    house::{as_app, form, introspect, is_active, password, refresh, sessions, text},
};
use crate::support::{Sidegate, send};

const LENGTH: usize = 36;

async fn start() -> Sidegate {
    Sidegate::start(&keyed()).await
}

/// The first refresh token of a session that begins through `redex`.
async fn begun(sidegate: &Sidegate) -> String {
    in_data(&by_key(sidegate, API_KEY).await, "RefreshToken")
}

#[tokio::test]
async fn a_refresh_token_of_36_characters_rotates_and_one_that_is_reused_ends_the_session() {
    let sidegate = start().await;
    let mut tokens = vec![begun(&sidegate).await];
    for _ in 0..3 {
        let given = renew(&sidegate, tokens.last().unwrap()).await;
        tokens.push(in_data(&given, "RefreshToken"));
        assert!(is_active(&sidegate, &in_data(&given, "AccessToken")).await);
        sidegate.time.advance(100);
    }
    assert!(tokens.iter().all(|token| token.len() == LENGTH && !token.contains('.')), "{tokens:?}");
    tokens.dedup();
    assert_eq!(tokens.len(), 4);
    assert_refused(&renew(&sidegate, &tokens[1]).await, "invalid_grant");
    assert_refused(&renew(&sidegate, &tokens[3]).await, "invalid_grant");
}

#[tokio::test]
async fn a_retry_gets_the_same_successor() {
    let sidegate = start().await;
    let first = begun(&sidegate).await;
    let second = in_data(&renew(&sidegate, &first).await, "RefreshToken");
    sidegate.time.advance(5);
    assert_eq!(in_data(&renew(&sidegate, &first).await, "RefreshToken"), second);
    let together = futures_util::future::join_all((0..16).map(|_| renew(&sidegate, &second))).await;
    let third: Vec<String> = together.iter().map(|reply| in_data(reply, "RefreshToken")).collect();
    assert!(third.iter().all(|token| *token == third[0]), "{third:?}");
}

#[tokio::test]
async fn generation_65535_ends_the_family() {
    let sidegate = start().await;
    let first = begun(&sidegate).await;
    let sessions = sessions(&sidegate);
    let (_, session) = sessions.find_any_refresh(&first).await.unwrap().unwrap();
    // A store that has lost writes is healed by the token that it should have known: nobody makes 65,535 requests here.
    let ahead = sessions.ring().refresh_token(&session, 65_534).unwrap();
    let last = in_data(&renew(&sidegate, ahead.expose()).await, "RefreshToken");
    assert_eq!(last.len(), LENGTH);
    assert_refused(&renew(&sidegate, &last).await, "invalid_grant");
    assert_eq!(begun(&sidegate).await.len(), LENGTH);
}

#[tokio::test]
async fn a_session_keeps_the_form_that_it_began_with_whatever_dialect_it_goes_on_in() {
    let sidegate = start().await;
    let begun_here = begun(&sidegate).await;
    let over_oauth2 = text(&refresh(&sidegate, &begun_here).await, "refresh_token");
    assert_eq!(over_oauth2.len(), LENGTH);
    assert_eq!(in_data(&renew(&sidegate, &over_oauth2).await, "RefreshToken").len(), LENGTH);
    let begun_there = text(&password(&sidegate).await, "refresh_token");
    assert!(begun_there.starts_with("sg1."), "{begun_there}");
    assert!(in_data(&renew(&sidegate, &begun_there).await, "RefreshToken").starts_with("sg1."));
}

#[tokio::test]
async fn the_option_full_gives_long_ones_and_leaves_sessions_as_they_are() {
    let sidegate = start().await;
    let short = begun(&sidegate).await;
    sidegate.reload(&keyed().replace("redex: {}", "redex: { refresh_token_length: full }")).await;
    let long = begun(&sidegate).await;
    assert!(long.starts_with("sg1.") && long.len() > LENGTH, "{long}");
    assert!(in_data(&renew(&sidegate, &long).await, "RefreshToken").starts_with("sg1."));
    assert_eq!(in_data(&renew(&sidegate, &short).await, "RefreshToken").len(), LENGTH);
}

#[tokio::test]
async fn a_compact_token_is_told_of_and_revoked_like_any() {
    let sidegate = start().await;
    let given = by_key(&sidegate, API_KEY).await;
    let (access, token) = (in_data(&given, "AccessToken"), in_data(&given, "RefreshToken"));
    assert_eq!(introspect(&sidegate, &token).await.json()["scope"], "orders stock");
    let other = format!("{}{}", if token.starts_with('A') { 'B' } else { 'A' }, &token[1..]);
    assert!(!is_active(&sidegate, &other).await);
    assert_eq!(send(sidegate.public, form("/oauth20/revoke", &of_app(&token), &[])).await.status, 200);
    assert!(!is_active(&sidegate, &token).await && !is_active(&sidegate, &access).await);
    assert_refused(&renew(&sidegate, &token).await, "invalid_grant");
}

#[tokio::test]
async fn another_clients_compact_token_is_nobodys_and_is_not_revoked_by_a_try() {
    let sidegate = start().await;
    let token = begun(&sidegate).await;
    let body = format!("grant_type=refresh_token&refresh_token={token}&client_id=pos");
    let refused = super::house::token(&sidegate, &body).await;
    assert_eq!((refused.status.as_u16(), text(&refused, "error").as_str()), (400, "invalid_grant"));
    assert_eq!(in_data(&renew(&sidegate, &token).await, "RefreshToken").len(), LENGTH);
}

#[tokio::test]
async fn an_id_that_is_taken_is_drawn_again_a_few_times() {
    for (taken, given) in [(0, true), (3, true), (4, false)] {
        let address = away::serve_crowded(&keyed(), taken).await;
        let reply = send(address, key_request(API_KEY)).await;
        assert_eq!((reply.status == 200, reply.status == 503), (given, !given), "{taken}: {}", reply.text());
        if given {
            let again =
                send(address, form("/oauth20/introspect", &of_app(&in_data(&reply, "RefreshToken")), &[])).await;
            assert_eq!(again.json()["active"], true);
        }
    }
}

/// A question of `app` about `token`.
fn of_app(token: &str) -> String {
    as_app(&format!("token={token}"))
}
