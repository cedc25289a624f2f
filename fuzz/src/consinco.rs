//! `consinco`, whose two forms are two targets: what was read can be said again, and what was heard can be written and
//! heard again.

use http::{HeaderValue, Response, header, request::Parts};
use sidegate::{
    config::{Format, JsonNames},
    dialect::{
        Content, Dialect, Endpoint, Heard,
        consinco::{self, Speech},
    },
    model::{TokenError, TokenGrant, UnixTime},
};

use crate::{File, assert_ends_no_session_in_trouble, assert_refusal, assert_same_request, endpoints};

/// `data` as one of tests/golden/consinco; `media` is what the body is taken for, whatever is said of it.
pub fn check(data: &[u8], media: &'static str) {
    let file = File::read(data);
    let mut head = file.request.parts();
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    for endpoint in [Endpoint::Obtain, Endpoint::Renew] {
        check_request(endpoint, &head, file.request.body);
    }
    let (status, headers, body) = (file.answer.status(), &file.answer.headers, file.answer.body);
    let heard = consinco::read_reply(&Heard { status, headers, body, asked: ASKED });
    assert_ends_no_session_in_trouble(status, &heard);
    if let Ok(grant) = heard {
        for (media, names) in [
            ("application/json", JsonNames::Documented),
            ("application/json", JsonNames::BackingFields),
            ("text/xml", JsonNames::Documented),
        ] {
            assert_is_heard_again(&grant, media, names);
        }
    }
}

fn check_request(endpoint: Endpoint, head: &Parts, body: &[u8]) {
    let options = &endpoints().consinco;
    match Dialect::Consinco(endpoint).read_request(head, body, endpoints()) {
        Ok(request) => {
            // XML cannot hold every text; what was read from XML it can.
            let is_xml = head.headers[header::CONTENT_TYPE] == "application/xml";
            let formats = if is_xml { &[Format::Json, Format::Xml][..] } else { &[Format::Json] };
            for format in formats {
                let said = consinco::write_request(&request, &Speech { format: *format, company: None });
                let said = said.expect("what was read can be said");
                assert_eq!(said.endpoint, endpoint);
                let mut head = head.clone();
                if let Content::Body { content_type, .. } = &said.content {
                    head.headers.insert(header::CONTENT_TYPE, content_type.clone());
                }
                let again = Dialect::Consinco(endpoint).read_request(&head, said.body(), endpoints());
                assert_same_request(&request, &again.expect("what was said can be read"));
            }
        }
        Err(error) => {
            let answer = consinco::write_reply(&Err(error.clone()), head, options, "realm");
            assert_refusal(&error, &answer);
        }
    }
}

/// What is made of a grant the second time is, byte for byte, what was made of it the first time.
fn assert_is_heard_again(grant: &TokenGrant, media: &'static str, names: JsonNames) {
    let write = |grant: &TokenGrant| written(grant, media, names);
    let hear = |answer: &Response<_>| heard(answer).expect("what was written can be read");
    let first = write(grant);
    let once = hear(&first);
    let second = write(&once);
    assert_eq!(first.body(), second.body());
    if media == "application/json" {
        assert!(once.access_token == grant.access_token && once.refresh_token == grant.refresh_token);
        assert_eq!((once.expires_in, once.auth_time), (grant.expires_in, grant.auth_time));
    }
}

fn written(grant: &TokenGrant, media: &'static str, names: JsonNames) -> Response<Vec<u8>> {
    let mut head = http::Request::post("/").body(()).expect("a path").into_parts().0;
    head.headers.insert(header::ACCEPT, HeaderValue::from_static(media));
    let mut options = endpoints().consinco.clone();
    options.json_names = names;
    consinco::write_reply(&Ok(grant.clone()), &head, &options, "realm").map(|body| body.to_vec())
}

fn heard(answer: &Response<Vec<u8>>) -> Result<TokenGrant, TokenError> {
    let (status, headers, body) = (answer.status(), answer.headers(), answer.body());
    consinco::read_reply(&Heard { status, headers, body, asked: ASKED })
}

const ASKED: UnixTime = UnixTime(1_611_841_268);
