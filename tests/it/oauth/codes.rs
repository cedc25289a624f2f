//! Authorization codes at the token endpoint.

use serde_json::json;
use sidegate::model::{ClientProof, Grant, PresentedClient, RefreshForm, Secret, TokenRequest};

use super::house::{
    REDIRECT, VERIFIER, as_app, assert_refused, authority, client, code, is_active, public, redeem, text, token, user,
};
use crate::support::Sidegate;

async fn start() -> Sidegate {
    let grants = "grants: [authorization_code, refresh_token, password], scopes: [orders, openid]";
    let app = client("app", &format!("{grants}, redirect_uris: [\"{REDIRECT}\"]"));
    let other = client("other", &format!("{grants}, redirect_uris: [\"{REDIRECT}\"]"));
    let phone = public("phone", &format!("{grants}, redirect_uris: [\"{REDIRECT}\"]"));
    Sidegate::start(&authority(&[app, other, phone], &[user("ana", "")], "")).await
}

#[tokio::test]
async fn s12_a_verifier_and_a_challenge_go_together() {
    let sidegate = start().await;
    let with = code(&sidegate, |_| {}).await;
    let without = code(&sidegate, |code| code.challenge = None).await;
    let ask = |code: &str, more: &str| {
        as_app(&format!("grant_type=authorization_code&redirect_uri={REDIRECT}&code={code}{more}"))
    };
    let verifier = format!("&code_verifier={VERIFIER}");
    assert_refused(&token(&sidegate, &ask(&with, "")).await, 400, "invalid_grant");
    assert_refused(&token(&sidegate, &ask(&without, &verifier)).await, 400, "invalid_request");
    // Neither attempt has spent the code.
    assert_eq!(token(&sidegate, &ask(&with, &verifier)).await.status, 200);
    assert_eq!(token(&sidegate, &ask(&without, "")).await.status, 200);
}

/// S14 and S48.
#[tokio::test]
async fn a_code_that_comes_twice_ends_its_session_also_where_nobody_waits_for_the_answer() {
    let sidegate = start().await;
    let code = code(&sidegate, |code| code.client = "phone".to_owned()).await;
    let body = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={REDIRECT}&code_verifier={VERIFIER}&client_id=phone"
    );
    let first = token(&sidegate, &body).await;
    assert_eq!(first.status, 200);
    let grants = sidegate.app.gate().endpoints().unwrap().grants.clone();
    let request = TokenRequest {
        client: PresentedClient { id: Some("phone".to_owned()), proof: ClientProof::None, by_header: false },
        grant: Grant::AuthorizationCode {
            code: Secret::new(code),
            redirect_uri: Some(REDIRECT.to_owned()),
            verifier: Some(Secret::new(VERIFIER.to_owned())),
        },
        refresh_form: RefreshForm::Full,
        scope: None,
        resources: Vec::new(),
    };
    {
        let cx = super::away::context(sidegate.time.now());
        let mut second = std::pin::pin!(grants.issue(request, &cx));
        // Begun, and given up; or done already, where the thread that does it came first.
        let _ = futures_util::poll!(&mut second);
    }
    let renewal = text(&first, "refresh_token");
    let presented = sidegate::session::tokens::read_refresh(&renewal).unwrap();
    for _ in 0..2000 {
        let session = grants.sessions.find(presented.session).await.unwrap().unwrap();
        if session.state.revoked.is_some() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("the session lives on");
}

#[tokio::test]
async fn s13_of_64_redemptions_at_once_one_succeeds() {
    let sidegate = std::sync::Arc::new(start().await);
    let code = code(&sidegate, |_| {}).await;
    let all = (0..64).map(|_| {
        let (sidegate, body) = (sidegate.clone(), redeem(&code));
        tokio::spawn(async move { token(&sidegate, &body).await })
    });
    let mut good = 0;
    for reply in futures_util::future::join_all(all).await {
        let reply = reply.unwrap();
        match reply.status.as_u16() {
            200 => good += 1,
            _ => assert_refused(&reply, 400, "invalid_grant"),
        }
    }
    assert_eq!(good, 1);
}

