//! A JWT that is taken apart: it has one spelling, and no key of ours believes it.
#![no_main]

use std::sync::OnceLock;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use libfuzzer_sys::fuzz_target;
use sidegate::{
    jose::{Claims, KeySet, peek, verify},
    json::Member,
    model::UnixTime,
};

fuzz_target!(|data: &[u8]| {
    // As it stands, and for what the fuzzer cannot spell itself: header and payload as their JSON, on a line each.
    let (header, payload) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let spelled = [header, payload.get(1..).unwrap_or_default(), b"signature"].map(|part| BASE64URL.encode(part));
    for token in [std::str::from_utf8(data).ok(), Some(&*spelled.join("."))].into_iter().flatten() {
        check(token);
    }
});

fn check(token: &str) {
    let Ok(peeked) = peek(token) else { return };
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    for part in parts {
        assert_eq!(BASE64URL.encode(BASE64URL.decode(part).expect("it was decoded")), part);
    }
    assert!(peeked.claims().get("iss").is_some_and(Member::is_string));
    assert_eq!(Some(peeked.issuer()), peeked.claims().get("iss").and_then(Member::as_str));

    let now = UnixTime(1_611_841_268);
    if let Ok(claims) = Claims::read(peeked.claims().clone()) {
        let _ = claims.check_times(now, std::time::Duration::from_secs(30));
        assert_eq!(claims.issuer(), Some(peeked.issuer()));
        assert!(claims.audiences().all(|audience| token.len() > audience.len()));
    }
    let issuer = verify::rules(&peeked.issuer().to_owned(), &["jwt", "at+jwt"], false);
    assert!(peeked.verify(&issuer, keys(), now).is_err(), "nobody can sign with these keys");
}

/// Keys of published examples (RFC 7517, appendix A.1; RFC 8037, appendix A.2).
fn keys() -> &'static KeySet {
    static KEYS: OnceLock<KeySet> = OnceLock::new();
    KEYS.get_or_init(|| KeySet::parse(include_bytes!("../seeds/jwks/examples.json")).expect("a key set").0)
}
