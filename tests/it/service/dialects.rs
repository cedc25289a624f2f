//! The token is got in every dialect that is spoken.

use bytes::Bytes;

use super::house::{By, House, key_file};
use crate::support::authority::{
    API_KEY, Authority, CLIENT_ID, CLIENT_SECRET, COMPANY, Mood, PASSWORD, Speech, USERNAME, Wanted,
};

#[tokio::test]
async fn it_is_got_as_each_api_gives_tokens_and_renewed_as_each_renews_them() {
    let password = |company: Option<&str>| Wanted::Password {
        username: USERNAME.to_owned(),
        password: PASSWORD.to_owned(),
        company: company.map(str::to_owned),
    };
    for (by, begun, refreshes) in [
        (By::ClientCredentials, Wanted::ClientCredentials, false),
        (By::Form, Wanted::ClientCredentials, false),
        (By::Password, password(None), true),
        (By::Redex, Wanted::ApiKey(API_KEY.to_owned()), true),
        (By::ConsincoJson, password(Some(COMPANY)), true),
        (By::ConsincoXml, password(Some(COMPANY)), true),
    ] {
        let house = House::new(by).await;
        assert_eq!(house.shown().await, "Bearer at-canary-1.~+/_==", "{by:?}");
        let asked = house.authority.last();
        assert_eq!(asked.wanted.as_ref(), Some(&begun), "{by:?}");
        let client = (CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned());
        assert_eq!(asked.client, (by.speech() != Speech::Consinco).then_some(client), "{by:?}");
        assert_eq!(asked.headers.contains_key("authorization"), matches!(by, By::ClientCredentials | By::Password));

        house.sidegate.time.advance(3600);
        assert_eq!(house.shown().await, "Bearer at-canary-2.~+/_==", "{by:?}");
        assert_eq!(house.authority.redeemed(), usize::from(refreshes), "{by:?}");
        assert_eq!(house.authority.asked().len(), 2, "{by:?}");
    }
}

#[tokio::test]
async fn it_is_got_with_a_key_instead_of_a_secret() {
    let authority = Authority::start(Speech::OAuth2).await;
    authority.is(saying("{\"access_token\": \"at-by-key\", \"token_type\": \"Bearer\", \"expires_in\": 300}"));
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let service = format!(
        "dialect: oauth2, url: \"http://{}/oauth20/token\", client: {{ id: side, key_file: {} }}, scopes: [a, b]",
        authority.address,
        key_file(&pem).display()
    );
    let house = House::before(authority, &service, "").await;
    assert_eq!(house.shown().await, "Bearer at-by-key");
    let body = String::from_utf8(house.authority.last().body.to_vec()).unwrap();
    assert!(body.contains("grant_type=client_credentials&scope=a+b&client_id=side&client_assertion_type="), "{body}");
}

#[tokio::test]
async fn it_is_got_in_a_dialect_that_the_configuration_tells_of() {
    let authority = Authority::start(Speech::Redex).await;
    authority.is(saying("{\"pass\": {\"token\": \"at-declared\", \"seconds\": 300}}"));
    let service = format!(
        "dialect: acme, url: \"http://{}\", client: {{ id: side, secret_file: {} }}",
        authority.address,
        key_file("a-secret-of-acme").display()
    );
    let dialects = "dialects:\n  - name: acme\n    endpoints:\n      - grant: client_credentials\n        path: /acme/pass\n        \
                    requests: [{ body: { who: \"{client_id}\", proof: \"{client_secret}\" } }]\n    \
                    responses: [{ body: { pass: { token: \"{access_token}\", seconds: \"{expires_in as integer}\" } } }]\n    \
                    errors: [{ body: { error: \"{code}\" } }]\n";
    let house = House::before(authority, &service, dialects).await;
    assert_eq!(house.shown().await, "Bearer at-declared");
    let asked = house.authority.last();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/acme/pass"));
    assert_eq!(asked.body, "{\"who\":\"side\",\"proof\":\"a-secret-of-acme\"}");
}

fn saying(body: &'static str) -> Mood {
    Mood::Saying(200, Bytes::from_static(body.as_bytes()))
}
