//! Signing keys as a folder of PEM files: `current.pem`, `next.pem` and `previous-….pem`. sidegate only reads it;
//! `sidegate keys` writes it, in such an order that whoever reads in between finds every key that is still good.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use jsonwebtoken::Algorithm;
use zeroize::Zeroizing;

use super::{
    mint::{MintError, Signer, pkcs8},
    rotation::{KEPT, Ring, RingKey, Stage},
};
use crate::model::{Secret, UnixTime};

/// Why a folder of keys cannot be used. Holds nothing of a key.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} has no current.pem (sidegate keys new makes one)", .0.display())]
    NoCurrent(PathBuf),
    #[error("{} is not a private key for ES256, RS256 or EdDSA as PKCS#8 in PEM", .0.display())]
    NoKey(PathBuf),
    #[error("{} holds keys already; sidegate keys rotate makes the next one", .0.display())]
    NotEmpty(PathBuf),
    #[error("another command is at work in {}", .0.display())]
    Busy(PathBuf),
    #[error(
        "the next key is {age} s old: whoever keeps a copy of the key set may not know it before it is {ahead} s old"
    )]
    TooYoung { age: u64, ahead: u64 },
    #[error(transparent)]
    Mint(#[from] MintError),
}

/// What a rotation has done.
#[derive(Debug, PartialEq, Eq)]
pub enum Rotated {
    /// There was no next key; now there is one, which signs after another rotation.
    Prepared,
    /// The next key has become current, and there is a new next one.
    Moved,
}

/// Reads the keys of `folder`.
///
/// # Errors
/// If it cannot be read, has no current key, or a file of a key holds none.
pub fn read(folder: &Path) -> Result<Ring, FolderError> {
    let mut keys: Vec<RingKey> = Vec::new();
    let current = folder.join(CURRENT);
    if !current.try_exists().map_err(at(&current))? {
        return Err(FolderError::NoCurrent(folder.to_owned()));
    }
    let now = UnixTime(u64::MAX);
    keys.push(key(&current, |made| Stage::Current { since: made })?);
    let next = folder.join(NEXT);
    if next.try_exists().map_err(at(&next))? {
        keys.push(key(&next, |_| Stage::Next { signs_from: now })?);
    }
    for path in previous(folder)? {
        keys.push(key(&path, |retired| Stage::Previous { until: retired.plus(KEPT) })?);
    }
    // In the middle of a rotation one key may stand under two names.
    let mut kids = Vec::new();
    keys.retain(|key| {
        let kid = key.kid();
        let new = !kids.contains(&kid);
        kids.push(kid);
        new
    });
    Ok(Ring { keys })
}

/// Makes `folder` with a current and a next key.
///
/// # Errors
/// If there are keys already, or they cannot be written.
pub fn create(folder: &Path, algorithm: Algorithm) -> Result<(), FolderError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
    let _lock = lock(folder)?;
    for name in [CURRENT, NEXT] {
        let path = folder.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(FolderError::NotEmpty(folder.to_owned()));
        }
    }
    // The current one last: without it the folder is no folder of keys.
    write(&folder.join(NEXT), &Signer::generate(algorithm)?)?;
    write(&folder.join(CURRENT), &Signer::generate(algorithm)?)
}

/// Lets the next key become the current one, if it was there for `ahead` seconds at `now`, and makes another next one,
/// for `algorithm` or what the new current one is for. Previous keys that nothing can rest on any more are removed.
///
/// # Errors
/// If the next key is too young, or something cannot be read or written; what was good stays good.
pub fn rotate(folder: &Path, algorithm: Option<Algorithm>, ahead: u64, now: UnixTime) -> Result<Rotated, FolderError> {
    let _lock = lock(folder)?;
    let ring = read(folder)?;
    for path in previous(folder)? {
        if modified(&path)?.plus(KEPT) <= now {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    let Some(next) = ring.keys().iter().find(|key| matches!(key.stage, Stage::Next { .. })) else {
        write(&folder.join(NEXT), &Signer::generate(algorithm.unwrap_or(ring.keys()[0].algorithm))?)?;
        return Ok(Rotated::Prepared);
    };
    let age = next.made.until(now).as_secs();
    if age < ahead {
        return Err(FolderError::TooYoung { age, ahead });
    }
    let current = &ring.keys()[0];
    let name = format!("{PREVIOUS}{}.pem", current.kid().unwrap_or_default());
    // Each step leaves every key readable under at least one name.
    write(&folder.join(name), &current.document)?;
    let (from, to) = (folder.join(NEXT), folder.join(CURRENT));
    fs::rename(&from, &to).map_err(at(&to))?;
    write(&from, &Signer::generate(algorithm.unwrap_or(next.algorithm))?)?;
    Ok(Rotated::Moved)
}

fn key(path: &Path, stage: impl Fn(UnixTime) -> Stage) -> Result<RingKey, FolderError> {
    let pem = Zeroizing::new(fs::read(path).map_err(at(path))?);
    let no_key = || FolderError::NoKey(path.to_owned());
    let document = pkcs8(&pem).map_err(|_| no_key())?;
    let document = Secret::new(document.secret_pkcs8_der().to_vec());
    let fits = |algorithm: &Algorithm| Signer::read(*algorithm, document.expose()).is_ok();
    let algorithm = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256].into_iter().find(fits);
    let algorithm = algorithm.ok_or_else(no_key)?;
    let made = modified(path)?;
    Ok(RingKey { algorithm, made, stage: stage(made), document })
}

fn previous(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREVIOUS) && name.ends_with(".pem")) {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn modified(path: &Path) -> Result<UnixTime, FolderError> {
    let modified = fs::metadata(path).and_then(|data| data.modified()).map_err(at(path))?;
    Ok(UnixTime(modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())))
}

