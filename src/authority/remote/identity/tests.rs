use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;

use super::*;
use crate::{
    config::{Issuer, KeySource},
    fetch::testing::{Provider as Server, Reply},
    jose::testing::{ISSUER, NOW, Pair, issuer, jwks},
    model::Time,
};

const ACCESS: &str = "an-access-token";

/// An issuer with keys at `/jwks`, as the configuration of a remote authority makes it.
fn rules(server: &Server) -> Issuer {
    Issuer {
        leeway: Duration::from_secs(120),
        algorithms: vec![Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA],
        token_types: vec!["jwt".to_owned()],
        ..issuer(KeySource::JwksUri(server.url("/jwks")))
    }
}

/// Claims of a good ID token, with `changes` on top; a null takes a claim away.
fn claims(changes: Value) -> String {
    let mut claims = json!({"iss": ISSUER, "sub": "u-17", "aud": "sidegate", "iat": NOW.0, "exp": NOW.0 + 300,
        "nonce": "n-1", "preferred_username": "ana", "email": "ana@example.com", "groups": ["a"], "auth_time": NOW.0 - 9});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims.to_string()
}

struct House {
    pair: Pair,
    provider: std::sync::Arc<Provider>,
    server: Server,
}

impl House {
    async fn new() -> House {
        let (pair, server) = (Pair::ec256(), Server::start().await);
        server.reply("/jwks", Reply::Json(jwks(&[pair.jwk("k1")])));
        let provider = Provider::start(rules(&server), Time::default(), &Handle::current());
        House { pair, provider, server }
    }

    async fn says(&self, token: String, nonce: Option<&str>) -> Result<Known, Unproven> {
        let (nonce, access_token) = (nonce.map(|nonce| Secret::new(nonce.to_owned())), Secret::new(ACCESS.to_owned()));
        let expected = Expected { client_id: "sidegate", access_token: &access_token, nonce: nonce.as_ref() };
        verify(&self.provider, &Secret::new(token), expected, NOW).await
    }

    async fn of(&self, changes: Value) -> Result<Known, Unproven> {
        self.says(self.pair.token(r#"{"alg":"ES256","kid":"k1"}"#, &claims(changes)), Some("n-1")).await
    }
}

#[tokio::test]
async fn a_good_id_token_tells_who_signed_in_and_nothing_of_itself() {
    let house = House::new().await;
    let known = house.of(json!({"sid": "s", "acr": "gold", "scope": "admin", "client_id": "x"})).await.unwrap();
    assert_eq!((known.subject.as_str(), known.username.as_str()), ("u-17", "ana"));
    assert_eq!(known.auth_time, Some(NOW.minus(9)));
    let told: Vec<&str> = known.claims.keys().map(String::as_str).collect();
    assert_eq!(told, ["preferred_username", "email", "groups"]);
    let known = house.of(json!({"preferred_username": null, "auth_time": null})).await.unwrap();
    assert_eq!((known.username.as_str(), known.auth_time), ("ana@example.com", None));
    let known = house.of(json!({"preferred_username": "", "email": 3})).await.unwrap();
    assert_eq!(known.username, "u-17");
}

#[tokio::test]
async fn every_rule_that_is_broken_is_a_refusal() {
    let house = House::new().await;
    for (changes, why) in [
        (json!({"iss": "https://idp.test/"}), Unproven::Token(JwtError::WrongIssuer)),
        (json!({"aud": "other"}), Unproven::OtherClient),
        (json!({"aud": null}), Unproven::OtherClient),
        (json!({"aud": []}), Unproven::OtherClient),
        (json!({"aud": ["sidegate", "other"]}), Unproven::OtherClient),
        (json!({"aud": ["sidegate", "other"], "azp": "other"}), Unproven::OtherClient),
        (json!({"azp": "other"}), Unproven::OtherClient),
        (json!({"exp": NOW.0 - 120}), Unproven::Token(JwtError::Expired)),
        (json!({"exp": null}), Unproven::Token(JwtError::MissingClaim("exp"))),
        (json!({"iat": null}), Unproven::Token(JwtError::MissingClaim("iat"))),
        (json!({"iat": NOW.0 + 121}), Unproven::Token(JwtError::IssuedInFuture)),
        (json!({"nbf": NOW.0 + 121}), Unproven::Token(JwtError::NotYetValid)),
        (json!({"sub": null}), Unproven::Token(JwtError::MissingClaim("sub"))),
        (json!({"sub": ""}), Unproven::Token(JwtError::MissingClaim("sub"))),
        (json!({"sub": 17}), Unproven::Token(JwtError::InvalidClaim("sub"))),
        (json!({"nonce": null}), Unproven::Nonce),
        (json!({"nonce": "n-2"}), Unproven::Nonce),
        (json!({"nonce": ["n-1"]}), Unproven::Nonce),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), Unproven::AccessToken),
        (json!({"at_hash": 1}), Unproven::AccessToken),
        (json!({"auth_time": "yesterday"}), Unproven::Token(JwtError::InvalidClaim("auth_time"))),
    ] {
        assert_eq!(house.of(changes.clone()).await, Err(why), "{changes}");
    }
}

