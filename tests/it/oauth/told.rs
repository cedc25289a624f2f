//! What introspection tells, and what revocation ends.

use serde_json::json;

use super::house::{
    ISSUER, SECRET, as_app, authority, client, form, introspect, is_active, password, refresh, sessions, text, token,
    user,
};
use super::jwts::read;
use crate::support::{Sidegate, get, send};

async fn start(format: &str) -> Sidegate {
    let more = format!(
        "grants: [password, refresh_token, client_credentials], scopes: [orders], access_token: {{ format: {format} }}"
    );
    let clients = [client("app", &more), client("api", "grants: [client_credentials], introspects_all: true")];
    Sidegate::start(&authority(&clients, &[user("ana", "claims: { tenant: acme }")], "")).await
}

#[tokio::test]
async fn introspection_tells_the_whole_of_a_token_to_whom_it_concerns() {
    for format in ["opaque", "jwt"] {
        let sidegate = start(format).await;
        let now = sidegate.time.now().0;
        let given = password(&sidegate).await;
        let access = text(&given, "access_token");
        let mut told = introspect(&sidegate, &access).await.json();
        let issued = told["iat"].as_u64().unwrap();
        assert!((now..now + 60).contains(&issued));
        assert_eq!(told["jti"].is_string(), format == "jwt");
        for name in ["jti", "sid", "auth_time"] {
            told.as_object_mut().unwrap().remove(name);
        }
        let expected = json!({
            "active": true, "iss": ISSUER, "aud": "orders-api", "exp": issued + 3600, "iat": issued, "client_id": "app",
            "sub": "sub-ana", "scope": "orders", "tenant": "acme", "username": "ana", "token_type": "Bearer",
        });
        assert_eq!(told, expected);
        let by_api = format!("token={access}&client_id=api&client_secret={SECRET}");
        let by_api = send(sidegate.public, form("/oauth20/introspect", &by_api, &[])).await;
        assert_eq!(by_api.json()["active"], true);
        let renewal = introspect(&sidegate, &text(&given, "refresh_token")).await.json();
        assert_eq!((&renewal["active"], &renewal["client_id"]), (&json!(true), &json!("app")));
        assert!(renewal.get("token_type").is_none());
        let by_api = format!("token={}&client_id=api&client_secret={SECRET}", text(&given, "refresh_token"));
        let by_api = send(sidegate.public, form("/oauth20/introspect", &by_api, &[])).await;
        assert_eq!(by_api.text(), "{\"active\":false}", "a refresh token opens no door");
        sidegate.time.advance(3601);
        assert_eq!(introspect(&sidegate, &access).await.text(), "{\"active\":false}");
    }
}

#[tokio::test]
async fn no_claim_of_a_user_takes_the_place_of_what_is_said_of_the_token() {
    let app = client("app", "grants: [password, refresh_token], scopes: [orders]");
    let ana = user("ana", "claims: { active: \"no\", username: eve, token_type: mac }");
    let sidegate = Sidegate::start(&authority(&[app], &[ana], "")).await;
    let given = password(&sidegate).await;
    let told = introspect(&sidegate, &text(&given, "access_token")).await.json();
    assert_eq!(
        (&told["active"], &told["username"], &told["token_type"]),
        (&json!(true), &json!("ana"), &json!("Bearer"))
    );
    let told = introspect(&sidegate, &text(&given, "refresh_token")).await.json();
    assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!(null)));
}

#[tokio::test]
async fn an_answer_can_be_signed() {
    let sidegate = start("opaque").await;
    let access = text(&password(&sidegate).await, "access_token");
    let media = "application/token-introspection+jwt";
    for (asked, active) in [(access.as_str(), true), ("junk", false)] {
        let body = as_app(&format!("token={asked}"));
        let reply = send(sidegate.public, form("/oauth20/introspect", &body, &[("accept", media)])).await;
        assert_eq!((reply.header("content-type"), reply.header("cache-control")), (Some(media), Some("no-store")));
        let (header, claims) = read(reply.text());
        assert_eq!(header["typ"], "token-introspection+jwt");
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!("app")));
        assert_eq!(claims["token_introspection"]["active"], active);
        // It is no token itself.
        assert_eq!(get(sidegate.public, "/", reply.text()).await.status, 401);
    }
}

#[tokio::test]
async fn any_token_of_a_session_ends_the_session() {
    for (format, by) in [("opaque", "access_token"), ("jwt", "access_token"), ("opaque", "refresh_token")] {
        let sidegate = start(format).await;
        let first = password(&sidegate).await;
        let second = refresh(&sidegate, &text(&first, "refresh_token")).await;
        let body = as_app(&format!("token={}&token_type_hint=nonsense", text(&first, by)));
        let reply = send(sidegate.public, form("/oauth20/revoke", &body, &[])).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
        for token in [&first, &second] {
            assert!(!is_active(&sidegate, &text(token, "access_token")).await, "{format}, {by}");
            assert_eq!(get(sidegate.public, "/", &text(token, "access_token")).await.status, 401);
        }
        assert_eq!(refresh(&sidegate, &text(&second, "refresh_token")).await.status, 400);
    }
}

#[tokio::test]
async fn the_oldest_session_of_a_user_ends_for_one_too_many() {
    let app = client("app", "grants: [password, client_credentials]");
    let yaml = authority(&[app], &[user("ana", "")], "  sessions_per_user: 2\n  sessions_per_client: 3\n");
    let sidegate = Sidegate::start(&yaml).await;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(text(&password(&sidegate).await, "access_token"));
        sidegate.time.advance(1);
        token(&sidegate, &as_app("grant_type=client_credentials")).await;
    }
    for (at, token) in tokens.iter().enumerate() {
        assert_eq!(is_active(&sidegate, token).await, at >= 2, "{at}");
    }
    let alive = sidegate::session::Filter { alive: true, ..Default::default() };
    assert_eq!(sessions(&sidegate).list(alive, None, 100).await.unwrap().len(), 2 + 3);
}

#[tokio::test]
async fn who_asks_with_a_bearer_token_is_told_both_ways() {
    let sidegate = start("opaque").await;
    let access = text(&password(&sidegate).await, "access_token");
    let request = form("/oauth20/introspect", "token=x", &[("authorization", &format!("Bearer {access}"))]);
    let reply = send(sidegate.public, request).await;
    assert_eq!(reply.status, 401);
    let challenges: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
    let bearer = "Bearer realm=\"sidegate\", error=\"invalid_token\"";
    assert_eq!(challenges, ["Basic realm=\"sidegate\", charset=\"UTF-8\"", bearer]);
}
