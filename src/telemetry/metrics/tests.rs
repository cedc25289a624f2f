use std::time::Duration;

use super::*;
use crate::model::GrantType;

fn lines(metrics: &Metrics, family: &str) -> Vec<String> {
    let text = String::from_utf8(metrics.render()).unwrap();
    let wanted = format!("sidegate_{family}{{");
    text.lines().filter(|line| line.starts_with(&wanted)).map(str::to_owned).collect()
}

#[test]
fn what_an_enabled_endpoint_may_count_is_there_at_zero_and_nothing_else() {
    let metrics = Metrics::new();
    let yaml = "authority:
  issuer: http://127.0.0.1:8080
  audiences: [orders-api]
  endpoints: { authorize: off, introspect: off }
  clients:
    - id: app
      secret_hashes: [\"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"]
      grants: [client_credentials]
      scopes: [orders]
store: { memory: {} }
upstreams: [{ name: app, url: \"http://127.0.0.1:3000\" }]
routes: [{ name: all, paths: [\"/*\"], upstream: app, public: true }]
";
    let here = std::path::Path::new(".");
    let loaded = crate::config::load_str(yaml, "test", here, &crate::config::Environment::default()).unwrap();
    metrics.oauth.prepare(loaded.config.authority.as_ref().unwrap(), &["oauth2"]);
    let requests = lines(&metrics, "oauth_requests_total");
    assert!(requests.iter().all(|line| line.ends_with(" 0")));
    let has = |part: &str| requests.iter().any(|line| line.contains(part));
    assert!(has(r#"endpoint="token",grant="client_credentials",result="ok""#), "{requests:#?}");
    assert!(has(r#"endpoint="token",grant="none",result="unsupported_grant_type""#));
    assert!(has(r#"endpoint="revoke",grant="none",result="ok""#));
    assert!(!has("\"introspect\"") && !has("\"authorize\"") && !has("\"password\""));
    assert_eq!(lines(&metrics, "tokens_issued_total").len(), 1);
    assert_eq!(lines(&metrics, "token_refreshes_total").len(), 6);
    assert_eq!(lines(&metrics, "sign_ins_total").len(), 4);
}

#[test]
fn a_store_that_does_not_answer_is_down_and_keeps_the_last_count() {
    let metrics = Metrics::new();
    metrics.oauth.observe_store("redb", Some(7));
    metrics.oauth.observe_store("redb", None);
    assert_eq!(lines(&metrics, "session_store_up"), [r#"sidegate_session_store_up{store="redb"} 0"#]);
    assert_eq!(lines(&metrics, "sessions"), [r#"sidegate_sessions{store="redb"} 7"#]);
}

#[test]
fn steps_of_a_store_are_counted_by_operation_and_result() {
    let metrics = Metrics::new();
    let store = metrics.oauth.store("memory");
    store.took(StoreOperation::Document, StoreResult::Unreadable, Duration::from_millis(2));
    let counted = lines(&metrics, "session_operations_total");
    assert_eq!(counted.len(), 39);
    assert!(counted.contains(
        &r#"sidegate_session_operations_total{op="document",result="unreadable",store="memory"} 1"#.to_owned()
    ));
    metrics.oauth.answered(Endpoint::Token, "oauth2", Some(GrantType::Password), "invalid_grant");
    let requests = lines(&metrics, "oauth_requests_total");
    assert_eq!(
        requests,
        [
            r#"sidegate_oauth_requests_total{dialect="oauth2",endpoint="token",grant="password",result="invalid_grant"} 1"#
        ]
    );
}
