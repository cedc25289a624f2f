//! What must not be shown, by the name of its key, by its form and by where it came from.

use super::{
    place::{KeyPath, Segment},
    tree::Node,
};

/// `text` in quotes (a number without), or words in its place if it must not be shown.
pub(super) fn shown(text: &str, path: &KeyPath, node: &Node) -> String {
    const LONGEST: usize = 80;
    if hides(text, path, node) {
        return "the value".into();
    }
    if text.len() <= LONGEST && text.parse::<f64>().is_ok_and(f64::is_finite) {
        return text.into();
    }
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// True if `text`, the value at `path`, must not be shown.
pub(super) fn hides(text: &str, path: &KeyPath, node: &Node) -> bool {
    node.untyped || is_secret(path) || looks_secret(text)
}

/// True if the key of the value, or of a section around it, says that this is a secret.
pub(super) fn is_secret(path: &KeyPath) -> bool {
    path.segments().iter().any(|segment| matches!(segment, Segment::Key(key) if is_secret_key(key)))
}

/// No key of the configuration takes a secret itself (they name files), but a mistaken key may.
///
/// `token` alone is a section of a route and `key_file` is a path.
pub(super) fn is_secret_key(key: &str) -> bool {
    const WORDS: [&str; 6] = ["secret", "password", "passwd", "passphrase", "private", "api_key"];
    const ENDS: [&str; 4] = ["_token", "_key", "_pem", "_pass"];
    let key = key.to_lowercase().replace('-', "_");
    if key.ends_with("_file") {
        return false;
    }
    WORDS.iter().any(|word| key.contains(word))
        || ENDS.iter().any(|end| key.ends_with(end))
        || ["key", "pass", "pwd", "authorization"].contains(&key.as_str())
}

/// True for text that is a secret whatever its key says: a URL with a password in it, a private key, a token.
pub(super) fn looks_secret(text: &str) -> bool {
    text.contains("PRIVATE KEY")
        || text.starts_with("eyJ")
        || text.split_once("://").is_some_and(|(_, rest)| rest.split(['/', '?', '#']).any(|part| part.contains('@')))
}

/// True if a line of the file may hold a secret, for files that could not be read as YAML.
pub(super) fn line_may_hold_secret(line: &str) -> bool {
    looks_secret(line.trim())
        || line.split([',', '{', '[', ' ', '\t']).any(|part| {
            part.split_once(':').is_some_and(|(key, _)| is_secret_key(key.trim().trim_matches(['"', '\''])))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_take_secrets_are_known_and_keys_of_files_are_not_secret() {
        for key in ["client_secret", "password", "Client-Secret", "hs_secret", "private_key", "key", "access_token"] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["client_secret_file", "key_file", "token", "issuer", "hosts", "keys"] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn a_url_with_a_password_is_not_shown() {
        assert!(looks_secret("https://user:hunter2@host/path"));
        assert!(!looks_secret("https://host/path"));
        assert!(line_may_hold_secret("  basic: {username: u, password: canary}"));
        assert!(!line_may_hold_secret("  basic: {username: u, password_file: f}"));
    }
}
