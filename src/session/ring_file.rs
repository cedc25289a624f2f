//! Makes the file of master keys that the configuration asks for.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::SessionId;
use crate::{config::MasterRing, model::BoxError};

/// Makes a ring in `path`, for its owner alone, whole or not at all. Where another process was faster, its ring is read:
/// both then use the same.
///
/// # Errors
/// If the file cannot be written, or what another process wrote is no ring.
pub fn create(path: &Path) -> Result<MasterRing, BoxError> {
    let ring = MasterRing::generate()?;
    match write(path, ring.text().expose()) {
        Ok(()) => {
            tracing::warn!(
                path = %path.display(),
                "a ring of master keys was made; whoever reads it beside the store can open the store: keep it elsewhere, \
                 and keep a copy"
            );
            Ok(ring)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = zeroize::Zeroizing::new(fs::read_to_string(path).map_err(|error| explain(path, &error))?);
            MasterRing::parse(&text).ok_or_else(|| format!("{} is not a ring of master keys", path.display()).into())
        }
        Err(error) => Err(explain(path, &error)),
    }
}

/// A link fails where a file of that name is, so that of two starters one wins; a rename would not.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let unique = SessionId::random().map_err(|_| io::Error::other("no randomness"))?;
    let draft = Draft(folder.join(format!(".{unique}.tmp")));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.0)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::hard_link(&draft.0, path)?;
    drop(draft);
    File::open(folder)?.sync_all()
}

/// Removed whatever becomes of it.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // What cannot be removed is a file of 0600 under a name that nothing reads.
        let _ = fs::remove_file(&self.0);
    }
}

fn explain(path: &Path, error: &io::Error) -> BoxError {
    format!(
        "{}: the ring of master keys cannot be made: {error} (sidegate keys master > FILE makes one elsewhere)",
        path.display()
    )
    .into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::session::testing::Scratch;

    #[test]
    fn a_ring_is_made_once_and_only_its_owner_may_read_it() {
        let scratch = Scratch::new();
        let path = scratch.path("master.keys");
        let made = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(create(&path).unwrap(), made);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn of_many_starters_at_once_all_get_one_ring() {
        let scratch = Scratch::new();
        let path = scratch.path("master.keys");
        let rings: Vec<MasterRing> = std::thread::scope(|scope| {
            let starters: Vec<_> = (0..8).map(|_| scope.spawn(|| create(&path).unwrap())).collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        assert!(rings.iter().all(|ring| *ring == rings[0]));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_with_what_to_do() {
        let error = create(Path::new("/nowhere/at/all/master.keys")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all/master.keys") && error.contains("sidegate keys master"), "{error}");
    }
}
