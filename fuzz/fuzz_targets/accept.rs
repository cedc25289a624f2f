//! `Accept`: the answer is in one of the four types, which does not hang on the order of what was asked for.
#![no_main]

use http::{HeaderValue, Request, header};
use libfuzzer_sys::fuzz_target;
use sidegate::{
    dialect::{consinco, xml},
    json,
    model::TokenError,
};
use sidegate_fuzz::endpoints;

fuzz_target!(|data: &[u8]| {
    // One strange byte makes a whole header unreadable, which is then as if it were not there.
    let is_plain = data.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e));
    for content_type in ["application/json", "text/json", "application/xml", "text/xml", "text/plain"] {
        let Some(chosen) = chosen(&[data], content_type) else { return };
        if !is_plain {
            continue;
        }
        let mut ranges: Vec<&[u8]> = data.split(|byte| *byte == b',').collect();
        assert_eq!(Some(&chosen), self::chosen(&ranges, content_type).as_ref(), "headers instead of commas");
        ranges.reverse();
        assert_eq!(Some(&chosen), self::chosen(&[&ranges.join(&b',')], content_type).as_ref(), "another order");
    }
});

/// What a refusal is answered in; `None` if no header can hold `accept`.
fn chosen(accept: &[&[u8]], content_type: &'static str) -> Option<String> {
    let mut head = Request::post("/").body(()).expect("a path").into_parts().0;
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for accept in accept {
        head.headers.append(header::ACCEPT, HeaderValue::from_bytes(accept).ok()?);
    }
    let answer = consinco::write_reply(&Err(TokenError::invalid_grant()), &head, &endpoints().consinco, "realm");
    let given = answer.headers()[header::CONTENT_TYPE].to_str().expect("one of four").to_owned();
    let known = ["application/json", "text/json", "application/xml", "text/xml"];
    let essence = given.strip_suffix("; charset=utf-8").expect("with a charset");
    assert!(known.contains(&essence), "{given}");
    let is_form_right = match essence.ends_with("xml") {
        true => xml::read(answer.body()).is_ok(),
        false => json::object(answer.body()).is_ok(),
    };
    assert!(is_form_right);
    Some(given)
}
