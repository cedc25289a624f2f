//! What an answer says of a session: only a clear no ends one.

use serde_json::json;

use super::{house, provider::Said};
use crate::oauth::house::{assert_refused, password, refresh, text};

#[tokio::test]
async fn no_trouble_of_the_authority_ends_a_session() {
    let (provider, sidegate) = house("").await;
    let given = password(&sidegate).await;
    let mine = text(&given, "refresh_token");
    let html = || "<html><h1>invalid_grant</h1></html>".to_owned();
    let json = |error: &str| json!({"error": error}).to_string();
    let troubles: Vec<Said> = vec![
        (500, Vec::new(), json("invalid_grant")),
        (502, Vec::new(), html()),
        (503, vec![("retry-after", "7".to_owned())], json("invalid_grant")),
        (504, Vec::new(), String::new()),
        (401, Vec::new(), json("invalid_client")),
        (400, Vec::new(), json("unauthorized_client")),
        (400, Vec::new(), html()),
        (404, Vec::new(), html()),
        (200, Vec::new(), html()),
        (200, Vec::new(), String::new()),
        (200, Vec::new(), "{\"access_token\":\"a\",\"access_token\":\"b\"}".to_owned()),
        (200, Vec::new(), json!({"access_token": "a", "token_type": "mac"}).to_string()),
        (200, Vec::new(), format!("{{\"access_token\":\"{}\"}}", "a".repeat(300_000))),
        (302, vec![("location", format!("{}/elsewhere", provider.issuer))], json("invalid_grant")),
    ];
    for said in troubles {
        provider.answers("/token", said.clone());
        let asked = provider.asked("/token").len();
        // After a few of them it is left alone, for half a minute at most.
        sidegate.time.advance(30);
        let refused = refresh(&sidegate, &mine).await;
        assert_eq!(refused.status, 503, "{} {:.60}: {}", said.0, said.2, refused.text());
        assert_refused(&refused, 503, "temporarily_unavailable");
        assert!(refused.header("retry-after").is_some());
        assert!(provider.asked("/token").len() > asked);
    }
    assert_eq!(provider.asked("/elsewhere").len(), 0);
    provider.answers("/token", (429, vec![("retry-after", "999999".to_owned())], json("invalid_grant")));
    sidegate.time.advance(30);
    let refused = refresh(&sidegate, &mine).await;
    assert_refused(&refused, 429, "temporarily_unavailable");
    assert_eq!(refused.header("retry-after"), Some("3600"));
    provider.gives(json!({}));
    sidegate.time.advance(60);
    assert_eq!(refresh(&sidegate, &mine).await.status, 200);
}

#[tokio::test]
async fn a_clear_no_ends_the_session_and_a_wrong_password_begins_none() {
    let (provider, sidegate) = house("").await;
    let given = password(&sidegate).await;
    provider.answers("/token", (403, Vec::new(), json!({"error": "invalid_grant"}).to_string()));
    assert_refused(&refresh(&sidegate, &text(&given, "refresh_token")).await, 400, "invalid_grant");
    assert_refused(&password(&sidegate).await, 400, "invalid_grant");
    provider.answers("/token", (503, vec![("retry-after", "7".to_owned())], String::new()));
    assert_eq!(password(&sidegate).await.header("retry-after"), Some("7"));
    provider.gives(json!({}));
    assert_refused(&refresh(&sidegate, &text(&given, "refresh_token")).await, 400, "invalid_grant");
}

#[tokio::test]
async fn however_long_its_token_lives_a_session_begins() {
    let (provider, sidegate) = house("").await;
    for expires_in in [json!(0), json!(-5), json!("soon"), json!(u64::MAX), json!(1e300), json!(null)] {
        provider.gives(json!({"expires_in": expires_in}));
        let given = password(&sidegate).await;
        assert_eq!(given.status, 200, "{expires_in}: {}", given.text());
        assert_eq!(refresh(&sidegate, &text(&given, "refresh_token")).await.status, 200, "{expires_in}");
    }
}
