//! Hosts and paths of a route. What two routes have in common is found where routes are matched.

use percent_encoding::percent_decode_str;

use crate::config::check::{section::Section, urls};

/// `/literal`, `{segment}` for one segment, and a trailing `/*` for everything below.
pub(super) fn path(pattern: &str, section: &Section<'_>) -> Option<String> {
    let fault = fault(pattern);
    if let Some(fault) = &fault {
        section.problem(
            format!("{} {fault}", section.shown(pattern)),
            "write for example /orders, /orders/{id} or \"/orders/*\"",
        );
    }
    fault.is_none().then(|| pattern.to_owned())
}

fn fault(pattern: &str) -> Option<String> {
    // What stands in braces and the last star are not literal; the rest must be a canonical path.
    let literal_end = pattern.strip_suffix("/*").unwrap_or(pattern);
    let mut literal = Vec::new();
    let mut names = Vec::new();
    for segment in literal_end.split('/') {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = name {
            let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !good {
                return Some("has braces that hold no name".into());
            }
            if names.contains(&name) {
                return Some("has the same name in braces twice".into());
            }
            names.push(name);
            literal.push("x");
            continue;
        }
        if segment.contains(['{', '}']) {
            return Some("has braces within a segment; {name} stands for a whole one".into());
        }
        if segment.contains('*') {
            return Some("has a * elsewhere than as its last segment".into());
        }
        literal.push(segment);
    }
    if literal.iter().any(|segment| is_ambiguous(segment)) {
        return Some("has a character that servers read in different ways, plain or escaped".into());
    }
    let literal = literal.join("/");
    if literal.is_empty() && pattern.ends_with("/*") {
        return None; // "/*" itself
    }
    urls::literal_path_fault(&literal)
}

/// To some servers `;` begins a parameter, `%2F` is a slash, and a dot or a space at the end is not there.
fn is_ambiguous(segment: &str) -> bool {
    if matches!(segment, "." | "..") {
        return false; // that has words of its own
    }
    let meant: Vec<u8> = percent_decode_str(segment).collect();
    let escapes_are_canonical = !segment.contains('%') || urls::literal_path_fault(&format!("/{segment}")).is_none();
    escapes_are_canonical
        && (meant.ends_with(b".")
            || meant.ends_with(b" ")
            || meant.iter().any(|byte| b";/%\\".contains(byte))
            || (segment.contains('%') && meant.iter().any(|byte| b"?#".contains(byte)))
            || std::str::from_utf8(&meant).is_err())
}

/// A name in lower case, or `*.` and a name.
pub(super) fn host(text: &str, section: &Section<'_>) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let good = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok() && name == lower,
        None => {
            name.len() <= 253
                && name.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                })
        }
    };
    if !good {
        let remedy = if text.contains(':') && address.is_none() {
            "leave the port out; it is not compared"
        } else {
            "write for example api.example.com or \"*.example.com\""
        };
        section.problem(format!("{} is not the name of a host", section.shown(text)), remedy);
    }
    good.then_some(lower)
}
