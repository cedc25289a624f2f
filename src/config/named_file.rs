//! A file that the settings name.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::model::Secret;

/// A file and what was in it when the settings were checked. What is built of it is built of what was found good, and
/// settings with other content are other settings.
#[derive(Clone, PartialEq)]
pub struct NamedFile {
    path: PathBuf,
    content: Arc<Secret<Vec<u8>>>,
}

impl NamedFile {
    pub fn new(path: PathBuf, content: Vec<u8>) -> NamedFile {
        NamedFile { path, content: Arc::new(Secret::new(content)) }
    }

    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> io::Result<NamedFile> {
        Ok(NamedFile::new(path.to_owned(), fs::read(path)?))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn content(&self) -> &[u8] {
        self.content.expose()
    }
}

impl fmt::Debug for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}
