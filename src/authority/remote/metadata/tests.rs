use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::fetch::testing::{Provider, Reply};

const NOW: UnixTime = UnixTime(1_800_000_000);
const OPENID: &str = "/.well-known/openid-configuration";

fn discovery(issuer: &str) -> Discovery {
    let bounds = Bounds { timeout: Duration::from_secs(5), bytes: 64 * 1024 };
    Discovery::new(issuer, Arc::new(Fetcher::new(None)), bounds, Handle::current())
}

fn document(issuer: &str, token: &str) -> String {
    json!({"issuer": issuer, "token_endpoint": token, "authorization_endpoint": "https://idp.test/auth",
        "code_challenge_methods_supported": ["plain", "S256"],
        "authorization_response_iss_parameter_supported": true})
    .to_string()
}

/// Without the slash that a URL without a path has.
fn origin(provider: &Provider) -> String {
    provider.origin.as_str().trim_end_matches('/').to_owned()
}

#[tokio::test]
async fn many_who_need_the_metadata_cause_one_question() {
    let provider = Provider::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let issuer = origin(&provider);
    provider.reply(OPENID, Reply::Held(gate.clone(), document(&issuer, "https://idp.test/token")));
    let discovery = Arc::new(discovery(&issuer));
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let discovery = discovery.clone();
            tokio::spawn(async move { discovery.get(NOW).await })
        })
        .collect();
    gate.add_permits(1);
    for asked in asking {
        let metadata = asked.await.unwrap().unwrap();
        assert_eq!(metadata.token.as_str(), "https://idp.test/token");
        assert_eq!(metadata.authorization.as_ref().unwrap().as_str(), "https://idp.test/auth");
        assert_eq!((metadata.s256, metadata.names_itself), (Some(true), true));
    }
    discovery.get(NOW.plus(FRESH - 1)).await.unwrap();
    assert_eq!(provider.hits(OPENID), 1);
}

#[tokio::test]
async fn an_authority_that_is_no_openid_provider_is_asked_between_host_and_path() {
    let provider = Provider::start().await;
    let issuer = format!("{}/tenant/", origin(&provider));
    let document = document(&issuer, "https://idp.test/token");
    provider.reply("/.well-known/oauth-authorization-server/tenant", Reply::Json(document));
    assert!(discovery(&issuer).get(NOW).await.is_ok());
    assert_eq!(provider.hits("/tenant/.well-known/openid-configuration"), 1);
}

#[tokio::test]
async fn metadata_outlive_an_outage_for_a_day_and_are_read_again_once_it_is_over() {
    let provider = Provider::start().await;
    let issuer = origin(&provider);
    provider.reply(OPENID, Reply::Json(document(&issuer, "https://idp.test/token")));
    let discovery = discovery(&issuer);
    discovery.get(NOW).await.unwrap();
    provider.reply(OPENID, Reply::Status(500));
    let known = discovery.get(NOW.plus(KEPT - 1)).await.unwrap();
    assert_eq!(known.read, NOW);
    let error = discovery.get(NOW.plus(KEPT)).await.unwrap_err();
    assert_eq!(error.to_string(), "its metadata: answered with status 500 Internal Server Error");
    provider.reply(OPENID, Reply::Json(document(&issuer, "https://idp.test/moved")));
    let asked = provider.hits(OPENID);
    let read = discovery.get(NOW.plus(KEPT + PAUSE)).await.unwrap();
    assert_eq!((read.token.as_str(), provider.hits(OPENID)), ("https://idp.test/moved", asked + 1));
}

#[tokio::test]
async fn a_failure_is_the_answer_for_two_seconds_and_no_longer() {
    let provider = Provider::start().await;
    let issuer = origin(&provider);
    let discovery = discovery(&issuer);
    provider.reply(OPENID, Reply::Broken);
    let failed = discovery.get(NOW).await.unwrap_err();
    assert!(matches!(failed, MetadataError::Fetch(FetchError::Transport(_))) && failed.was_asked());
    for second in [0, 1] {
        let again = discovery.get(NOW.plus(second)).await.unwrap_err();
        assert_eq!((again.to_string(), again.was_asked()), (failed.to_string(), false));
    }
    assert_eq!(provider.hits(OPENID), 1);
    provider.reply(OPENID, Reply::Json(document(&issuer, "https://idp.test/token")));
    assert!(discovery.get(NOW.plus(2)).await.is_ok());
    // A clock that was set back must not keep a failure for longer.
    let discovery = self::discovery(&issuer);
    provider.reply(OPENID, Reply::Status(503));
    assert!(discovery.get(NOW).await.is_err());
    provider.reply(OPENID, Reply::Json(document(&issuer, "https://idp.test/token")));
    assert!(discovery.get(NOW.minus(1000)).await.is_ok());
}

#[test]
fn a_document_must_be_of_the_very_issuer_and_lead_to_places_that_secrets_may_go_to() {
    let issuer = "https://idp.test";
    let of = |document: serde_json::Value| read(document.to_string().as_bytes(), issuer, NOW).map(|_| ());
    let good = json!({"issuer": issuer, "token_endpoint": "https://idp.test/token"});
    let with = |name: &str, value: serde_json::Value| {
        let mut document = good.clone();
        document[name] = value;
        of(document)
    };
    assert_eq!(of(good.clone()), Ok(()));
    assert_eq!(with("authorization_endpoint", json!(null)), Ok(()));
    for other in [json!("https://idp.test/"), json!("https://IDP.test"), json!(["https://idp.test"]), json!(null)] {
        assert_eq!(with("issuer", other.clone()), Err(MetadataError::OtherIssuer), "{other}");
    }
    for bad in ["http://idp.test/token", "file:///etc/passwd", "https://u:p@idp.test/token", "https://idp.test/#x", "x"]
    {
        let refused = with("token_endpoint", json!(bad));
        assert_eq!(refused, Err(MetadataError::NotTrusted("token_endpoint")), "{bad}");
        let refused = with("authorization_endpoint", json!(bad));
        assert_eq!(refused, Err(MetadataError::NotTrusted("authorization_endpoint")), "{bad}");
    }
    assert_eq!(with("token_endpoint", json!(null)), Err(MetadataError::Missing("token_endpoint")));
    for hostile in [&b"[]"[..], b"", b"{\"issuer\":\"a\",\"issuer\":\"https://idp.test\"}", b"\xff"] {
        assert_eq!(read(hostile, issuer, NOW), Err(MetadataError::NotJson));
    }
}

#[test]
fn only_an_issuer_on_this_machine_leads_to_what_listens_here_without_tls() {
    for (issuer, trusted) in [("http://127.0.0.1:8080", true), ("http://localhost", true), ("https://idp.test", false)]
    {
        for name in ["token_endpoint", "authorization_endpoint"] {
            let mut document = json!({"issuer": issuer, "token_endpoint": format!("{issuer}/token")});
            document[name] = json!("http://127.0.0.1:6379/");
            let expected = if trusted { Ok(()) } else { Err(MetadataError::NotTrusted(name)) };
            assert_eq!(read(document.to_string().as_bytes(), issuer, NOW).map(|_| ()), expected, "{issuer} {name}");
        }
    }
}

#[test]
fn what_the_metadata_do_not_say_is_not_taken_for_a_no() {
    let issuer = "https://idp.test";
    let document = json!({"issuer": issuer, "token_endpoint": "https://idp.test/token"}).to_string();
    let metadata = read(document.as_bytes(), issuer, NOW).unwrap();
    assert_eq!((metadata.s256, metadata.names_itself, metadata.authorization), (None, false, None));
}
