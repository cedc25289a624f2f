//! What a configuration was read from, so that a change of it can be seen.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{self, SHA256};
use zeroize::Zeroizing;

/// Every file and folder that was read, each with a digest of what was there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Inputs(BTreeMap<PathBuf, Input>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Input {
    kind: Kind,
    /// `None`: it could not be read.
    digest: Option<[u8; 32]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No more than one byte beyond this many is read.
    File { limit: u64 },
    /// The files in it whose names end so; of what a mounted volume keeps beside them nothing counts.
    Folder { endings: &'static [&'static str] },
}

impl Inputs {
    /// The content of the file at `path`, and one byte more than `limit` of it if it is longer.
    ///
    /// # Errors
    /// If it cannot be read; that counts as what was there.
    pub(super) fn read(&mut self, path: &Path, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        let content = read(path, limit);
        let input = Input { kind: Kind::File { limit }, digest: content.as_ref().ok().map(|content| digest(content)) };
        // Of two looks the first counts: if they differ, the next one differs from it, too.
        self.0.entry(path.to_owned()).or_insert(input);
        content
    }

    /// Notes the files in `folder` whose names have one of these endings.
    pub(super) fn note_folder(&mut self, folder: &Path, endings: &'static [&'static str]) {
        let kind = Kind::Folder { endings };
        self.0.entry(folder.to_owned()).or_insert_with(|| Input { kind, digest: kind.look(folder) });
    }

    /// The same files and folders as they are now.
    pub fn look_again(&self) -> Inputs {
        let now = |(path, input): (&PathBuf, &Input)| {
            (path.clone(), Input { kind: input.kind, digest: input.kind.look(path) })
        };
        Inputs(self.0.iter().map(now).collect())
    }

    /// What is new, gone or otherwise than in `old`. What was never there is left out: where somebody wrote a secret in the
    /// place of a file, that is what it would be called.
    pub fn changed_since<'a>(&'a self, old: &'a Inputs) -> Vec<&'a Path> {
        let there = |input: Option<&Input>| input.is_some_and(|input| input.digest.is_some());
        let differs = |path: &&PathBuf| {
            let (new, old) = (self.0.get(*path), old.0.get(*path));
            new != old && (there(new) || there(old))
        };
        let gone = old.0.keys().filter(|path| !self.0.contains_key(*path));
        self.0.keys().chain(gone).filter(differs).map(PathBuf::as_path).collect()
    }

    /// Whether something could not be read.
    pub fn is_incomplete(&self) -> bool {
        self.0.values().any(|input| input.digest.is_none())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A digest of a short secret is nearly the secret, and a name may come from the environment.
impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files", self.0.len())
    }
}

impl Kind {
    fn look(self, path: &Path) -> Option<[u8; 32]> {
        match self {
            Kind::File { limit } => read(path, limit).ok().map(|content| digest(&content)),
            Kind::Folder { endings } => listing(path, endings).ok(),
        }
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a file"));
    }
    // Room for all of it at once: a vector that grows would leave copies behind.
    let room = usize::try_from(metadata.len().min(limit) + 2).unwrap_or_default();
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit + 1).read_to_end(&mut content)?;
    Ok(content)
}

fn listing(folder: &Path, endings: &[&str]) -> io::Result<[u8; 32]> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| endings.iter().any(|ending| name.ends_with(ending))) {
            // One that goes away in between counts as one that cannot be read.
            let content = read(&folder.join(&name), LONGEST_IN_FOLDER).ok().map(|content| digest(&content));
            files.insert(name, content);
        }
    }
    let mut context = digest::Context::new(&SHA256);
    for (name, content) in files {
        let name = name.as_encoded_bytes();
        context.update(&name.len().to_be_bytes());
        context.update(name);
        context.update(&content.unwrap_or_default());
    }
    Ok(sized(context.finish()))
}

fn digest(content: &[u8]) -> [u8; 32] {
    sized(digest::digest(&SHA256, content))
}

fn sized(digest: digest::Digest) -> [u8; 32] {
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Of the files in a folder no more than this many bytes are looked at.
const LONGEST_IN_FOLDER: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::files::Folder;

    #[test]
    fn a_look_sees_what_has_changed_and_nothing_else() {
        let folder = Folder::new();
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two", "page.html", "notes.txt"] {
            folder.write(name, "a");
        }
        let mut inputs = Inputs::default();
        for name in ["one", "two", "missing"] {
            let _ = inputs.read(&at(name), 10);
        }
        inputs.note_folder(folder.path(), &[".html"]);
        assert_eq!(inputs.look_again(), inputs);
        folder.replace("notes.txt", "b");
        assert_eq!(inputs.look_again(), inputs);
        folder.replace("two", "b");
        folder.write("missing", "now there");
        folder.write("other.html", "");
        let now = inputs.look_again();
        assert_eq!(now.changed_since(&inputs), [folder.path(), &at("missing"), &at("two")]);
        assert_eq!(now.changed_since(&now), [] as [&Path; 0]);
        assert_eq!(Inputs::default().changed_since(&inputs).len(), 3);
    }

    #[test]
    fn a_file_that_changes_between_two_reads_of_one_load_is_seen_as_changed() {
        let folder = Folder::new();
        folder.write("one", "a");
        let mut inputs = Inputs::default();
        inputs.read(&folder.path().join("one"), 10).unwrap();
        folder.replace("one", "b");
        inputs.read(&folder.path().join("one"), 10).unwrap();
        assert_ne!(inputs.look_again(), inputs);
    }

    #[test]
    fn nothing_of_a_file_is_printed_and_no_name_that_never_was_one() {
        let folder = Folder::new();
        folder.write("pin", "1234");
        let mut inputs = Inputs::default();
        inputs.read(&folder.path().join("pin"), 10).unwrap();
        assert_eq!(format!("{inputs:?}"), "1 files");
        let _ = inputs.read(Path::new("/nowhere/hunter2"), 10);
        assert_eq!(inputs.changed_since(&Inputs::default()), [folder.path().join("pin")]);
    }
}
