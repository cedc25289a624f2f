//! The answer of an authority that speaks `oauth2`: what was heard can be written and heard again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidegate::{
    dialect::{Heard, oauth2},
    model::UnixTime,
};
use sidegate_fuzz::{Message, assert_ends_no_session_in_trouble};

fuzz_target!(|data: &[u8]| {
    let message = Message::read(data);
    let (status, headers, body) = (message.status(), &message.headers, message.body);
    let heard = oauth2::read_reply(&Heard { status, headers, body, asked: ASKED });
    assert_ends_no_session_in_trouble(status, &heard);
    if let Ok(grant) = heard {
        let answer = oauth2::write_grant(&grant);
        let (status, headers, body) = (answer.status(), answer.headers(), answer.body());
        let again = oauth2::read_reply(&Heard { status, headers, body, asked: ASKED }).expect("what was written");
        assert!(again.access_token == grant.access_token && again.refresh_token == grant.refresh_token);
        assert!(again.id_token == grant.id_token);
        assert_eq!((again.expires_in, again.scope), (grant.expires_in, grant.scope));
    }
});

const ASKED: UnixTime = UnixTime(1_611_841_268);