fn write(path: &Path, document: &Secret<Vec<u8>>) -> Result<(), FolderError> {
    write_private(path, pem(document).as_bytes()).map_err(at(path))
}

/// Replaces `path` whole or not at all; it is for its owner alone.
///
/// # Errors
/// If it cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = path.with_added_extension("tmp");
    // What an interrupted command has left.
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

/// RFC 7468.
fn pem(document: &Secret<Vec<u8>>) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE64.encode(document.expose()));
    let mut text = Zeroizing::new(String::with_capacity(body.len() * 2 + 64));
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    text
}

/// Held until it is dropped.
fn lock(folder: &Path) -> Result<File, FolderError> {
    let handle = File::open(folder).map_err(at(folder))?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(fs::TryLockError::WouldBlock) => Err(FolderError::Busy(folder.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(FolderError::Io { path: folder.to_owned(), error }),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> FolderError {
    let path = path.to_owned();
    move |error| FolderError::Io { path: path.clone(), error }
}

/// The moment, for commands: they have no clock of their own.
pub fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

const CURRENT: &str = "current.pem";
const NEXT: &str = "next.pem";
const PREVIOUS: &str = "previous-";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sidegate-keys-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn kids(folder: &Path) -> Vec<String> {
        read(folder).unwrap().keys().iter().map(|key| key.kid().unwrap()).collect()
    }

    #[test]
    fn keys_go_from_next_to_current_to_previous_and_only_their_owner_reads_them() {
        let folder = folder("life");
        create(&folder, Algorithm::ES256).unwrap();
        let first = kids(&folder);
        assert_eq!(first.len(), 2);
        let now = now();
        assert!(matches!(rotate(&folder, None, 3600, now).unwrap_err(), FolderError::TooYoung { ahead: 3600, .. }));
        assert_eq!(kids(&folder), first);
        assert_eq!(rotate(&folder, Some(Algorithm::EdDSA), 3600, now.plus(3600)).unwrap(), Rotated::Moved);
        let second = kids(&folder);
        assert_eq!((&second[0], &second[2], second.len()), (&first[1], &first[0], 3));
        let ring = read(&folder).unwrap();
        let stages: Vec<_> = ring.keys().iter().map(|key| key.stage.as_str()).collect();
        assert_eq!(stages, ["current", "next", "previous"]);
        assert_eq!(ring.keys()[1].algorithm, Algorithm::EdDSA);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            assert!(entry.file_name().to_str().unwrap().ends_with(".pem"), "a draft was left");
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        // Once nothing can rest on it any more, the oldest goes.
        assert_eq!(rotate(&folder, None, 0, now.plus(KEPT + 10)).unwrap(), Rotated::Moved);
        let third = kids(&folder);
        assert!(!third.contains(&first[0]) && third.contains(&second[0]) && third[0] == second[1]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_without_a_next_key_gets_one_before_anything_moves() {
        let folder = folder("prepare");
        create(&folder, Algorithm::EdDSA).unwrap();
        fs::remove_file(folder.join(NEXT)).unwrap();
        let before = kids(&folder);
        assert_eq!(rotate(&folder, None, 0, now()).unwrap(), Rotated::Prepared);
        assert_eq!((kids(&folder)[0].clone(), kids(&folder).len()), (before[0].clone(), 2));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_no_folder_of_keys_is_told_apart() {
        let folder = folder("bad");
        assert!(matches!(read(&folder).unwrap_err(), FolderError::NoCurrent(_)));
        create(&folder, Algorithm::RS256).unwrap();
        assert!(matches!(create(&folder, Algorithm::RS256).unwrap_err(), FolderError::NotEmpty(_)));
        let held = lock(&folder).unwrap();
        assert!(matches!(rotate(&folder, None, 0, now()).unwrap_err(), FolderError::Busy(_)));
        drop(held);
        fs::write(folder.join(NEXT), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        assert!(matches!(read(&folder).unwrap_err(), FolderError::NoKey(_)));
        fs::remove_dir_all(&folder).unwrap();
    }
}
