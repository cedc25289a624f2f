//! Files that the settings name.

use std::{io, mem, os::unix::fs::PermissionsExt as _, path::Path};

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use super::{section::Section, weak};
use crate::{config::NamedFile, model::Secret};

/// A secret is at most this long, in bytes.
const LONGEST_SECRET: u64 = 16 * 1024;
/// Certificates, keys and key sets are at most this long, in bytes.
const LONGEST_FILE: u64 = 1024 * 1024;

/// Reads the secret in `file`: one trailing newline is removed. `section` is the key that names it.
pub(super) fn secret(file: &Path, section: &Section<'_>) -> Option<Secret<Vec<u8>>> {
    let mut content = read(file, LONGEST_SECRET, section)?;
    warn_if_open(file, section);
    if content.ends_with(b"\n") {
        content.pop();
        if content.ends_with(b"\r") {
            content.pop();
        }
    }
    if content.is_empty() {
        section.problem("the file is empty", "");
        return None;
    }
    Some(Secret::new(mem::take(&mut *content)))
}

/// The same, for a secret that is text.
pub(super) fn secret_text(file: &Path, section: &Section<'_>) -> Option<Secret<String>> {
    let content = secret(file, section)?;
    let text = std::str::from_utf8(content.expose()).ok().filter(|text| !text.contains(char::is_control));
    match text {
        Some(text) => weak::warn_if_weak(text.as_bytes(), section),
        None => section.problem("the file does not hold one line of UTF-8 text", ""),
    }
    text.map(|text| Secret::new(text.to_owned()))
}

/// The same, for secrets on several lines.
pub(super) fn secret_lines(file: &Path, section: &Section<'_>) -> Option<Secret<String>> {
    let content = secret(file, section)?;
    let text = std::str::from_utf8(content.expose()).ok();
    if text.is_none() {
        section.problem("the file does not hold UTF-8 text", "");
    }
    text.map(|text| Secret::new(text.to_owned()))
}

/// A key set (RFC 7517) with at least one key; the keys themselves are read later, one by one.
pub(super) fn key_set(file: &Path, section: &Section<'_>) -> Option<NamedFile> {
    let mut content = read(file, LONGEST_FILE, section)?;
    let set: Option<serde_json::Value> = serde_json::from_slice(&content).ok();
    match set.as_ref().and_then(|set| set.get("keys")).and_then(|keys| keys.as_array()) {
        Some(keys) if !keys.is_empty() => Some(NamedFile::new(section.resolve(file), mem::take(&mut *content))),
        Some(_) => {
            section.problem("the key set holds no key", "");
            None
        }
        None => {
            section.problem("the file is not a JSON Web Key Set", "it looks like {\"keys\": [{\"kty\": …}]}");
            None
        }
    }
}

/// A file of certificates that others are checked against.
pub(super) fn authorities(file: &Path, section: &Section<'_>) -> Option<NamedFile> {
    authorities_pem(file, section).map(|pem| NamedFile::new(section.resolve(file), pem))
}

/// The same, for who reads it only once.
pub(super) fn authorities_pem(file: &Path, section: &Section<'_>) -> Option<Vec<u8>> {
    let mut content = read(file, LONGEST_FILE, section)?;
    let chain = certificates(&content, section)?;
    let mut roots = RootCertStore::empty();
    for certificate in chain {
        if roots.add(certificate).is_err() {
            section.problem("the file holds a certificate that cannot be read", "");
            return None;
        }
    }
    Some(mem::take(&mut *content))
}

/// A certificate chain and its key, which must fit; `section` holds the keys `certificate_file` and `key_file`.
pub(super) fn identity(
    certificate_file: &Path,
    key_file: &Path,
    section: &Section<'_>,
) -> Option<(NamedFile, NamedFile)> {
    let (chain_section, key_section) = (section.key("certificate_file"), section.key("key_file"));
    let chain = read(certificate_file, LONGEST_FILE, &chain_section)
        .and_then(|content| certificates(&content, &chain_section).map(|chain| (content, chain)));
    let key = read(key_file, LONGEST_FILE, &key_section).and_then(|content| {
        warn_if_open(key_file, &key_section);
        let key = PrivateKeyDer::from_pem_slice(&content).ok();
        if key.is_none() {
            key_section.problem("the file holds no private key in PEM", "it starts with -----BEGIN PRIVATE KEY-----");
        }
        key.map(|key| (content, key))
    });
    let ((mut chain_pem, chain), (mut key_pem, key)) = (chain?, key?);
    match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(_) => {
            let named = |file: &Path, pem: &mut Vec<u8>| NamedFile::new(section.resolve(file), mem::take(pem));
            Some((named(certificate_file, &mut chain_pem), named(key_file, &mut key_pem)))
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            key_section.problem("the key does not belong to the certificate", "");
            None
        }
        Err(rustls::Error::InvalidCertificate(_)) => {
            chain_section.problem("the certificate cannot be read", "");
            None
        }
        Err(_) => {
            key_section.problem("the key cannot be used", "use an ECDSA, RSA (2048 bits or more) or Ed25519 key");
            None
        }
    }
}

fn certificates(content: &[u8], section: &Section<'_>) -> Option<Vec<CertificateDer<'static>>> {
    match CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Some(chain),
        _ => {
            section.problem("the file holds no certificate in PEM", "it starts with -----BEGIN CERTIFICATE-----");
            None
        }
    }
}

fn read(file: &Path, limit: u64, section: &Section<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let path = section.resolve(file);
    let shown = section.shown(path.display());
    match section.read(&path, limit) {
        Ok(content) if content.len() as u64 > limit => {
            section.problem(format!("{shown} is longer than {limit} bytes"), "");
            None
        }
        Ok(content) if content.is_empty() => {
            section.problem("the file is empty", "");
            None
        }
        Ok(content) => Some(content),
        Err(error) => {
            section.problem(format!("{shown} cannot be read: {}", words(&error)), "");
            None
        }
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// The same for every private key in `folder`.
pub(super) fn warn_if_open_within(folder: &Path, section: &Section<'_>) {
    let Ok(entries) = section.resolve(folder).read_dir() else { return };
    let mut keys: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    keys.sort();
    for key in keys.iter().filter(|path| path.extension().is_some_and(|extension| extension == "pem")) {
        warn_if_open(key, section);
    }
}

fn warn_if_open(file: &Path, section: &Section<'_>) {
    const OTHERS_READ: u32 = 0o004;
    let path = section.resolve(file);
    if path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_READ != 0) {
        section.warn(
            format!("every user of this machine can read {}", section.shown(path.display())),
            "give it mode 0400 or 0440",
        );
    }
}
