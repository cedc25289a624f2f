//! URLs and paths.

use url::{Host, Url};

use super::section::Section;

/// A URL that secrets or keys travel to: https, or http on this machine.
pub(super) fn trusted(text: &str, section: &Section<'_>) -> Option<Url> {
    let url = web(text, section)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        section.problem(
            format!(
                "{} is not https, so whoever is in between could exchange what is read from it",
                section.shown(text)
            ),
            "use https; http is accepted on this machine only",
        );
        return None;
    }
    Some(url)
}

/// An http or https URL with nothing in it that is not sent as part of its request line.
pub(super) fn web(text: &str, section: &Section<'_>) -> Option<Url> {
    let url = match Url::parse(text) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => url,
        _ => {
            section.problem(format!("{} is not an https URL", section.shown(text)), "");
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        section.problem("a URL must not carry a user or a password", "");
        return None;
    }
    if url.fragment().is_some() {
        section.problem("a fragment (#…) is never sent", "leave it out");
        return None;
    }
    Some(url)
}

/// Whether secrets and keys may travel to `url`, wherever it was read: https, or http on this machine, and nothing in it
/// that is not sent as part of its request line.
pub fn is_trusted(url: &Url) -> bool {
    let secure = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url),
        _ => false,
    };
    secure && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

/// True if the host of `url` is this machine by its address or as `localhost`.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// A path that is served or asked. Outside, `None` if it is wrong; inside, `None` if it is switched off.
pub(super) fn path(
    key: &'static str,
    given: Option<&String>,
    default: &str,
    section: &Section<'_>,
) -> Option<Option<String>> {
    let path = given.map_or(default, String::as_str);
    if path == "off" {
        return Some(None);
    }
    match literal_path_fault(path) {
        None => Some(Some(path.to_owned())),
        Some(fault) => {
            section.key(key).problem(format!("{} {fault}", section.shown(path)), "");
            None
        }
    }
}

/// What is wrong with `path` as a literal path in its one canonical spelling, if anything is.
///
/// It is what a request path is compared with after it was made canonical (RFC 3986, section 6.2.2), so any other
/// spelling would never match.
pub(super) fn literal_path_fault(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some("does not start with /".into());
    }
    if path.contains(['?', '#']) {
        return Some("has a query or a fragment; only paths are compared".into());
    }
    if path.contains("//") {
        return Some("has an empty segment (//)".into());
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Some("has a dot segment, which no canonical path has".into());
    }
    escape_fault(path)
}

/// Escapes stand in capitals, and only for what cannot stand for itself.
fn escape_fault(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            if !(byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)) {
                let shown = path[at..].chars().next().unwrap_or('�');
                return Some(format!("has {shown:?}, which stands in a path only as a percent escape"));
            }
            at += 1;
            continue;
        }
        let digits = path.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(digits) = digits else {
            return Some("has a % without two hexadecimal digits".into());
        };
        let decoded = u8::from_str_radix(digits, 16).unwrap_or(b'%');
        if decoded.is_ascii_alphanumeric() || b"-._~".contains(&decoded) {
            return Some(format!("has %{digits}, which is written {:?}", char::from(decoded)));
        }
        if digits.bytes().any(|b| b.is_ascii_lowercase()) {
            return Some(format!("has %{digits}, which is written %{}", digits.to_ascii_uppercase()));
        }
        if decoded < 0x20 || decoded == 0x7f {
            return Some(format!("has %{digits}, a control character, which is refused"));
        }
        at += 3;
    }
    None
}
