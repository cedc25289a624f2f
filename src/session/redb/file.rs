//! Opens the file, and says what is wrong with one that is not ours.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, ReadableTable, StorageError, backends::FileBackend};

use super::tables::{META, Tables};
use crate::session::{
    ring::{KeyRing, SealError},
    sealed::FORMAT,
};

/// Why the file cannot be used: what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct OpenError {
    path: PathBuf,
    problem: String,
}

/// Opens the file, which is made for its owner alone if it is not there.
pub(super) fn open(path: &Path, ring: &KeyRing) -> Result<Database, OpenError> {
    let error = |problem| OpenError { path: path.to_owned(), problem };
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(|reason| error(explain_io(&reason)))?;
    let backend = FileBackend::new(file).map_err(|reason| error(explain(&reason)))?;
    let mut builder = Database::builder();
    let database = builder.set_cache_size(CACHE).create_with_backend(backend);
    let database = database.map_err(|reason| error(explain(&reason)))?;
    prepare(&database, ring).map_err(error)?;
    Ok(database)
}

/// Makes the tables of a new file; of one that was there, sees that this version and this ring can read it.
pub(super) fn prepare(database: &Database, ring: &KeyRing) -> Result<(), String> {
    let failed = |error: redb::Error| format!("cannot be used: {error}");
    let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    let tables = transaction.list_tables().map_err(|error| failed(error.into()))?.count();
    let mut renew = true;
    {
        let mut meta = transaction.open_table(META).map_err(|_| NOT_OURS.to_owned())?;
        let format = meta.get("format").map_err(|error| failed(error.into()))?.map(|format| format.value().to_vec());
        match format.as_deref() {
            None if tables == 0 => {
                meta.insert("format", &[FORMAT][..]).map_err(|error| failed(error.into()))?;
            }
            Some([FORMAT]) => {
                let seal = meta.get("seal").map_err(|error| failed(error.into()))?.map(|seal| seal.value().to_vec());
                let seal = seal.unwrap_or_default();
                check_seal(&seal, ring)?;
                renew = !seal.starts_with(&ring.current().to_be_bytes());
            }
            Some([format, ..]) if *format > FORMAT => {
                return Err(format!(
                    "was written in format {format} by a later sidegate, and this one knows {FORMAT}: use that one, or \
                     name another file in store.redb.path"
                ));
            }
            _ => return Err(NOT_OURS.to_owned()),
        }
        if renew {
            let seal = ring.seal(b"", SEAL).map_err(|error| error.to_string())?;
            meta.insert("seal", seal.as_slice()).map_err(|error| failed(error.into()))?;
        }
    }
    if !renew {
        return transaction.abort().map_err(|error| failed(error.into()));
    }
    Tables::open(&transaction).map(drop).map_err(|_| NOT_OURS.to_owned())?;
    transaction.commit().map_err(|error| failed(error.into()))
}

/// An empty text sealed under the current master key of the last start: without that key nothing in here is of use.
fn check_seal(seal: &[u8], ring: &KeyRing) -> Result<(), String> {
    let remedy = "give the ring that belongs to it in keys.master_file, or name another file in store.redb.path";
    match ring.open(seal, SEAL) {
        Ok(_) => Ok(()),
        Err(error @ SealError::UnknownKey(_)) => Err(format!("is {error}: {remedy}")),
        Err(SealError::Crypto) => {
            Err(format!("is sealed under a master key of the same id but another content: {remedy}"))
        }
    }
}

fn explain(error: &DatabaseError) -> String {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            "another process has it open: stop that one, or name another file in store.redb.path".to_owned()
        }
        DatabaseError::UpgradeRequired(version) => {
            format!("is a redb file of the old format {version}, which no sidegate has written: {ANOTHER}")
        }
        DatabaseError::Storage(StorageError::Corrupted(_)) => NOT_OURS.to_owned(),
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            NOT_OURS.to_owned()
        }
        DatabaseError::Storage(StorageError::Io(error)) => explain_io(error),
        other => format!("cannot be opened: {other}"),
    }
}

fn explain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "its folder is not there: make it, or name another file in store.redb.path".to_owned()
        }
        io::ErrorKind::PermissionDenied => format!("cannot be opened: {error}: give this user the right to write it"),
        io::ErrorKind::IsADirectory => "is a folder: name a file in store.redb.path".to_owned(),
        _ => format!("cannot be opened: {error}"),
    }
}

const NOT_OURS: &str =
    "is not a session store of sidegate, or is damaged: move it away, or name another file in store.redb.path";
const ANOTHER: &str = "name another file in store.redb.path";
const SEAL: &[u8] = b"sidegate session store";
/// Bytes of the file that are kept in memory.
const CACHE: usize = 64 * 1024 * 1024;
