//! What `build.rs` finds out, run in working trees of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::issuer::scratch;

/// A working tree with one commit, and the build script ready to be run there.
struct Tree {
    folder: PathBuf,
    script: PathBuf,
}

impl Tree {
    fn new() -> Tree {
        let scratch = scratch("revision");
        let script = scratch.join("build-script");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
        let compiled =
            Command::new("rustc").args(["--edition", "2024", "-o"]).arg(&script).arg(source).output().unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

        let tree = Tree { folder: scratch.join("tree"), script };
        fs::create_dir_all(tree.folder.join("inner")).unwrap();
        fs::write(tree.folder.join("Cargo.toml"), "one").unwrap();
        tree.git(&["init", "-q"]);
        tree.git(&["add", "."]);
        tree.git(&["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "one"]);
        tree
    }

    fn git(&self, arguments: &[&str]) -> String {
        let ran = Command::new("git").current_dir(&self.folder).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    /// The variable that a build in `folder` gets.
    fn build(&self, folder: &Path, profile: &str, given: Option<&str>, variable: &str) -> Option<String> {
        let mut script = Command::new(&self.script);
        script.current_dir(folder).env("CARGO_MANIFEST_DIR", folder).env("PROFILE", profile).env("RUSTC", "rustc");
        script.env("CARGO_PKG_VERSION", "1.2.3").env_remove("SIDEGATE_REVISION");
        if let Some(given) = given {
            script.env("SIDEGATE_REVISION", given);
        }
        let ran = script.output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        let start = format!("cargo::rustc-env={variable}=");
        let found = said.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned);
        found.filter(|_| ran.status.success())
    }
}

#[test]
fn a_release_carries_its_commit_and_says_when_the_tree_was_changed() {
    let tree = Tree::new();
    let head = tree.git(&["rev-parse", "--short=12", "HEAD"]);
    let build = |variable| tree.build(&tree.folder, "release", None, variable).unwrap();
    assert_eq!(build("SIDEGATE_REVISION"), head);
    assert_eq!(build("SIDEGATE_SHOWN_VERSION"), format!("1.2.3 ({head})"));
    assert!(build("SIDEGATE_RUSTC").starts_with("1."));
    fs::write(tree.folder.join("Cargo.toml"), "two").unwrap();
    assert_eq!(build("SIDEGATE_REVISION"), format!("{head}-dirty"));
}

#[test]
fn a_build_without_a_commit_of_its_own_has_the_version_only() {
    let tree = Tree::new();
    let inner = tree.folder.join("inner");
    for (folder, profile) in [(&tree.folder, "debug"), (&inner, "release")] {
        assert_eq!(tree.build(folder, profile, None, "SIDEGATE_REVISION").as_deref(), Some(""));
        assert_eq!(tree.build(folder, profile, None, "SIDEGATE_SHOWN_VERSION").as_deref(), Some("1.2.3"));
    }
}

#[test]
fn a_revision_that_is_given_is_taken_if_it_is_one() {
    let tree = Tree::new();
    let build = |given| tree.build(&tree.folder, "debug", Some(given), "SIDEGATE_SHOWN_VERSION");
    assert_eq!(build("v1.2.3-rc.1").as_deref(), Some("1.2.3 (v1.2.3-rc.1)"));
    assert_eq!(build("").as_deref(), Some("1.2.3"));
    assert_eq!(build("a\nb"), None);
}
