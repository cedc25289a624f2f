//! The folder of the journals: one file for each process, which is locked as long as that one lives.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::record::HEADER;
use crate::session::record::SessionId;

pub(super) struct Folder {
    path: PathBuf,
    before: Before,
}

/// Is asked before the disk is touched, so that tests can have that fail.
pub(super) type Before = Box<dyn Fn(Doing) -> io::Result<()> + Send>;

/// What is about to be done to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Create,
    Write,
    Sync,
    Truncate,
    Remove,
}

/// A file that this process has locked.
pub(super) struct Home {
    pub path: PathBuf,
    file: File,
    /// Up to where it is written.
    pub size: u64,
}

impl Folder {
    pub(super) fn new(path: &Path, before: Before) -> Folder {
        Folder { path: path.to_owned(), before }
    }

    /// Sees that files can be kept here; the last folder of the path is made if it is not there.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub(super) fn check(&self) -> Result<(), String> {
        let error = |problem: &str| Err(format!("{}: {problem}", self.path.display()));
        let metadata = match fs::metadata(&self.path) {
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => {
                let made = DirBuilder::new().mode(0o700).create(&self.path);
                made.and_then(|()| fs::metadata(&self.path))
            }
            other => other,
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(reason) => return error(&explain(&reason)),
        };
        if !metadata.is_dir() {
            return error("is no folder: name one in store.redis.journal");
        }
        if metadata.mode() & 0o002 != 0 {
            tracing::warn!(folder = %self.path.display(), "anybody may remove the journals in this folder: chmod 700");
        }
        Ok(())
    }

    /// A new file, locked, with `content` behind its header; durable, and so is its name.
    pub(super) fn create(&self, content: &[u8]) -> io::Result<Home> {
        loop {
            (self.before)(Doing::Create)?;
            let name = SessionId::random().map_err(|_| io::Error::other("no randomness"))?;
            let path = self.path.join(format!("{PREFIX}{name}{SUFFIX}"));
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            // Somebody who looked for files that are nobody's may have been faster.
            if lock(&file)? {
                let mut home = Home { path, file, size: 0 };
                let whole = [&HEADER[..], content].concat();
                let written =
                    self.append(&mut home, &whole).and_then(|()| self.sync(&home)).and_then(|()| self.settle());
                if let Err(error) = written {
                    let _ = fs::remove_file(&home.path);
                    return Err(error);
                }
                return Ok(home);
            }
        }
    }

    /// Files that no process has open, but those that `is_known`; locked, or why one cannot be opened.
    pub(super) fn abandoned(&self, is_known: impl Fn(&Path) -> bool) -> io::Result<Vec<(PathBuf, io::Result<Home>)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
            // Not the target of a link: it would be somebody else's file.
            if !ours || !entry.file_type()?.is_file() || is_known(&entry.path()) {
                continue;
            }
            let path = entry.path();
            match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(file) if lock(&file)? => {
                    let size = file.metadata()?.len();
                    found.push((path.clone(), Ok(Home { path, file, size })));
                }
                Ok(_) => {}
                // Whoever had it was done with it a moment ago.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.push((path, Err(error))),
            }
        }
        Ok(found)
    }

    pub(super) fn append(&self, home: &mut Home, bytes: &[u8]) -> io::Result<()> {
        (self.before)(Doing::Write)?;
        home.file.write_all_at(bytes, home.size)?;
        home.size += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self, home: &Home) -> io::Result<()> {
        (self.before)(Doing::Sync)?;
        home.file.sync_data()
    }

    pub(super) fn cut(&self, home: &mut Home, size: u64) -> io::Result<()> {
        (self.before)(Doing::Truncate)?;
        home.file.set_len(size)?;
        home.size = size;
        Ok(())
    }

    pub(super) fn remove(&self, home: &Home) -> io::Result<()> {
        (self.before)(Doing::Remove)?;
        fs::remove_file(&home.path)?;
        self.settle()
    }

    /// Makes names durable.
    fn settle(&self) -> io::Result<()> {
        (self.before)(Doing::Sync)?;
        File::open(&self.path)?.sync_all()
    }
}

impl Home {
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        if self.size > LARGEST {
            return Err(io::Error::other("it is larger than any journal"));
        }
        let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// Whether the file is now ours, and still what its name stands for.
fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(file.metadata()?.nlink() > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What is wrong, and what to do.
pub(super) fn explain(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::Other => return error.to_string(),
        io::ErrorKind::NotFound => "make the folder that it is in, or name another one in store.redis.journal",
        io::ErrorKind::PermissionDenied => "give this user the right to write into it",
        io::ErrorKind::NotADirectory => "name a folder in store.redis.journal",
        io::ErrorKind::ReadOnlyFilesystem => "mount a volume there that can be written",
        _ => "look at the disk, or name another folder in store.redis.journal",
    };
    format!("the journal cannot be kept: {error}: {remedy}")
}

/// Whether waiting mends it.
pub(super) fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    !matches!(error.kind(), NotFound | PermissionDenied | NotADirectory | ReadOnlyFilesystem)
}

const PREFIX: &str = "sidegate-";
const SUFFIX: &str = ".journal";
/// Bytes of a file that is read.
const LARGEST: u64 = 4 * super::LIMITS.bytes as u64;
