//! The strict reader of JSON: it says what a lax one says, or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sidegate::json;

fuzz_target!(|data: &[u8]| {
    let read = json::object(data);
    let flat = json::members(data).map(|members| members.to_map());
    assert_eq!(flat.as_ref().ok(), read.as_ref().ok(), "both readers take the same");
    let Ok(members) = read else { return };
    let lax: Value = serde_json::from_slice(data).expect("a lax reader takes more");
    let strict = Value::Object(members);
    assert_eq!(strict, lax);
    let written = strict.to_string();
    let again = json::object(written.as_bytes()).expect("what was written can be read");
    // A fraction may come back as its neighbour, which is printed in as many characters or one more.
    assert_eq!(Value::Object(again).to_string().len().abs_diff(written.len()) > 64, false);
});
