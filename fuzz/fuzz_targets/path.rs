//! The canonical path: what is decided on is, byte for byte, what is forwarded, and stays what it is.
#![no_main]

use http::Uri;
use libfuzzer_sys::fuzz_target;
use sidegate::proxy::path::canonical;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = canonical(text) {
        check(path.as_str());
    }
    let Ok(uri) = text.parse::<Uri>() else { return };
    let Some(original) = uri.path_and_query() else { return };
    if let Ok(path) = canonical(original.path()) {
        let target = path.target(original, original.query()).expect("a canonical path is a target");
        assert_eq!((target.path(), target.query()), (path.as_str(), original.query()));
        // Off the wire once more, as the upstream reads it.
        let read: Uri = target.to_string().parse().expect("a target is one");
        assert_eq!(read.path(), path.as_str());
    }
});

fn check(path: &str) {
    let again = canonical(path).expect("a canonical path has a canonical form");
    assert_eq!(again.as_str(), path);
    assert!(path.starts_with('/'));
    assert!(path.bytes().all(|byte| (0x21..0x7f).contains(&byte) && !b"\\?#".contains(&byte)));
    assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
    for escape in path.split('%').skip(1) {
        let digits = escape.get(..2).expect("two digits");
        let byte = u8::from_str_radix(digits, 16).expect("hexadecimal");
        assert!(!digits.bytes().any(|digit| digit.is_ascii_lowercase()));
        assert!(byte >= 0x20 && byte != 0x7f && byte != b'\\');
        assert!(!byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte), "it needs no escape");
    }
    assert!(!again.is_plain() || !path.contains(['%', ';']) && !path.contains("//"));
}
