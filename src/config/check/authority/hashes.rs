//! Hashes of secrets. Nothing of what stands in the place of one is ever shown.

use argon2::{Params, password_hash::phc::PasswordHash};

use crate::{
    config::{SecretHash, check::section::Section},
    model::Secret,
};

/// One hash as `sidegate hash` prints it.
pub(super) fn check(text: &str, section: &Section<'_>) -> Option<SecretHash> {
    if text.starts_with("$argon2id$") {
        return slow(text, section);
    }
    let Some(digits) = text.strip_prefix("sha256:") else {
        let message = "this is no hash: one begins with $argon2id$ or sha256:";
        section.problem(message, "sidegate hash makes one; a secret itself must not stand here");
        return None;
    };
    let digest = (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| {
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or(0);
        std::array::from_fn(|index| byte(2 * index))
    });
    if digest.is_none() {
        section.problem(
            "after sha256: belong 64 hexadecimal digits",
            "sidegate hash --generate makes a secret and its hash",
        );
    }
    digest.map(|digest| SecretHash::Sha256(Secret::new(digest)))
}

fn slow(text: &str, section: &Section<'_>) -> Option<SecretHash> {
    let parsed = PasswordHash::new(text).ok();
    let whole = parsed.as_ref().filter(|hash| hash.salt.is_some() && hash.hash.is_some());
    let Some((hash, parameters)) = whole.and_then(|hash| Some((hash, Params::try_from(hash).ok()?))) else {
        section.problem("this argon2id hash cannot be read", "sidegate hash makes one; it needs quotes around it");
        return None;
    };
    let (m, t, p) = (parameters.m_cost(), parameters.t_cost(), parameters.p_cost());
    if m > MOST_MEMORY || t > MOST_PASSES || p > MOST_LANES {
        section.problem(
            format!("m={m},t={t},p={p}: checking one password would take too much"),
            format!("at most m={MOST_MEMORY},t={MOST_PASSES},p={MOST_LANES}"),
        );
        return None;
    }
    if hash.version != Some(VERSION) {
        section.problem(format!("this argon2id hash is not of version {VERSION}"), "sidegate hash makes one");
        return None;
    }
    if m < LEAST_MEMORY || m.saturating_mul(t) < LEAST_WORK {
        section.warn(
            format!("m={m},t={t},p={p} is weak: whoever gets this file tries many passwords a second"),
            "sidegate hash makes one with m=19456,t=2,p=1",
        );
    }
    Some(SecretHash::Argon2id(Secret::new(text.to_owned())))
}

/// What a check of `text` costs, for comparing; `None` for what is no slow hash.
pub(super) fn parameters(text: &str) -> Option<(u32, u32, u32)> {
    let hash = PasswordHash::new(text).ok().filter(|_| text.starts_with("$argon2id$"))?;
    let parameters = Params::try_from(&hash).ok()?;
    Some((parameters.m_cost(), parameters.t_cost(), parameters.p_cost()))
}

/// 256 MiB, in KiB.
const MOST_MEMORY: u32 = 256 * 1024;
const MOST_PASSES: u32 = 10;
const MOST_LANES: u32 = 8;
/// RFC 9106.
const VERSION: u32 = 19;
/// What OWASP's sheet on password storage still takes for enough: 7 MiB with five passes, 46 MiB with one.
const LEAST_MEMORY: u32 = 7168;
const LEAST_WORK: u32 = 7168 * 5;
