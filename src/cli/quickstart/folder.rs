//! Where the quickstart keeps its sessions: a folder that goes with it.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::model::BoxError;

/// Removed with the value.
pub struct Folder(PathBuf);

impl Folder {
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("sidegate-quickstart-{}", std::process::id()));
        // Not `create_dir_all`: what is there already belongs to somebody else.
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{} cannot be made: {error}", path.display())))?;
        Ok(Folder(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file with a new token, which only its owner can read.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn token_file(&self) -> Result<PathBuf, BoxError> {
        let mut random = [0; 24];
        rand::fill(&mut random).map_err(|_| "no randomness")?;
        let path = self.0.join("admin.token");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        writeln!(file, "{}", BASE64_URL_SAFE_NO_PAD.encode(random))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
