use http::{HeaderMap, header::RETRY_AFTER};
use serde_json::json;

use super::*;
use crate::model::{PresentedClient, RefreshForm, UnixTime};

const NOW: UnixTime = UnixTime(1_800_000_000);

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn request(grant: Grant, proof: ClientProof, by_header: bool) -> TokenRequest {
    TokenRequest {
        client: PresentedClient { id: Some("side gate".to_owned()), proof, by_header },
        grant,
        scope: Some(Scope::parse("openid orders").unwrap()),
        resources: Vec::new(),
        refresh_form: RefreshForm::Full,
    }
}

fn said(grant: Grant) -> Said {
    write_request(&request(grant, ClientProof::Secret(secret("s&=+%é")), false), &[("audience".into(), "a b".into())])
        .unwrap()
}

fn text(said: &Said) -> &str {
    std::str::from_utf8(said.body()).unwrap()
}

const PROOF: &str = "&audience=a+b&client_id=side+gate&client_secret=s%26%3D%2B%25%C3%A9";

#[test]
fn each_grant_is_said_as_rfc_6749_writes_it() {
    let (username, password) = ("ana & é".to_owned(), secret("p+w"));
    let typed = said(Grant::Password { username, password, company: None });
    let start = "grant_type=password&username=ana+%26+%C3%A9&password=p%2Bw&scope=openid+orders";
    assert_eq!(text(&typed), format!("{start}{PROOF}"));
    assert_eq!(typed.endpoint, Endpoint::Obtain);
    let own = said(Grant::ClientCredentials);
    assert_eq!(text(&own), format!("grant_type=client_credentials&scope=openid+orders{PROOF}"));
    // A refresh without a scope keeps it (section 6).
    let again = said(Grant::RefreshToken { token: secret("r/t~") });
    assert_eq!(text(&again), format!("grant_type=refresh_token&refresh_token=r%2Ft%7E{PROOF}"));
    assert_eq!(again.endpoint, Endpoint::Renew);
    let code = said(Grant::AuthorizationCode {
        code: secret("c"),
        redirect_uri: Some("https://us/cb".to_owned()),
        verifier: Some(secret("v")),
    });
    let start = "grant_type=authorization_code&code=c&redirect_uri=https%3A%2F%2Fus%2Fcb&code_verifier=v";
    assert_eq!(text(&code), format!("{start}{PROOF}"));
    let key = request(Grant::ApiKey { key: secret("k") }, ClientProof::None, false);
    assert_eq!(write_request(&key, &[]).unwrap_err(), CannotSay("an API key"));
}

#[test]
fn a_client_proves_itself_in_one_way_only() {
    let refresh = || Grant::RefreshToken { token: secret("r") };
    let by = |proof, by_header| write_request(&request(refresh(), proof, by_header), &[]).unwrap();
    let basic = by(ClientProof::Secret(secret("s:e+c é")), true);
    // Form-urlencoded before base64 (section 2.3.1).
    let pair = BASE64_STANDARD.encode("side+gate:s%3Ae%2Bc+%C3%A9");
    let value = basic.authorization.as_ref().unwrap();
    assert_eq!(value.to_str().unwrap(), format!("Basic {pair}"));
    assert!(value.is_sensitive());
    assert_eq!(text(&basic), "grant_type=refresh_token&refresh_token=r");
    let public = by(ClientProof::None, false);
    assert_eq!(text(&public), "grant_type=refresh_token&refresh_token=r&client_id=side+gate");
    let signed = by(ClientProof::Assertion(secret("a.b.c")), false);
    assert_eq!(
        text(&signed),
        "grant_type=refresh_token&refresh_token=r&client_id=side+gate&client_assertion_type=\
         urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c"
    );
    assert!(public.authorization.is_none() && signed.authorization.is_none());
    assert!(!format!("{basic:?}{public:?}{signed:?}").contains("a.b.c"));
}

fn heard(status: u16, body: &[u8]) -> Result<TokenGrant, TokenError> {
    heard_with(status, body, &HeaderMap::new())
}

fn heard_with(status: u16, body: &[u8], headers: &HeaderMap) -> Result<TokenGrant, TokenError> {
    read_reply(&Heard { status: StatusCode::from_u16(status).unwrap(), headers, body, asked: NOW })
}

