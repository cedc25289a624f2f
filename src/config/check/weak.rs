//! Secrets that others may guess, or know.

use super::section::Section;
use crate::config::{Address, Authority, ClientAuthentication, Config, MasterRing, SecretHash, Users};

/// Warns of a secret that could be found by trying.
pub(super) fn warn_if_weak(secret: &[u8], section: &Section<'_>) {
    let text = secret.to_ascii_lowercase();
    let known = KNOWN.iter().any(|known| text == known.as_bytes()) || text.starts_with(b"demo-");
    let why = if known {
        "everybody knows this secret"
    } else if secret.len() < SHORTEST {
        "the secret is short enough to be found by trying"
    } else if is_monotonous(secret) {
        "the secret has so few different characters that it may be found by trying"
    } else {
        return;
    };
    section.warn(why, "openssl rand -hex 32 makes a good one");
}

/// Warns of a shared secret that is shorter than the hash it is used with (RFC 7518, section 3.2).
pub(super) fn warn_if_shorter_than_hash(secret: &[u8], algorithms: &[jsonwebtoken::Algorithm], section: &Section<'_>) {
    use jsonwebtoken::Algorithm::{HS384, HS512};
    let bytes = |algorithm: &jsonwebtoken::Algorithm| match algorithm {
        HS512 => 64,
        HS384 => 48,
        _ => 32,
    };
    if let Some(algorithm) =
        algorithms.iter().filter(|algorithm| secret.len() < bytes(algorithm)).max_by_key(|a| bytes(a))
    {
        section.warn(
            format!("the secret has {} bytes, and {algorithm:?} wants {}", secret.len(), bytes(algorithm)),
            "agree on a longer one with the issuer, or leave the algorithm out",
        );
    }
}

/// Warns of master keys that were typed rather than made.
pub(super) fn warn_of_weak_ring(ring: &MasterRing, section: &Section<'_>) {
    for (id, key) in &ring.0 {
        if is_monotonous(key.expose()) {
            section.warn(
                format!("the bytes of key {id} are not random, and every session is sealed under it"),
                "sidegate keys master makes one",
            );
        }
    }
}

/// Warns of the secrets that the examples publish, where others can reach them.
pub(super) fn warn_of_published(config: &Config, root: &Section<'_>) {
    let own_machine = |address: &Address| match address {
        Address::Tcp(address) => address.ip().is_loopback(),
        Address::Unix(_) => true,
    };
    let Some(authority) = config.authority.as_ref() else { return };
    if config.listeners.iter().all(|listener| own_machine(&listener.address)) {
        return;
    }
    let section = root.key("authority");
    for (list, id) in published(authority) {
        section.key(list).warn(
            format!("{} has a secret that stands in the examples of sidegate", section.key(list).shown(id)),
            "sidegate hash --generate makes another one",
        );
    }
}

/// In which list, and whose.
fn published(authority: &Authority) -> Vec<(&'static str, &str)> {
    let is_known = |hash: &SecretHash| match hash {
        SecretHash::Sha256(digest) => {
            let hex = digest.expose().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            PUBLISHED.contains(&hex.as_str())
        }
        SecretHash::Argon2id(text) => PUBLISHED.contains(&text.expose().as_str()),
    };
    let clients = authority.clients.values().filter(
        |client| matches!(&client.authentication, ClientAuthentication::Secrets(hashes) if hashes.iter().any(is_known)),
    );
    let mut found: Vec<_> = clients.map(|client| ("clients", client.id.as_ref())).collect();
    if let Users::Listed(users) = &authority.users {
        let has = |user: &&std::sync::Arc<crate::config::User>| {
            user.password.as_ref().is_some_and(is_known) || user.api_keys.iter().any(is_known)
        };
        found.extend(users.values().filter(has).map(|user| ("users", user.username.as_str())));
    }
    found.sort_unstable();
    found
}

fn is_monotonous(secret: &[u8]) -> bool {
    let mut seen = [false; 256];
    secret.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count() < FEWEST_DIFFERENT
}

/// In bytes: less is tried in a night by whoever has something to try it on.
const SHORTEST: usize = 12;
const FEWEST_DIFFERENT: usize = 6;
const KNOWN: [&str; 8] = [
    "administrator",
    "changeme",
    "changeit",
    "change-me-please",
    "correct-horse-battery-staple",
    "password1234",
    "secretsecret",
    "your-256-bit-secret",
];
/// What is behind these stands in config/*.yaml, or is printed by `sidegate quickstart`.
const PUBLISHED: [&str; 4] = [
    "8fee78d9458a32ac93d8bf56f0e94aa79a35efc882bc48e7fe6c6d6a21dda5ec",
    "c8105ee97fd54b86fce66df7506621e594a7f3797f5ff603522355a99f86fb94",
    "dceacd6fe7af749c2d87eb0a23c614866ff580148db865805f4e1ffd027ca4d4",
    "$argon2id$v=19$m=19456,t=2,p=1$369JRkEvqOGUH4sRJSV2aQ$x3v40Ued8lA85MVj4J8lm8utYRXAMCHOeNZAi0n6cgA",
];
