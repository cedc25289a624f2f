//! What a program says of itself: its commit and its compiler.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SIDEGATE_REVISION");
    let revision = match env::var("SIDEGATE_REVISION") {
        Ok(given) => given,
        // Builds of every day would be compiled again after each commit, although nothing else has changed.
        Err(_) if env::var("PROFILE").as_deref() != Ok("release") => String::new(),
        Err(_) => commit().unwrap_or_default(),
    };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte));
    assert!(plain(&revision), "SIDEGATE_REVISION may hold letters, digits and .-+_ only");
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    let shown = if revision.is_empty() { version } else { format!("{version} ({revision})") };
    println!("cargo::rustc-env=SIDEGATE_SHOWN_VERSION={shown}");
    println!("cargo::rustc-env=SIDEGATE_REVISION={revision}");
    println!("cargo::rustc-env=SIDEGATE_RUSTC={}", compiler().unwrap_or_default());
}

/// The commit of the working tree, and whether it has been changed since. `None` where the sources stand without their
/// history, or in the history of something else.
fn commit() -> Option<String> {
    let here = env::var_os("CARGO_MANIFEST_DIR")?;
    let root = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&root).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    for changed in ["src", "config", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={changed}");
    }
    // Written by every commit and checkout.
    for log in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", log])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["describe", "--always", "--exclude=*", "--abbrev=12", "--dirty"])
}

fn git(arguments: &[&str]) -> Option<String> {
    answer(Command::new("git").args(arguments))
}

/// Such as `1.95.0`.
fn compiler() -> Option<String> {
    let said = answer(Command::new(env::var_os("RUSTC")?).arg("--version"))?;
    said.split(' ').nth(1).map(str::to_owned)
}

fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
