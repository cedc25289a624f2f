//! `sidegate hash`: what stands in a configuration in the place of a secret.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{WRONG_SETTINGS, output};
use crate::{
    authority::hashes::{self, Cost},
    model::{BoxError, Secret},
};

#[derive(Args)]
pub struct Wanted {
    /// Read the password from this file instead of standard input; one newline at its end is not part of it.
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    file: Option<PathBuf>,
    /// Make a secret or an API key, 216 random bits in 36 characters: prints it once, and its hash on the next line.
    #[arg(long)]
    generate: bool,
    /// KiB of memory for one check.
    #[arg(long, value_name = "KIB", default_value_t = 19_456, value_parser = clap::value_parser!(u32).range(7_168..=262_144))]
    memory: u32,
    /// Passes over the memory.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10))]
    passes: u32,
    /// Lanes of the memory.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    lanes: u32,
}

pub fn hash(wanted: &Wanted) -> ExitCode {
    if wanted.generate {
        return output::finish(generate());
    }
    let password = match &wanted.file {
        Some(file) => read_file(file),
        None if io::stdin().is_terminal() => ask(),
        None => read(io::stdin().lock()),
    };
    match password {
        Ok(password) => {
            let cost = Cost { memory: wanted.memory, passes: wanted.passes, lanes: wanted.lanes };
            let hashed = hashes::hash_slowly(&password, cost);
            output::finish(hashed.and_then(|hash| Ok(output::print(&format!("{hash}\n"))?)))
        }
        Err(error) => {
            eprintln!("sidegate: {error}");
            ExitCode::from(WRONG_SETTINGS)
        }
    }
}

fn generate() -> Result<(), BoxError> {
    let (secret, hash) = hashes::generate()?;
    if io::stdout().is_terminal() {
        eprintln!("The secret, which is shown only now, and below it the hash for the configuration:");
    }
    let lines = Zeroizing::new(format!("{}\n{hash}\n", secret.expose()));
    Ok(output::print(&lines)?)
}

/// Twice, without showing it: a slip would only be noticed at the first sign-in.
fn ask() -> Result<Secret<String>, BoxError> {
    let quiet = Quiet::begin();
    let line = |prompt: &str| {
        eprint!("{prompt}");
        let answer = one_line(io::stdin().lock());
        eprintln!();
        answer
    };
    let answers = line("Password: ").and_then(|first| Ok((first, line("The same again: ")?)));
    drop(quiet);
    let (first, second) = answers?;
    if first != second {
        return Err("the two are not the same".into());
    }
    Ok(first)
}

fn read_file(file: &Path) -> Result<Secret<String>, BoxError> {
    File::open(file)
        .map_err(BoxError::from)
        .and_then(read)
        .map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Everything there is: a password may have spaces, but no second line.
fn read(source: impl Read) -> Result<Secret<String>, BoxError> {
    let mut source = BufReader::new(source.take(LONGEST + 3));
    let password = one_line(&mut source)?;
    if !source.fill_buf()?.is_empty() {
        return Err(format!("one line of up to {LONGEST} bytes is a password, and there is more").into());
    }
    Ok(password)
}

fn one_line(mut source: impl BufRead) -> Result<Secret<String>, BoxError> {
    // Room for all of it at once: a text that grows would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST)? + 3));
    source.by_ref().take(LONGEST + 2).read_line(&mut text).map_err(|_| "this is no UTF-8 text")?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err("there is no password".into());
    }
    Ok(Secret::new(line.to_owned()))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet(Option<rustix::termios::Termios>);

impl Quiet {
    fn begin() -> Quiet {
        let before = tcgetattr(io::stdin()).ok();
        let quiet = before.clone().is_some_and(|mut modes| {
            modes.local_modes.remove(LocalModes::ECHO);
            tcsetattr(io::stdin(), OptionalActions::Flush, &modes).is_ok()
        });
        if !quiet {
            eprintln!("This terminal shows what you type; --file or a pipe does not.");
        }
        Quiet(before.filter(|_| quiet))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}

const LONGEST: u64 = 4096;