#[tokio::test]
async fn several_audiences_need_one_that_had_the_token_made() {
    let house = House::new().await;
    assert!(house.of(json!({"aud": ["other", "sidegate"], "azp": "sidegate"})).await.is_ok());
    assert!(house.of(json!({"aud": ["sidegate"]})).await.is_ok());
}

#[tokio::test]
async fn the_token_does_not_choose_how_it_is_verified() {
    let house = House::new().await;
    let good = claims(json!({}));
    let none = format!("{}.", crate::jose::testing::message(r#"{"alg":"none"}"#, &good));
    assert_eq!(house.says(none, None).await, Err(Unproven::Token(JwtError::AlgorithmNotAllowed)));
    for header in [r#"{"alg":"HS256","kid":"k1"}"#, r#"{"alg":"ES384","kid":"k1"}"#] {
        let token = house.pair.token(header, &good);
        assert_eq!(house.says(token, None).await, Err(Unproven::Token(JwtError::AlgorithmNotAllowed)));
    }
    let access = house.pair.token(r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#, &good);
    assert_eq!(house.says(access, None).await, Err(Unproven::Token(JwtError::TypeNotAccepted)));
    let forged = Pair::ec256().token(r#"{"alg":"ES256","kid":"k1"}"#, &good);
    assert_eq!(house.says(forged, None).await, Err(Unproven::Token(JwtError::BadSignature)));
    for odd in ["", "x", "a.b.c", "a.b.c.d.e"] {
        assert!(matches!(house.says(odd.to_owned(), None).await, Err(Unproven::Token(_))), "{odd}");
    }
}

#[tokio::test]
async fn the_access_token_that_came_along_is_held_against_the_digest_of_its_algorithm() {
    for (pair, header) in [
        (Pair::ec256(), r#"{"alg":"ES256","kid":"k1"}"#),
        (Pair::ed(), r#"{"alg":"EdDSA","kid":"k1"}"#),
        (Pair::rsa(), r#"{"alg":"PS256","kid":"k1"}"#),
    ] {
        let house = House { pair, ..House::new().await };
        house.server.reply("/jwks", Reply::Json(jwks(&[house.pair.jwk("k1")])));
        let provider = Provider::start(rules(&house.server), Time::default(), &Handle::current());
        let house = House { provider, ..house };
        let digest = match header.contains("EdDSA") {
            true => digest::digest(&digest::SHA512, ACCESS.as_bytes()),
            false => digest::digest(&digest::SHA256, ACCESS.as_bytes()),
        };
        let half = BASE64URL.encode(&digest.as_ref()[..digest.as_ref().len() / 2]);
        let token = house.pair.token(header, &claims(json!({"at_hash": half})));
        assert!(house.says(token, None).await.is_ok(), "{header}");
    }
}

#[tokio::test]
async fn keys_that_are_away_are_no_judgement_and_a_new_key_is_asked_for() {
    let house = House::new().await;
    house.of(json!({})).await.unwrap();
    let successor = Pair::ec256();
    house.server.reply("/jwks", Reply::Json(jwks(&[successor.jwk("k2")])));
    let token = successor.token(r#"{"alg":"ES256","kid":"k2"}"#, &claims(json!({})));
    assert!(house.says(token, None).await.is_ok());
    house.server.reply("/jwks", Reply::Status(500));
    let token = Pair::ec256().token(r#"{"alg":"ES256","kid":"k3"}"#, &claims(json!({})));
    assert_eq!(house.says(token, None).await, Err(Unproven::Undecided));
}

#[tokio::test]
async fn there_is_an_end_to_the_claims_that_a_session_keeps() {
    let house = House::new().await;
    let mut many = json!({"a_large": "x".repeat(9000)});
    for number in 0..100 {
        many[format!("b{number:03}")] = json!(number);
    }
    let known = house.of(many).await.unwrap();
    assert_eq!(known.claims.len(), 64);
    assert!(!known.claims.contains_key("a_large") && known.claims.contains_key("b000"));
}

#[tokio::test]
async fn a_provider_whose_clock_is_apart_is_believed_and_told_in_our_own_time() {
    let house = House::new().await;
    for there in [NOW.0 - 90, NOW.0 + 90] {
        let said = json!({"iat": there, "exp": there + 60, "auth_time": there - 9});
        let known = house.of(said).await.unwrap();
        assert_eq!(known.auth_time, Some(NOW.minus(9)), "{there}");
    }
}
