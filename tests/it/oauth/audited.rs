//! The audit stream: one line for each thing that happened, with a stable name and no secret.

use serde_json::{Value, json};

use super::house::{PASSWORD, REDIRECT, SECRET, authority, client, code, form, redeem, sessions, text, token, user};
use crate::support::{Reply, Sidegate, log::written, send};

/// The events of `client` in order, each with its reason, if it has one.
pub fn events(client: &str) -> Vec<Value> {
    let lines = written().text();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["target"] == "sidegate::audit" && line["client"] == client).collect()
}

#[tokio::test]
async fn s48_each_grant_refresh_reuse_and_revocation_is_one_line_without_a_secret() {
    written();
    const ID: &str = "audited";
    let app = client(
        ID,
        &format!(
            "grants: [authorization_code, client_credentials, password, refresh_token], redirect_uris: [\"{REDIRECT}\"], scopes: [orders]"
        ),
    );
    let sidegate = Sidegate::start(&authority(&[app], &[user("ana", "")], "")).await;
    let ask = async |body: &str| token(&sidegate, &format!("{body}&client_id={ID}&client_secret={SECRET}")).await;
    let renew = |reply: &Reply| format!("grant_type=refresh_token&refresh_token={}", text(reply, "refresh_token"));

    ask("grant_type=client_credentials").await;
    ask("grant_type=client_credentials&scope=admin").await;
    ask("grant_type=password&username=ana&password=wr0ng-canary").await;
    let first = ask(&format!("grant_type=password&username=ana&password={PASSWORD}")).await;
    let second = ask(&renew(&first)).await;
    ask(&renew(&first)).await;
    let third = ask(&renew(&second)).await;
    ask(&renew(&first)).await;
    ask(&renew(&third)).await;
    let body = redeem(&code(&sidegate, |code| code.client = ID.to_owned()).await)
        .replace("client_id=app", &format!("client_id={ID}"));
    let given = token(&sidegate, &body).await;
    token(&sidegate, &body).await;
    // The store goes back by a rotation, as a failover may make it.
    let fourth = ask(&format!("grant_type=password&username=ana&password={PASSWORD}")).await;
    let ahead = ahead(&sidegate, &text(&fourth, "refresh_token"));
    let healed = ask(&format!("grant_type=refresh_token&refresh_token={ahead}")).await;
    assert_eq!(healed.status, 200);
    let revoke = format!("token={}&client_id={ID}&client_secret={SECRET}", text(&healed, "access_token"));
    send(sidegate.public, form("/oauth20/revoke", &revoke, &[])).await;
    send(sidegate.public, form("/oauth20/revoke", &revoke, &[])).await;
    token(&sidegate, &format!("grant_type=client_credentials&client_id={ID}&client_secret=wr0ng-canary")).await;

    let seen: Vec<Value> =
        events(ID).iter().map(|line| json!([line["event"], line["grant"], line["reason"]])).collect();
    let password = "password";
    let expected = [
        json!(["granted", "client_credentials", null]),
        json!(["grant_refused", "client_credentials", "scope_not_allowed"]),
        json!(["grant_refused", password, "wrong_password"]),
        json!(["granted", password, null]),
        json!(["refreshed", "refresh_token", null]),
        json!(["refresh_retried", "refresh_token", null]),
        json!(["refreshed", "refresh_token", null]),
        json!(["refresh_reused", "refresh_token", "reused"]),
        json!(["refresh_refused", "refresh_token", "revoked"]),
        json!(["granted", "authorization_code", null]),
        json!(["code_reused", "authorization_code", "code_reused"]),
        json!(["granted", password, null]),
        json!(["refresh_healed", "refresh_token", null]),
        json!(["revoked", null, "client"]),
        json!(["grant_refused", "client_credentials", "wrong_secret"]),
    ];
    assert_eq!(seen, expected);
    // RFC 9700 advises against the password grant, and every use of it says so.
    for line in events(ID) {
        assert_eq!(line["deprecated"] == true, line["grant"] == password, "{line}");
        assert_eq!(line["address"], "127.0.0.1");
        assert!(line["request_id"].is_string());
    }
    let reused = events(ID).into_iter().find(|line| line["event"] == "refresh_reused").unwrap();
    assert_eq!((&reused["presented_generation"], &reused["current_generation"]), (&json!(1), &json!(3)));

    let everything = written().text();
    for reply in [&first, &second, &third, &given, &healed] {
        for name in ["access_token", "refresh_token"] {
            assert!(!everything.contains(&text(reply, name)));
        }
    }
    for secret in [SECRET, PASSWORD, "wr0ng-canary", &ahead, super::house::VERIFIER] {
        assert!(!everything.contains(secret), "{secret}");
    }
}

/// The refresh token that follows `token`, which the store has not seen.
fn ahead(sidegate: &Sidegate, token: &str) -> String {
    let sessions = sessions(sidegate);
    let presented = sidegate::session::tokens::read_refresh(token).unwrap();
    let session = futures_util::FutureExt::now_or_never(sessions.find(presented.session)).unwrap().unwrap().unwrap();
    let ring = sessions.ring();
    let next = ring.refresh_token(&session, presented.generation + 1);
    next.unwrap().expose().clone()
}
