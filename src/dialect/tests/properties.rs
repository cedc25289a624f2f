//! No bytes make a reader panic, and what is written in a dialect is read back.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, StatusCode, header, request::Parts};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::sample;
use crate::{
    config::{Envelope, JsonNames, NumberForm},
    dialect::{Content, Endpoint, Heard, Said, consinco, redex, xml},
    model::{
        ClientProof, ErrorCode, Grant, PresentedClient, RefreshForm, Scope, Secret, TokenError, TokenGrant,
        TokenRequest,
    },
};

const TYPES: [&str; 5] = ["application/json", "text/json", "application/xml", "text/xml", "text/plain"];
const ENDPOINTS: [Endpoint; 2] = [Endpoint::Obtain, Endpoint::Renew];

/// Bytes that get past the first look of a reader more often than any bytes do.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\\u00",
        "null",
        "1e9",
        "\"Data\":",
        "\"AccessToken\":",
        "\"ApiKey\":",
        "\"ExpiresIn\":",
        "\"StatusCode\":",
        "\"Errors\":",
        "\"refresh_token\":",
        "\"access_token\":",
        "\"error\":",
        "<",
        ">",
        "/",
        "</",
        "/>",
        "&",
        ";",
        "&#",
        "&lt;",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?xml ",
        "?>",
        "<!DOCTYPE ",
        " xmlns=\"",
        " xmlns:i=\"",
        " i:nil=\"true\"",
        "ConsincoRefreshTokenBindingModel",
        "TokenResponse",
        "Refreshtoken",
        "http://schemas.datacontract.org/2004/07/AuthenticationServer.Models",
        "é",
        "\u{0}",
        "\u{feff}",
        " ",
    ];
    let piece = prop_oneof![
        4 => select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..8),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn head(content_type: &str, accept: Option<&str>) -> Parts {
    let request = Request::post("/").header(header::CONTENT_TYPE, content_type);
    let request = accept.into_iter().fold(request, |request, accept| request.header(header::ACCEPT, accept));
    request.body(()).unwrap().into_parts().0
}

fn said_head(said: &Said) -> Parts {
    let Content::Body { content_type, .. } = &said.content else { panic!("a GET") };
    head(content_type.to_str().unwrap(), Some(said.accept.to_str().unwrap()))
}

/// Any text; XML cannot hold some of the control characters.
fn texts() -> impl Strategy<Value = String> {
    "[ -~\t\r\né漢😀<>&\"']{1,36}"
}

fn request(client: &str, grant: Grant) -> TokenRequest {
    let proof = ClientProof::Secret(Secret::new("s".into()));
    let client = PresentedClient { id: Some(client.into()), proof, by_header: false };
    TokenRequest { client, grant, refresh_form: RefreshForm::Full, scope: None, resources: Vec::new() }
}

/// The texts of a grant, for comparison: secrets do not print.
fn parts(grant: &Grant) -> [Option<String>; 3] {
    match grant {
        Grant::Password { username, password, company } => {
            [Some(username.clone()), Some(password.expose().clone()), company.clone()]
        }
        Grant::RefreshToken { token } => [Some(token.expose().clone()), None, None],
        Grant::ApiKey { key } => [None, Some(key.expose().clone()), None],
        Grant::AuthorizationCode { .. } | Grant::ClientCredentials => [None, None, None],
    }
}

fn errors() -> impl Strategy<Value = TokenError> {
    let throttled = option::of(1_u64..100);
    (select(ErrorCode::ALL.to_vec()), throttled)
        .prop_map(|(code, throttled)| TokenError { throttled, ..TokenError::new(code) })
}

