//! What a token request gets when all is well, to the byte.

use super::house::{PASSWORD, SECRET, authority, client, refresh, text, token, user};
use crate::support::Sidegate;

#[tokio::test]
async fn a_client_on_its_own_behalf_gets_exactly_the_published_members() {
    let app = client("app", "grants: [client_credentials], scopes: [orders, refunds], default_scopes: [orders]");
    let sidegate = Sidegate::start(&authority(&[app], &[], "")).await;
    let reply = token(&sidegate, &format!("grant_type=client_credentials&client_id=app&client_secret={SECRET}")).await;
    assert_eq!(reply.status, 200);
    let access = reply.json()["access_token"].as_str().unwrap().to_owned();
    assert!(access.starts_with("sga1_"));
    let expected = format!(r#"{{"token_type":"bearer","access_token":"{access}","expires_in":3600,"scope":"orders"}}"#);
    assert_eq!(reply.text(), expected);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("pragma"), Some("no-cache"));
}

#[tokio::test]
async fn a_password_gets_a_refresh_token_and_that_gets_its_successor() {
    let app = client("app", "grants: [password, refresh_token], scopes: [orders]");
    let sidegate = Sidegate::start(&authority(&[app], &[user("ana", "")], "")).await;
    let body = format!("grant_type=password&client_id=app&client_secret={SECRET}&username=ana&password={PASSWORD}");
    let first = token(&sidegate, &body).await;
    let second = refresh(&sidegate, &text(&first, "refresh_token")).await;
    for reply in [&first, &second] {
        let (access, refresh) = (text(reply, "access_token"), text(reply, "refresh_token"));
        let expected = format!(
            r#"{{"token_type":"bearer","access_token":"{access}","expires_in":3600,"scope":"orders","refresh_token":"{refresh}"}}"#
        );
        assert_eq!(reply.text(), expected);
    }
    assert_ne!(text(&first, "refresh_token"), text(&second, "refresh_token"));
}
