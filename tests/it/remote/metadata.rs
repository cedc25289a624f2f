//! How the authority is found, and how sidegate proves itself there.

use serde_json::json;

use super::{
    house,
    provider::{METADATA, Provider, SECRET_THERE, by_secret},
    yaml,
};
use crate::{
    oauth::house::{assert_refused, password, refresh, text},
    support::{Sidegate, issuer::scratch, keys::part},
};

#[tokio::test]
async fn an_authority_is_found_by_its_issuer_and_its_metadata_are_read_once() {
    let (provider, sidegate) = house("").await;
    let given = password(&sidegate).await;
    assert_eq!(given.status, 200, "{}", given.text());
    let again = refresh(&sidegate, &text(&given, "refresh_token")).await;
    assert_eq!(again.status, 200, "{}", again.text());
    let grants: Vec<_> =
        provider.asked("/token").iter().map(|asked| asked.value("grant_type").unwrap().to_owned()).collect();
    assert_eq!(grants, ["password", "refresh_token"]);
    assert_eq!(provider.asked(METADATA).len(), 1);
    assert_eq!(provider.last("/token").value("refresh_token"), Some("canary-rt"));
    assert_eq!(provider.last("/token").headers["accept"], "application/json");
}

#[tokio::test]
async fn metadata_that_cannot_be_believed_are_an_outage_and_never_the_clients_fault() {
    let (provider, sidegate) = house("").await;
    let metadata = |changes: serde_json::Value| {
        let usual = json!({"issuer": provider.issuer, "token_endpoint": format!("{}/token", provider.issuer)});
        provider.says(METADATA, &crate::support::keys::changed(&usual, &changes));
    };
    for changes in [
        json!({"issuer": "https://elsewhere.example"}),
        json!({"issuer": format!("{}/", provider.issuer)}),
        json!({"token_endpoint": "http://elsewhere.example/token"}),
        json!({"token_endpoint": null}),
    ] {
        metadata(changes);
        sidegate.time.advance(10);
        let refused = password(&sidegate).await;
        assert_refused(&refused, 503, "temporarily_unavailable");
        assert!(refused.header("retry-after").is_some());
    }
    provider.answers(METADATA, (302, vec![("location", format!("{}/elsewhere", provider.issuer))], String::new()));
    sidegate.time.advance(10);
    assert_refused(&password(&sidegate).await, 503, "temporarily_unavailable");
    assert_eq!((provider.asked("/elsewhere").len(), provider.asked("/token").len()), (0, 0));
    metadata(json!({}));
    sidegate.time.advance(10);
    assert_eq!(password(&sidegate).await.status, 200);
}

#[tokio::test]
async fn metadata_outlive_an_outage_and_a_reload() {
    let provider = Provider::start().await;
    let yaml = yaml(&provider, &by_secret());
    let sidegate = Sidegate::start(&yaml).await;
    let given = password(&sidegate).await;
    provider.answers(METADATA, (500, Vec::new(), String::new()));
    sidegate.reload(&yaml).await;
    sidegate.time.advance(2 * 3600);
    assert_eq!(refresh(&sidegate, &text(&given, "refresh_token")).await.status, 200);
}

#[tokio::test]
async fn a_secret_goes_by_basic_unless_the_form_is_chosen() {
    let provider = Provider::start().await;
    let sidegate = Sidegate::start(&yaml(&provider, &by_secret())).await;
    password(&sidegate).await;
    let asked = provider.last("/token");
    assert!(asked.headers["authorization"].to_str().unwrap().starts_with("Basic "));
    assert_eq!((asked.value("client_id"), asked.value("client_secret")), (None, None));
    let form = by_secret().replace(" }", ", authentication: form }");
    let sidegate = Sidegate::start(&yaml(&provider, &form)).await;
    password(&sidegate).await;
    let asked = provider.last("/token");
    assert!(asked.headers.get("authorization").is_none());
    assert_eq!((asked.value("client_id"), asked.value("client_secret")), (Some("sidegate"), Some(SECRET_THERE)));
}

#[tokio::test]
async fn a_key_signs_an_assertion_for_each_question() {
    let provider = Provider::start().await;
    let file = scratch("remote").join("key.pem");
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    std::fs::write(&file, pair.serialize_pem()).unwrap();
    let client = format!("client: {{ id: sidegate, key_file: {}, key_id: of-2026 }}", file.display());
    let sidegate = Sidegate::start(&yaml(&provider, &client)).await;
    let given = password(&sidegate).await;
    assert_eq!(given.status, 200, "{}", given.text());
    refresh(&sidegate, &text(&given, "refresh_token")).await;
    let asked = provider.asked("/token");
    let [first, second] = &asked[..] else { panic!("{asked:?}") };
    for asked in [first, second] {
        assert!(asked.headers.get("authorization").is_none() && asked.value("client_secret").is_none());
        assert_eq!(asked.value("client_id"), Some("sidegate"));
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(asked.value("client_assertion_type"), Some(kind));
        let assertion = asked.value("client_assertion").unwrap();
        assert_eq!(part(assertion, 0), json!({"alg": "EdDSA", "typ": "JWT", "kid": "of-2026"}));
        let claims = part(assertion, 1);
        assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("sidegate"), Some("sidegate")));
        assert_eq!(claims["aud"], json!(provider.issuer));
        assert_eq!(
            claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
            300,
            "also where clocks are two minutes apart"
        );
    }
    let id = |asked: &super::provider::Asked| part(asked.value("client_assertion").unwrap(), 1)["jti"].clone();
    assert_ne!(id(first), id(second));
}
