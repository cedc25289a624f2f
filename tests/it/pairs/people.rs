//! Who a session belongs to, and who has none at an authority outside.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::{
    Pair,
    cases::Refusal,
    served::Served,
    spoken::{Accounts, Behind},
    typed,
};
use crate::{
    oauth::house::{SECRET, form, text},
    support::{
        authority::{API_KEY, PASSWORD, USERNAME, Wanted},
        get,
        issuer::scratch,
    },
};

fn on_its_own_behalf() -> Request<Full<Bytes>> {
    form("/oauth20/token", &format!("grant_type=client_credentials&client_id=app&client_secret={SECRET}"), &[])
}

/// With this grant in place of `password`, and whatever else the client needs for it.
fn granting(yaml: &str, account: &str) -> String {
    yaml.replace("grants: [password, refresh_token]", &format!("grants: [password, client_credentials], {account}"))
}

#[tokio::test]
async fn a_client_on_its_own_behalf_has_the_authoritys_token_and_nothing_to_refresh() {
    for (behind, accounts) in [
        (Behind::OAuth2, Accounts::Presented),
        (Behind::OAuth2, Accounts::Mapped),
        (Behind::Redex, Accounts::Mapped),
        (Behind::ConsincoJson, Accounts::Mapped),
        (Behind::ConsincoXml, Accounts::Mapped),
    ] {
        let account = match accounts {
            Accounts::Mapped => behind.account(&scratch("pairs")),
            Accounts::Presented => "name: App".to_owned(),
        };
        let pair = Pair::changed(Served::OAuth2, behind, accounts, |yaml| granting(&yaml, &account)).await;
        let reply = pair.send(on_its_own_behalf()).await;
        assert!(reply.json().get("refresh_token").is_none(), "{behind:?}: {}", reply.text());
        let authority = pair.authority.as_ref().unwrap();
        let expected = if accounts == Accounts::Presented { Wanted::ClientCredentials } else { behind.begun() };
        assert_eq!(authority.last().wanted, Some(expected), "{behind:?}");
        get(pair.sidegate.public, "/legacy", &text(&reply, "access_token")).await;
        let shown = format!("Bearer {}", authority.newest());
        assert_eq!(pair.upstream.last().header("authorization"), Some(&*shown), "{behind:?}");
    }
}

/// Its tokens would pass for those that the client has on its own behalf.
#[tokio::test]
async fn a_user_who_is_called_like_a_client_is_refused_before_the_authority_is_asked() {
    let pair = Pair::start(Served::OAuth2, Behind::OAuth2, Accounts::Presented).await;
    let ask = Served::OAuth2.begin(&typed("app", PASSWORD, API_KEY));
    pair.is_refused(ask, Refusal::Grant).await.unwrap();
    assert!(pair.authority.as_ref().unwrap().asked().is_empty());
}

/// `pos` may say a company at its own endpoint; the one of `oauth2` has no word for it.
#[tokio::test]
async fn a_sign_in_without_the_company_that_the_authority_needs_is_refused_and_not_put_off() {
    let nowhere = |yaml: String| {
        let start = yaml.find(", company:").unwrap();
        let end = start + yaml[start..].find(" }").unwrap();
        yaml[..start].to_owned() + &yaml[end..]
    };
    let pair = Pair::changed(Served::ConsincoJson, Behind::ConsincoJson, Accounts::Presented, nowhere).await;
    pair.begin().await.unwrap();
    let asked = pair.authority.as_ref().unwrap().asked().len();
    let typed: String = form_urlencoded::Serializer::new("grant_type=password&client_id=pos".to_owned())
        .extend_pairs([("username", USERNAME), ("password", PASSWORD)])
        .finish();
    let reply = pair.send(form("/oauth20/token", &typed, &[])).await;
    assert_eq!((reply.status.as_u16(), text(&reply, "error").as_str()), (400, "unauthorized_client"));
    assert_eq!(pair.authority.as_ref().unwrap().asked().len(), asked);
}

/// What nobody can guess needs no password beside it.
#[tokio::test]
async fn a_user_with_a_key_alone_has_a_session_by_the_key_and_by_no_password() {
    for behind in [Behind::Local, Behind::Redex] {
        let keyed = |yaml: String| {
            let start = yaml.find("password_hash").unwrap();
            let end = yaml.find("api_key_hashes").unwrap();
            let yaml = yaml[..start].to_owned() + &yaml[end..];
            yaml.replace("grants: [api_key,", "grants: [api_key, password,")
        };
        let pair = Pair::changed(Served::Redex, behind, Accounts::Mapped, keyed).await;
        let session = pair.begin().await.unwrap();
        pair.renew(&session.refresh).await.unwrap();
        for password in [super::OWN_PASSWORD, super::OWN_KEY, ""] {
            let ask = Served::OAuth2.begin(&typed(super::NAME, password, ""));
            let reply = pair.send(ask).await;
            let code = if password.is_empty() { "invalid_request" } else { "invalid_grant" };
            assert_eq!((reply.status.as_u16(), text(&reply, "error").as_str()), (400, code), "{behind:?}");
        }
    }
}

/// Nobody knows here how hard the authority's keys are to guess.
#[tokio::test]
async fn guesses_at_the_authoritys_api_keys_are_slowed_down() {
    let throttled = |yaml: String| {
        let counts = "  throttle: { per_address: { requests: 1, per: 1h, burst: 3 } }\n  clients:\n";
        yaml.replacen("  clients:\n", counts, 1)
    };
    let pair = Pair::changed(Served::Redex, Behind::Redex, Accounts::Presented, throttled).await;
    pair.begin().await.unwrap();
    let asked = || pair.authority.as_ref().unwrap().asked().len();
    let before = asked();
    for guess in 0..6 {
        let ask = Served::Redex.begin(&typed(USERNAME, PASSWORD, &format!("guess-{guess}")));
        let reply = pair.send(ask).await;
        assert_eq!(reply.status, if guess < 3 { 401 } else { 429 }, "{}", reply.text());
    }
    assert_eq!(asked() - before, 3);
    // Who has got in from there before is not kept out by others' guesses.
    pair.begin().await.unwrap();
}
