//! Whatever is written: what a public route lets through is a protected path to no upstream.

use proptest::prelude::*;

use super::tests::route;
use super::*;
use crate::proxy::path::canonical;

/// What an upstream may do to a path, written apart from `readings` and more simply. Each step takes text and gives
/// text; every sequence of the steps is some upstream.
const STEPS: [fn(&str) -> String; 8] = [
    // Decoding, byte by byte; bytes beyond ASCII become marks, which no protected name contains.
    |path| {
        let mut out = String::new();
        let mut rest = path;
        while let Some(char) = rest.chars().next() {
            rest = &rest[char.len_utf8()..];
            let value = rest.get(..2).filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
            match value.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(value) if char == '%' => {
                    out.push(if value < 128 { value as char } else { '¤' });
                    rest = &rest[2..];
                }
                _ => out.push(char),
            }
        }
        out
    },
    |path| path.replace('\\', "/"),
    |path| path.split('/').map(|s| s.split(';').next().unwrap()).collect::<Vec<_>>().join("/"),
    |path| {
        path.split('/')
            .map(|s| if s == ".." || s == "." { s } else { s.trim_end_matches(['.', ' ']) })
            .collect::<Vec<_>>()
            .join("/")
    },
    |path| path.split('/').map(|s| s.trim_end_matches(' ')).collect::<Vec<_>>().join("/"),
    |path| {
        let mut path = path.to_owned();
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        path
    },
    |path| path.split('\0').next().unwrap().to_owned(),
    |path| {
        let mut stack: Vec<&str> = Vec::new();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        for (at, segment) in segments.iter().enumerate() {
            let last = at + 1 == segments.len();
            match *segment {
                ".." => {
                    stack.pop();
                    if last {
                        stack.push("");
                    }
                }
                "." if last => stack.push(""),
                "." => {}
                other => stack.push(other),
            }
        }
        format!("/{}", stack.join("/"))
    },
];

const PROTECTED: [&str; 3] = ["/admin", "/API/v1", "/pub/private"];

fn is_protected(path: &str) -> bool {
    PROTECTED.iter().any(|prefix| {
        path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
    })
}

/// One piece of a hostile path.
fn piece() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["admin", "ADMIN", "api", "v1", "pub", "private", "x", "Pub", "ádmin"]);
    let glue = prop::sample::select(vec![
        "/", "//", "/./", "/../", "..", ".", ";", ";v=1", ";/", "..;/", "\\", "\0", " ", "./", " /", "/../../",
        "/..\\", "%", "é", "\u{ff0f}",
    ]);
    prop_oneof![3 => word.prop_map(str::to_owned), 3 => glue.prop_map(str::to_owned), 2 => Just("/".to_owned())]
}

/// `text` with the characters that the bits choose percent-encoded, in either case of the digits.
fn encode(text: &str, bits: u64) -> String {
    let mut out = String::new();
    for (at, byte) in text.bytes().enumerate() {
        let chosen = bits.rotate_right(at as u32 * 2) & 3;
        match chosen {
            0 if byte != b'/' => out.push_str(&format!("%{byte:02x}")),
            1 if b"\\\0 %;.".contains(&byte) || byte > 127 => out.push_str(&format!("%{byte:02X}")),
            _ if byte > 127 || byte == 0 || byte == b' ' => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(byte as char),
        }
    }
    out
}

fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec((piece(), any::<u64>(), 0..4_u8, any::<u64>()), 1..7);
    pieces.prop_map(|pieces| {
        let mut path = String::from("/");
        for (text, bits, rounds, again) in pieces {
            path.push_str(&match rounds {
                0 | 1 => text.chars().filter(|c| c.is_ascii_graphic()).collect(),
                2 => encode(&text, bits),
                // Twice: every percent sign of the first round is encoded in the second, and some more.
                _ => encode(&encode(&text, bits).replace('%', "%25"), again | again << 1 | 0xaaaa_aaaa_aaaa_aaaa),
            });
        }
        path
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn no_path_that_a_public_route_takes_is_a_protected_one_to_any_upstream(
        path in hostile(),
        orders in prop::collection::vec(prop::collection::vec(0..STEPS.len(), 1..9), 8),
        slashes: bool,
        narrow: bool,
    ) {
        let public = Route {
            allow_encoded_slashes: slashes,
            ..route("public", if narrow { &["/pub/*", "/x/*", "/{one}"] } else { &["/*"] }, None)
        };
        let protected: Vec<String> = PROTECTED.iter().flat_map(|p| [p.to_string(), format!("{p}/*")]).collect();
        let protected: Vec<&str> = protected.iter().map(String::as_str).collect();
        let routes = [public, route("protected", &protected, Some("a"))];
        let table = Routes::build(&routes).unwrap();
        let Ok(path) = canonical(&path) else { return Ok(()) };
        if table.find("h", &path, &Method::GET) != Ok(0) {
            return Ok(());
        }
        // Random orders, and the steps in their order once and twice.
        let straight: Vec<usize> = (0..STEPS.len()).chain(0..STEPS.len()).collect();
        for order in orders.iter().chain([&straight]) {
            let mut read = path.as_str().to_owned();
            prop_assert!(!is_protected(&read), "{read}");
            for &step in order {
                read = STEPS[step](&read);
                prop_assert!(!is_protected(&read), "{} is read as {read}", path.as_str());
            }
        }
    }

    #[test]
    fn what_a_token_for_one_route_opens_is_never_another(path in hostile(), order in prop::collection::vec(0..STEPS.len(), 1..9)) {
        let routes = [
            Route { allow_encoded_slashes: true, ..route("x", &["/x/*", "/{one}", "/pub/*"], Some("x")) },
            route("protected", &["/admin", "/admin/*", "/API/v1", "/API/v1/*", "/pub/private", "/pub/private/*"], Some("a")),
        ];
        let table = Routes::build(&routes).unwrap();
        let Ok(path) = canonical(&path) else { return Ok(()) };
        if table.find("h", &path, &Method::GET) == Ok(0) {
            let read = order.iter().fold(path.as_str().to_owned(), |read, &step| STEPS[step](&read));
            prop_assert!(!is_protected(&read), "{} is read as {read}", path.as_str());
        }
    }
}

#[test]
fn the_generator_finds_both_answers() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let routes = [route("public", &["/*"], None), route("protected", &["/admin", "/admin/*"], Some("a"))];
    let table = Routes::build(&routes).unwrap();
    let mut runner = TestRunner::deterministic();
    let (mut public, mut refused) = (0, 0);
    for _ in 0..2000 {
        let path = hostile().new_tree(&mut runner).unwrap().current();
        let Ok(path) = canonical(&path) else { continue };
        match table.find("h", &path, &Method::GET) {
            Ok(0) if !path.is_plain() => public += 1,
            Err(RouteError::Ambiguous) => refused += 1,
            _ => {}
        }
    }
    assert!(public > 50 && refused > 50, "{public} public, {refused} refused");
}
