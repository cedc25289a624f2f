use proptest::prelude::*;

use super::*;

fn ok(path: &str) -> String {
    canonical(path).unwrap().as_str().to_owned()
}

fn err(path: &str) -> PathError {
    canonical(path).unwrap_err()
}

#[test]
fn an_ordinary_path_is_borrowed_and_plain() {
    for path in ["/", "/orders/42", "/.well-known/x.json", "/a.b/c-d_e~f", "/a/b/", "/a,b/@me:1/$x!*'()+="] {
        let canonical = canonical(path).unwrap();
        assert!(matches!(canonical.text, Cow::Borrowed(_)), "{path}");
        assert!(canonical.is_plain(), "{path}");
        assert_eq!(canonical.as_str(), path);
    }
}

#[test]
fn equal_paths_become_the_same_bytes() {
    for (written, meant) in [
        ("/%6frders", "/orders"),
        ("/%7Ejoe", "/~joe"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%2fb", "/a%2Fb"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a/..", "/"),
        ("/.", "/"),
        ("/a//../b", "/a/b"),
        ("/a%2eb", "/a.b"),
        ("/a/...", "/a/..."),
        ("/%252e", "/%252e"),
        ("/%25%32%65", "/%252e"),
    ] {
        assert_eq!(ok(written), meant, "{written}");
    }
}

#[test]
fn what_has_no_one_meaning_is_refused() {
    use PathError::*;
    for (path, why) in [
        ("", Empty),
        ("*", NotAbsolute),
        ("orders", NotAbsolute),
        ("http://a/b", NotAbsolute),
        ("/a?b", StrayDelimiter),
        ("/a#b", StrayDelimiter),
        ("/%", MalformedEscape),
        ("/%4", MalformedEscape),
        ("/%zz", MalformedEscape),
        ("/%u002e", MalformedEscape),
        ("/%+1", MalformedEscape),
        ("/..", DotSegmentAboveRoot),
        ("/a/../../b", DotSegmentAboveRoot),
        ("/%2e%2e/b", EncodedDotSegment),
        ("/a/%2E", EncodedDotSegment),
        ("/a/.%2e/b", EncodedDotSegment),
        ("/a\\b", Backslash),
        ("/a%5cb", Backslash),
        ("/a%00", ControlCharacter),
        ("/a%0d%0ab", ControlCharacter),
        ("/a%7f", ControlCharacter),
        ("/a\tb", ControlCharacter),
        ("/a b", ControlCharacter),
        ("/é", NonAscii),
        ("/%c0%af", InvalidUtf8),
        ("/%e0%80%af", InvalidUtf8),
        ("/%ff", InvalidUtf8),
        ("/%c3/%a9", InvalidUtf8),
        ("/%ed%a0%80", InvalidUtf8),
    ] {
        assert_eq!(err(path), why, "{path:?}");
        assert!(why.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()));
    }
    assert_eq!(err(&format!("/{}", "a".repeat(MAX_PATH))), TooLong);
}

#[test]
fn what_a_lax_upstream_may_read_otherwise_is_not_plain() {
    for path in ["/a%20b", "/a;b", "/a//b", "/a./b", "/a.", "//", "/a%2Fb", "/..."] {
        assert!(!canonical(path).unwrap().is_plain(), "{path}");
    }
    assert!(canonical("/a%2fb").unwrap().has_encoded_slash());
    assert!(!canonical("/a%252Fb").unwrap().has_encoded_slash());
    assert!(canonical("/Orders").unwrap().has_uppercase());
}

#[test]
fn the_target_keeps_the_query_as_it_was() {
    let original: PathAndQuery = "/a/../b?x=%2e%2E&y=/../".parse().unwrap();
    let path = canonical(original.path()).unwrap();
    assert_eq!(path.target(&original, original.query()).unwrap().as_str(), "/b?x=%2e%2E&y=/../");
    assert_eq!(path.target(&original, None).unwrap().as_str(), "/b");
    assert_eq!(path.target(&original, Some("")).unwrap().as_str(), "/b?");
}

#[test]
fn a_query_with_control_bytes_does_not_even_parse() {
    for target in ["/a?b\0", "/a?b\r\n", "/a?\x7f", "/a? b"] {
        assert!(PathAndQuery::try_from(target).is_err(), "{target:?}");
    }
}

proptest! {
    #[test]
    fn canonical_is_idempotent(path in "/([a-zA-Z.;/]|%2[eEfF5]|%[46][0-9a-f]|%c3%a9|%5[cC]){0,24}") {
        if let Ok(once) = canonical(&path) {
            let twice = canonical(once.as_str()).unwrap();
            prop_assert_eq!(twice.as_str(), once.as_str());
            prop_assert_eq!(twice.traits, once.traits);
        }
    }

    #[test]
    fn nothing_makes_it_panic(path in ".{0,40}") {
        let _ = canonical(&path);
    }
}