#[test]
fn an_answer_is_read_as_leniently_as_is_safe() {
    let given = heard(
        200,
        b"\xef\xbb\xbf{\"access_token\":\"a\",\"token_type\":\"BEARER\",\"expires_in\":\"3600\",\"refresh_token\":\"r\",\
          \"id_token\":\"i\",\"scope\":\"x y\",\"more\":[{}]}",
    )
    .unwrap();
    assert_eq!(given.access_token, secret("a"));
    assert_eq!((given.refresh_token, given.id_token), (Some(secret("r")), Some(secret("i"))));
    assert_eq!((given.expires_in, given.issued, given.scope.to_string().as_str()), (3600, NOW, "x y"));
    let bare = heard(200, br#"{"access_token":"a","refresh_token":"","scope":"\u0007"}"#).unwrap();
    assert_eq!((bare.expires_in, bare.refresh_token, bare.scope.is_empty()), (LIFETIME, None, true));
    for odd in ["-5", "1e3", "null", "\"soon\"", "[1]", "3600.5"] {
        let body = format!(r#"{{"access_token":"a","expires_in":{odd}}}"#);
        assert_eq!(heard(200, body.as_bytes()).unwrap().expires_in, LIFETIME, "{odd}");
    }
}

#[test]
fn only_a_clear_refusal_of_what_was_presented_is_invalid_grant() {
    let json = |error: &str| json!({"error": error, "error_description": "secret-canary"}).to_string();
    let html = "<html><h1>Sorry: invalid_grant</h1>".to_owned();
    for (status, body, code) in [
        (400, json("invalid_grant"), ErrorCode::InvalidGrant),
        (401, json("invalid_grant"), ErrorCode::InvalidGrant),
        (403, json("invalid_grant"), ErrorCode::InvalidGrant),
        (400, json("invalid_client"), ErrorCode::InvalidClient),
        (401, json("nobody_knows"), ErrorCode::InvalidClient),
        (401, html.clone(), ErrorCode::InvalidClient),
        (400, json("nobody_knows"), ErrorCode::InvalidRequest),
        (400, html.clone(), ErrorCode::InvalidRequest),
        (404, html.clone(), ErrorCode::InvalidRequest),
        (400, String::new(), ErrorCode::InvalidRequest),
        (429, json("invalid_grant"), ErrorCode::TemporarilyUnavailable),
        (500, json("invalid_grant"), ErrorCode::ServerError),
        (502, html.clone(), ErrorCode::TemporarilyUnavailable),
        (503, json("invalid_grant"), ErrorCode::TemporarilyUnavailable),
        (504, String::new(), ErrorCode::TemporarilyUnavailable),
        (200, html, ErrorCode::ServerError),
        (200, json("invalid_grant"), ErrorCode::ServerError),
        (200, String::new(), ErrorCode::ServerError),
        (200, r#"{"access_token":"a","access_token":"b"}"#.to_owned(), ErrorCode::ServerError),
        (200, r#"{"access_token":7}"#.to_owned(), ErrorCode::ServerError),
        (200, r#"{"access_token":""}"#.to_owned(), ErrorCode::ServerError),
        (200, r#"{"access_token":"a","token_type":"DPoP"}"#.to_owned(), ErrorCode::ServerError),
        (200, "[".repeat(100_000), ErrorCode::ServerError),
    ] {
        let error = heard(status, body.as_bytes()).unwrap_err();
        assert_eq!(error.code, code, "{status} {}", &body[..body.len().min(80)]);
        assert!(!format!("{error:?}").contains("canary"), "what it says is not ours to repeat");
    }
}

#[test]
fn a_wish_to_be_left_alone_is_passed_on_within_an_hour() {
    for (said, seconds) in [("7", 7), ("0", 1), ("99999999999", 3600), ("tomorrow", 10), ("-3", 10)] {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, said.parse().unwrap())]);
        assert_eq!(heard_with(429, b"", &headers).unwrap_err().throttled, Some(seconds), "{said}");
        let error = heard_with(503, b"", &headers).unwrap_err();
        let said_so = said.parse::<u64>().is_ok().then_some(seconds);
        assert_eq!((error.throttled, error.retry_after), (None, said_so), "{said}");
    }
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(status in 100_u16..600, body in ".{0,200}") {
        let _ = heard(status, body.as_bytes());
    }
}
