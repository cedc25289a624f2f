//! What is read from the wire, whatever stands there.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, header, request::Parts};
use proptest::prelude::*;

use super::{client::basic, form::Form, *};
use crate::model::ClientProof;

fn head(uri: &str, authorization: &[&[u8]]) -> Parts {
    let mut request = Request::post(uri).header(header::CONTENT_TYPE, FORM);
    for value in authorization {
        request = request.header(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn read(body: &str) -> Result<TokenRequest, TokenError> {
    read_request(&head("/t", &[]), body.as_bytes())
}

#[test]
fn what_belongs_to_another_grant_is_ignored() {
    let request =
        read("grant_type=client_credentials&client_id=a&code=c&refresh_token=r&username=u&password=p").unwrap();
    assert!(matches!(request.grant, Grant::ClientCredentials));
    let request = read("grant_type=authorization_code&client_id=a&code=c&scope=%22").unwrap();
    assert!(matches!(request.grant, Grant::AuthorizationCode { .. }) && request.scope.is_none());
}

#[test]
fn a_scope_is_separated_by_spaces_or_commas() {
    let scope = |text: &str| read(&format!("grant_type=client_credentials&client_id=a&scope={text}")).unwrap().scope;
    for text in ["a+b", "a,b", "a%2C+b", "+a++b,", "a,b,a"] {
        assert_eq!(scope(text).map(|scope| scope.to_string()).as_deref(), Some("a b"), "{text}");
    }
    assert_eq!(scope(""), None);
}

#[test]
fn a_scope_of_separators_alone_is_no_scope() {
    for text in ["+", ",", "%20,+"] {
        let asked = read(&format!("grant_type=client_credentials&client_id=a&scope={text}")).unwrap().scope;
        let narrower = read(&format!("grant_type=refresh_token&refresh_token=r&scope={text}")).unwrap().scope;
        assert_eq!((asked, narrower), (None, None), "{text}");
    }
}

#[test]
fn only_a_resource_may_be_repeated() {
    let request = read("grant_type=client_credentials&resource=a&resource=&resource=b").unwrap();
    assert_eq!(request.resources, ["a", "b"]);
    assert!(read("grant_type=client_credentials&audience=a&audience=b").is_err());
}

#[test]
fn a_name_may_be_written_in_another_way_and_is_still_the_same() {
    assert!(Form::read(b"scope=a&s%63ope=b").is_err_and(|malformed| malformed == Malformed::Repeated));
    assert!(Form::read(b"a=%ff").is_err_and(|malformed| malformed == Malformed::Encoding));
    assert!(Form::read(b"%e2%82=1&%ac=2").is_err_and(|malformed| malformed == Malformed::Encoding));
}

proptest! {
    #[test]
    fn no_form_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_request(&head("/t", &[]), &body);
        let _ = read_question(&head("/t", &[]), &body);
    }

    #[test]
    fn no_form_of_likely_parts_makes_the_reader_panic(
        parts in prop::collection::vec(
            (prop::sample::select(vec!["grant_type", "client_id", "client_secret", "code", "scope", "token", "resource"]),
             "[a-z%+&=,\\x00-\\xff]{0,8}"),
            0..8,
        ),
    ) {
        let body: Vec<String> = parts.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let _ = read_request(&head("/t", &[]), body.join("&").as_bytes());
    }

    #[test]
    fn no_header_makes_the_reader_panic(header in prop::collection::vec(0x20_u8..=0xff, 0..60)) {
        if let Ok(value) = HeaderValue::from_bytes(&header) {
            let _ = basic(&value);
        }
    }

    /// Whatever stands in the header, there is one reading of it: the secret that comes out, encoded again, is the only
    /// one that a client could have meant.
    #[test]
    fn basic_gives_back_what_was_encoded(id in "\\PC{1,12}", secret in "\\PC{0,12}") {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let value = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", encode(&id), encode(&secret))));
        let (read_id, read_secret) = basic(&HeaderValue::try_from(value).unwrap()).unwrap();
        prop_assert_eq!((read_id, read_secret.expose().clone()), (id, secret));
    }

    /// Of two secrets, wherever they stand, none is taken.
    #[test]
    fn two_secrets_are_never_accepted(
        first in "[a-z]{1,8}", second in "[a-z]{1,8}", places in prop::sample::subsequence(vec![0, 1, 2, 3], 2),
    ) {
        let pair = BASE64_STANDARD.encode(format!("app:{first}"));
        let by_header = format!("Basic {pair}");
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let mut body = "grant_type=client_credentials&client_id=app".to_owned();
        let mut headers: Vec<&[u8]> = Vec::new();
        for place in places {
            match place {
                0 => headers.push(by_header.as_bytes()),
                1 => body += &format!("&client_secret={second}"),
                2 => body += &format!("&client_assertion={first}&client_assertion_type={kind}"),
                _ => headers.push(b"Basic YTpi"),
            }
        }
        let error = read_request(&head("/t", &headers), body.as_bytes()).unwrap_err();
        prop_assert_eq!(error.code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn one_secret_is_read_as_it_was_sent(secret in "\\PC{1,20}") {
        let value: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let request = read(&format!("grant_type=client_credentials&client_id=app&client_secret={value}")).unwrap();
        let ClientProof::Secret(read) = request.client.proof else { panic!("no secret") };
        prop_assert_eq!(read.expose(), &secret);
    }
}
