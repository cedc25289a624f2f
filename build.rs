//! What the program can say of its own making: the commit and the compiler. Nothing of it changes between two builds of
//! the same sources, so that they come out the same.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SIDEGATE_REVISION");
    let given = env::var("SIDEGATE_REVISION").ok().filter(|revision| !revision.is_empty());
    // While it is being written, a program is no commit, and each one would build it anew.
    let released = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let revision = given.or_else(|| released.then(commit).flatten()).unwrap_or_default();
    println!("cargo:rustc-env=SIDEGATE_REVISION={revision}");

    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    // `rustc 1.95.0 (… 2026-04-14)`
    let version = output(Command::new(compiler).arg("--version"));
    let version = version.as_deref().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    println!("cargo:rustc-env=SIDEGATE_RUSTC={version}");
}

/// The commit that is checked out; none where there is no git, or no repository.
fn commit() -> Option<String> {
    for watched in ["HEAD", "logs/HEAD"] {
        if let Some(path) = output(Command::new("git").args(["rev-parse", "--git-path", watched])) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    output(Command::new("git").args(["rev-parse", "HEAD"]))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