#[tokio::test]
async fn s14_a_valid_second_use_ends_what_the_first_gave_and_an_invalid_one_ends_nothing() {
    let sidegate = start().await;
    let code = code(&sidegate, |_| {}).await;
    let given = token(&sidegate, &redeem(&code)).await;
    let access = text(&given, "access_token");
    let body = redeem(&code);
    for invalid in [
        body.replace(VERIFIER, &"a".repeat(43)),
        body.replace("client_id=app", "client_id=other"),
        body.replace("/cb&", "/other&"),
        body.replace(&format!("&code_verifier={VERIFIER}"), ""),
    ] {
        assert_refused(&token(&sidegate, &invalid).await, 400, "invalid_grant");
    }
    assert!(is_active(&sidegate, &access).await);
    assert_refused(&token(&sidegate, &body).await, 400, "invalid_grant");
    assert!(!is_active(&sidegate, &access).await);
    assert!(!is_active(&sidegate, &text(&given, "refresh_token")).await);
}

#[tokio::test]
async fn s15_a_code_is_bound_to_its_minute_its_client_its_redirect_and_its_challenge() {
    let sidegate = start().await;
    let bound = code(&sidegate, |_| {}).await;
    let body = redeem(&bound);
    for other in [
        body.replace("client_id=app", "client_id=other"),
        body.replace("/cb&", "/CB&"),
        body.replace(VERIFIER, &VERIFIER.replace('d', "e")),
    ] {
        assert_refused(&token(&sidegate, &other).await, 400, "invalid_grant");
    }
    // Nothing of that is told apart from a code that does not exist.
    let unknown = token(&sidegate, &redeem("sgc1_x")).await;
    let wrong = token(&sidegate, &body.replace(VERIFIER, &"a".repeat(43))).await;
    assert_eq!(unknown.text(), wrong.text());
    sidegate.time.advance(61);
    assert_refused(&token(&sidegate, &body).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_redirect_that_was_left_out_may_be_left_out_again() {
    let sidegate = start().await;
    for more in [String::new(), format!("&redirect_uri={REDIRECT}")] {
        let code = code(&sidegate, |code| code.redirect_uri = None).await;
        let body = as_app(&format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}{more}"));
        assert_eq!(token(&sidegate, &body).await.status, 200);
    }
}

#[tokio::test]
async fn an_id_token_comes_with_openid_and_a_refreshed_one_has_no_nonce() {
    let sidegate = start().await;
    let code = code(&sidegate, |code| {
        code.client = "phone".to_owned();
        code.nonce = Some("n-1".to_owned());
        code.granted.scope = ["openid".to_owned(), "orders".to_owned()].into_iter().collect();
        code.granted.claims.insert("email".to_owned(), json!("ana@test"));
        code.granted.claims.insert("aud".to_owned(), json!("elsewhere"));
    })
    .await;
    let body = format!(
        "grant_type=authorization_code&client_id=phone&code={code}&redirect_uri={REDIRECT}&code_verifier={VERIFIER}"
    );
    let first = token(&sidegate, &body).await;
    let names: Vec<String> = first.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["token_type", "access_token", "expires_in", "scope", "refresh_token", "id_token"]);
    let refresh = text(&first, "refresh_token");
    let body = format!("grant_type=refresh_token&client_id=phone&refresh_token={refresh}");
    let second = token(&sidegate, &body).await;
    let now = sidegate.time.now().0;
    for (reply, nonce) in [(&first, Some("n-1")), (&second, None)] {
        let (header, claims) = super::jwts::read(&text(reply, "id_token"));
        assert_eq!((header["typ"].as_str(), header["alg"].as_str()), (Some("JWT"), Some("ES256")));
        assert_eq!(claims["iss"], super::house::ISSUER);
        assert_eq!((&claims["aud"], &claims["azp"]), (&json!("phone"), &json!("phone")));
        assert_eq!((&claims["sub"], &claims["email"]), (&json!("sub-ana"), &json!("ana@test")));
        assert_eq!(claims["nonce"].as_str(), nonce);
        assert!(claims["auth_time"].as_u64().unwrap() <= now && claims["exp"].as_u64().unwrap() > now);
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text(reply, "access_token").as_bytes());
        assert_eq!(claims["at_hash"], super::jwts::encoded(&hash.as_ref()[..16]));
    }
}
