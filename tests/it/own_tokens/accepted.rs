//! What opens the door, and what the upstream is told.

use std::time::Duration;

use serde_json::json;
use sidegate::model::Scope;

use super::Setup;
use crate::support::{get, keys::part, look::assert_problem};

#[tokio::test]
async fn an_opaque_token_of_our_own_opens_the_door_and_a_hit_does_not_ask_the_store() {
    let setup = Setup::new().await;
    let (_, token) = setup.opaque().await;
    assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
    let looked = setup.lookups().await;
    assert_eq!(looked, 1);
    for _ in 0..5 {
        assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
    }
    assert_eq!(setup.lookups().await, looked);
    assert_eq!(setup.sidegate.cache("verdicts", "hit").await, 5);
}

#[tokio::test]
async fn a_jwt_of_our_own_opens_the_door_and_a_hit_does_not_ask_the_store() {
    let setup = Setup::new().await;
    let (_, token) = setup.jwt().await;
    for _ in 0..5 {
        assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
    }
    assert_eq!(setup.lookups().await, 1);
}

#[tokio::test]
async fn the_internal_token_says_who_asks_and_for_what_whatever_the_form_of_the_clients_token() {
    let setup = Setup::new().await;
    for (id, token) in [setup.opaque().await, setup.jwt().await] {
        let reply = get(setup.sidegate.public, "/", &token).await;
        assert_eq!(reply.status, 200);
        let seen = setup.upstream.last();
        let whole = format!("{seen:?}");
        assert!(!whole.contains(&token) && !whole.contains(&id.to_string()), "the client's token reached the upstream");
        let internal = seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        assert!(!format!("{:?}{}", reply.headers, reply.text()).contains(&internal));
        let mut claims = part(&internal, 1);
        for name in ["iat", "nbf", "exp", "jti"] {
            claims.as_object_mut().unwrap().remove(name).unwrap();
        }
        let scope = claims.as_object_mut().unwrap().remove("scope").unwrap();
        assert!(scope.as_str().unwrap().starts_with("orders"));
        assert_eq!(
            claims,
            json!({"iss": "http://sidegate.test", "aud": "app", "sub": "u-1", "client_id": "app", "tenant": "acme",
                "intentid": "i-7", "itype": "payments"})
        );
        assert_eq!((seen.header("x-forwarded-user"), seen.header("x-tenant")), (Some("u-1"), Some("acme")));
    }
}

#[tokio::test]
async fn a_foreign_tokens_intent_is_nobodys_business() {
    let setup = Setup::new().await;
    let token = setup.issuer.token_with(json!({"intentid": "x"}));
    assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
    let seen = setup.upstream.last();
    let internal = seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
    assert_eq!(part(internal, 1).get("intentid"), None);
}

#[tokio::test]
async fn a_narrowed_token_has_its_own_scope_and_the_session_keeps_the_rest() {
    let setup = Setup::new().await;
    let (_, wide) = setup.opaque().await;
    assert_eq!(get(setup.sidegate.public, "/admin", &wide).await.status, 200);
    let narrow = |session: &mut sidegate::session::Session| {
        session.state.access[0].scope = Some(Scope::parse("orders").unwrap());
    };
    let (_, narrow) = setup.opaque_with(narrow).await;
    assert_eq!(get(setup.sidegate.public, "/", &narrow).await.status, 200);
    let challenge = "Bearer realm=\"sidegate\", error=\"insufficient_scope\", scope=\"admin\"";
    assert_problem(&get(setup.sidegate.public, "/admin", &narrow).await, 403, "insufficient_scope", Some(challenge));
}

#[tokio::test]
async fn the_first_use_of_an_access_token_acknowledges_the_refresh_token_beside_it() {
    let setup = Setup::new().await;
    for (id, token) in [setup.opaque().await, setup.jwt().await] {
        assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
        let mut acknowledged = 0;
        for _ in 0..2000 {
            acknowledged = setup.sessions().find(id).await.unwrap().unwrap().state.acknowledged;
            if acknowledged == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(acknowledged, 1);
    }
    // One of an older generation says nothing of the newest.
    let (id, token) = setup.opaque_with(|session| session.state.generation = 2).await;
    assert_eq!(get(setup.sidegate.public, "/", &token).await.status, 200);
    assert_eq!(setup.sessions().find(id).await.unwrap().unwrap().state.acknowledged, 0);
}

#[tokio::test]
async fn explain_tells_of_the_session_and_never_shows_the_token() {
    let setup = Setup::new().await;
    for (id, token) in [setup.opaque().await, setup.jwt().await] {
        let (text, json) = setup.sidegate.explained(&token).await;
        for part in [id.to_string().as_str(), "client `app`", "expires in", "issuer: ", "`local`"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains(&token) && !json.contains(&token));
    }
}
