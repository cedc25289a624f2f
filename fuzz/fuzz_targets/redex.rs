//! `redex`: what was read can be said again, and what was heard can be written and heard again. Input: tests/golden.
#![no_main]

use http::{HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use sidegate::{
    config::{Envelope, NumberForm},
    dialect::{Dialect, Endpoint, Heard, redex},
    json,
    model::{TokenGrant, UnixTime},
};
use sidegate_fuzz::{File, assert_ends_no_session_in_trouble, assert_refusal, assert_same_request, endpoints};

fuzz_target!(|data: &[u8]| {
    let file = File::read(data);
    let mut head = file.request.parts();
    for endpoint in [Endpoint::Obtain, Endpoint::Renew] {
        match Dialect::Redex(endpoint).read_request(&head, file.request.body, endpoints()) {
            Ok(request) => {
                let said = redex::write_request(&request).expect("what was read can be said");
                assert_eq!(said.endpoint, endpoint);
                let again = Dialect::Redex(endpoint).read_request(&head, said.body(), endpoints());
                assert_same_request(&request, &again.expect("what was said can be read"));
            }
            Err(error) => {
                let answer = redex::write_reply(&Err(error.clone()), &endpoints().redex, "realm");
                assert_refusal(&error, &answer);
                let members = json::object(answer.body()).expect("an envelope");
                assert_eq!(members["StatusCode"], answer.status().as_u16());
            }
        }
        // The next time past the first look.
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }

    let (status, headers, body) = (file.answer.status(), &file.answer.headers, file.answer.body);
    let heard = redex::read_reply(&Heard { status, headers, body, asked: ASKED });
    assert_ends_no_session_in_trouble(status, &heard);
    if let Ok(grant) = heard {
        assert_is_heard_again(&grant);
    }
});

fn assert_is_heard_again(grant: &TokenGrant) {
    for envelope in [Envelope::Current, Envelope::Original] {
        for expires_in in [NumberForm::Text, NumberForm::Number] {
            let mut options = endpoints().redex.clone();
            (options.envelope, options.expires_in) = (envelope, expires_in);
            let answer = redex::write_reply(&Ok(grant.clone()), &options, "realm");
            let (status, headers, body) = (answer.status(), answer.headers(), answer.body());
            let again = redex::read_reply(&Heard { status, headers, body, asked: ASKED }).expect("what was written");
            assert!(again.access_token == grant.access_token && again.refresh_token == grant.refresh_token);
            assert_eq!((again.expires_in, &again.scope), (grant.expires_in, &grant.scope));
        }
    }
}

const ASKED: UnixTime = UnixTime(1_611_841_268);