fn grants() -> impl Strategy<Value = TokenGrant> {
    (texts(), option::of(texts()), 0_u64..10_000_000, texts(), any::<i64>(), any::<bool>()).prop_map(
        |(access, refresh, expires_in, text, number, truth)| {
            let claims = [
                ("email", text.clone().into()),
                ("user_id", number.into()),
                ("external", truth.into()),
                ("shop", text.into()),
            ];
            TokenGrant {
                access_token: Secret::new(access),
                refresh_token: refresh.map(Secret::new),
                expires_in,
                claims: Arc::new(claims.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()),
                ..sample::grant(None)
            }
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(body in bodies(), media in select(TYPES.to_vec()), accept in "[ -~]{0,40}", status in 100_u16..600) {
        let head = head(media, Some(&accept));
        for endpoint in ENDPOINTS {
            let _ = redex::read_request(endpoint, &head, &body, &sample::redex());
            let read = consinco::read_request(endpoint, &head, &body, &sample::consinco());
            if let Err(error) = read {
                let answer = consinco::write_reply(&Err(error), &head, &sample::consinco(), "realm");
                prop_assert!(answer.status().is_client_error());
            }
        }
        let headers = HeaderMap::new();
        let heard = Heard { status: StatusCode::from_u16(status).unwrap(), headers: &headers, body: &body, asked: sample::ISSUED };
        let _ = redex::read_reply(&heard);
        let _ = consinco::read_reply(&heard);
        let _ = xml::read(&body);
    }

    #[test]
    fn only_a_clear_refusal_ends_a_session(body in bodies(), status in 100_u16..600) {
        let headers = HeaderMap::new();
        let heard = Heard { status: StatusCode::from_u16(status).unwrap(), headers: &headers, body: &body, asked: sample::ISSUED };
        for error in [redex::read_reply(&heard).err(), consinco::read_reply(&heard).err()].into_iter().flatten() {
            if heard.status.is_server_error() || status == 429 {
                prop_assert_ne!(error.code, ErrorCode::InvalidGrant);
            }
        }
    }

    #[test]
    fn a_request_that_is_said_is_read_back(client in texts(), one in texts(), two in texts(), three in texts(), xml in any::<bool>()) {
        let token = || Grant::RefreshToken { token: Secret::new(one.clone()) };
        for grant in [token(), Grant::ApiKey { key: Secret::new(one.clone()) }] {
            let request = request(&client, grant);
            let said = redex::write_request(&request).unwrap();
            let read = redex::read_request(said.endpoint, &said_head(&said), said.body(), &sample::redex()).unwrap();
            prop_assert_eq!(parts(&read.grant), parts(&request.grant));
            prop_assert_eq!(read.client.id, request.client.id);
        }
        let format = if xml { crate::config::Format::Xml } else { crate::config::Format::Json };
        let speech = consinco::Speech { format, company: Some(three) };
        let password = Grant::Password { username: one.clone(), password: Secret::new(two), company: None };
        for grant in [token(), password] {
            let request = request(&client, grant);
            let said = consinco::write_request(&request, &speech).unwrap();
            let options = sample::consinco();
            let read = consinco::read_request(said.endpoint, &said_head(&said), said.body(), &options).unwrap();
            let mut expected = parts(&request.grant);
            if said.endpoint == Endpoint::Obtain {
                expected[2].clone_from(&speech.company);
            }
            prop_assert_eq!(parts(&read.grant), expected);
            prop_assert_eq!(read.client.id, Some(options.client));
        }
    }

    #[test]
    fn a_grant_that_is_written_is_read_back(
        grant in grants(), original in any::<bool>(), number in any::<bool>(), backing in any::<bool>(),
        accept in select(TYPES.to_vec()),
    ) {
        let mut options = sample::redex();
        options.envelope = if original { Envelope::Original } else { Envelope::Current };
        options.expires_in = if number { NumberForm::Number } else { NumberForm::Text };
        let answer = redex::write_reply(&Ok(grant.clone()), &options, "realm");
        let hear = |answer: &http::Response<bytes::Bytes>| (answer.status(), answer.headers().clone(), answer.body().clone());
        let (status, headers, body) = hear(&answer);
        let read = redex::read_reply(&Heard { status, headers: &headers, body: &body, asked: sample::ISSUED }).unwrap();
        prop_assert!(read.access_token == grant.access_token && read.refresh_token == grant.refresh_token);
        prop_assert_eq!((read.expires_in, &read.scope), (grant.expires_in, &grant.scope));

        let mut options = sample::consinco();
        options.json_names = if backing { JsonNames::BackingFields } else { JsonNames::Documented };
        let answer = consinco::write_reply(&Ok(grant.clone()), &head("application/json", Some(accept)), &options, "realm");
        let (status, headers, body) = hear(&answer);
        let read = consinco::read_reply(&Heard { status, headers: &headers, body: &body, asked: sample::ISSUED }).unwrap();
        prop_assert!(read.access_token == grant.access_token && read.refresh_token == grant.refresh_token);
        prop_assert_eq!((read.expires_in, read.auth_time), (grant.expires_in, grant.auth_time));
        prop_assert_eq!(read.scope, Scope::default());
        for (member, claim) in [("username", "email"), ("id", "user_id"), ("isExt", "external"), ("company", "shop")] {
            prop_assert_eq!(read.claims.get(member), grant.claims.get(claim));
        }
    }

    #[test]
    fn a_code_that_an_answer_names_is_read_back(error in errors()) {
        let answer = redex::write_reply(&Err(error.clone()), &sample::redex(), "realm");
        let (head, body) = answer.into_parts();
        let heard = Heard { status: head.status, headers: &head.headers, body: &body, asked: sample::ISSUED };
        let read = redex::read_reply(&heard).unwrap_err();
        prop_assert_eq!(read.throttled, error.throttled);
        if error.throttled.is_none() {
            prop_assert_eq!(read.code, error.code);
        }
    }
}

fn refused(read: fn(&Heard<'_>) -> Result<TokenGrant, TokenError>, media: &'static str, body: &str) -> ErrorCode {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media))]);
    let heard =
        Heard { status: StatusCode::UNAUTHORIZED, headers: &headers, body: body.as_bytes(), asked: sample::ISSUED };
    read(&heard).unwrap_err().code
}

#[test]
fn a_page_that_a_gateway_sends_with_a_401_ended_sessions() {
    for page in ["<html><h1>401</h1></html>", "<!doctype html>", "", "nginx"] {
        for media in ["text/html", "Text/HTML; charset=utf-8"] {
            assert_ne!(refused(consinco::read_reply, media, page), ErrorCode::InvalidGrant, "{page}");
            assert_ne!(refused(redex::read_reply, media, page), ErrorCode::InvalidGrant, "{page}");
        }
    }
    assert_ne!(refused(redex::read_reply, "text/plain", "Unauthorized"), ErrorCode::InvalidGrant);
    for (media, body) in [("application/json", "{}"), ("application/xml", "<Error/>"), ("text/plain", "")] {
        assert_eq!(refused(consinco::read_reply, media, body), ErrorCode::InvalidGrant, "{body}");
    }
    let original = r#"{"Data":null,"StatusCode":401,"Errors":{},"Meta":null,"Message":"Unauthorized"}"#;
    assert_eq!(refused(redex::read_reply, "application/json", original), ErrorCode::InvalidGrant);
}
