//! `sidegate keys`: signing keys in a folder, and master keys.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use jsonwebtoken::Algorithm;
use zeroize::Zeroizing;

use super::output;
use crate::{
    app,
    config::MasterRing,
    jose::{
        folder::{self, FolderError, Rotated},
        rotation::Stage,
    },
    model::BoxError,
};

#[derive(Args)]
pub struct Keys {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a folder with a current and a next signing key.
    #[command(after_help = "Example:\n  sidegate keys new --folder /etc/sidegate/signing\n\n\
        Name the folder in the configuration: authority.signing.folder.")]
    New(New),
    /// Let the next key become the current one, and make another next one.
    #[command(
        after_help = "Example:\n  sidegate keys rotate --folder /etc/sidegate/signing && kill -HUP $(pidof sidegate)\n\n\
        Tokens signed by the key before it stay good; it is removed by a rotation after the longest of them has ended.\n\
        A running sidegate reads the folder again on SIGHUP.\n\n\
        Exit codes: 0 done, 1 refused (the next key is too young, or a file is no key)."
    )]
    Rotate(Rotate),
    /// The keys of a folder: state, kid, algorithm, age.
    #[command(after_help = "Example:\n  sidegate keys list --folder /etc/sidegate/signing")]
    List(Folder),
    /// Print a new ring of master keys, or add a new current key to one.
    #[command(after_help = "Examples:\n  (umask 077; sidegate keys master > master.keys)\n  \
        sidegate keys master --add master.keys\n\n\
        Older keys stay in the ring: they open what they have sealed. Every replica needs the same ring.")]
    Master(Master),
}

#[derive(Args)]
struct Folder {
    /// The folder of the signing keys.
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
}

#[derive(Args)]
struct New {
    #[command(flatten)]
    folder: Folder,
    /// What the keys sign with.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Kind::ES256)]
    algorithm: Kind,
}

#[derive(Args)]
struct Rotate {
    #[command(flatten)]
    folder: Folder,
    /// What the new next key signs with. Default: as the one before it.
    #[arg(long, value_enum, ignore_case = true)]
    algorithm: Option<Kind>,
    /// How long a key must have been published before it signs.
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = humantime::parse_duration)]
    publish_ahead: Duration,
    /// Do not wait for that: whoever keeps a copy of the key set may refuse new tokens for a while.
    #[arg(long, conflicts_with = "publish_ahead")]
    now: bool,
}

#[derive(Args)]
struct Master {
    /// A file with a ring, which gets a new current key; it is made where there is none.
    #[arg(long, value_name = "FILE")]
    add: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "verbatim")]
enum Kind {
    ES256,
    RS256,
    #[value(name = "EdDSA")]
    EdDsa,
}

impl From<Kind> for Algorithm {
    fn from(kind: Kind) -> Algorithm {
        match kind {
            Kind::ES256 => Algorithm::ES256,
            Kind::RS256 => Algorithm::RS256,
            Kind::EdDsa => Algorithm::EdDSA,
        }
    }
}

pub fn keys(keys: &Keys) -> ExitCode {
    app::install_crypto();
    output::finish(match &keys.what {
        What::New(asked) => new(asked),
        What::Rotate(asked) => rotate(asked),
        What::List(asked) => list(&asked.folder).and_then(|text| Ok(output::print(&text)?)),
        What::Master(asked) => master(asked.add.as_deref()),
    })
}

fn new(asked: &New) -> Result<(), BoxError> {
    let folder = &asked.folder.folder;
    folder::create(folder, asked.algorithm.into())?;
    Ok(output::print(&list(folder)?)?)
}

fn rotate(asked: &Rotate) -> Result<(), BoxError> {
    let folder = &asked.folder.folder;
    let ahead = if asked.now { 0 } else { asked.publish_ahead.as_secs() };
    match folder::rotate(folder, asked.algorithm.map(Into::into), ahead, folder::now()) {
        Ok(Rotated::Moved) => {}
        Ok(Rotated::Prepared) => eprintln!("there was no next key: it was made, and signs after another rotation"),
        Err(error @ FolderError::TooYoung { .. }) => return Err(format!("{error}; --now does not wait").into()),
        Err(error) => return Err(error.into()),
    }
    Ok(output::print(&list(folder)?)?)
}

fn list(folder: &Path) -> Result<String, BoxError> {
    let (ring, now) = (folder::read(folder)?, folder::now());
    let mut text = String::new();
    for key in ring.keys() {
        let age = humantime::format_duration(key.made.until(now));
        let kid = key.kid().unwrap_or_default();
        let _ = write!(text, "{:<8}  {kid}  {:?}", key.stage.as_str(), key.algorithm);
        let _ = match key.stage {
            Stage::Previous { until } if until <= now => writeln!(text, "  retired {age} ago, may go"),
            Stage::Previous { .. } => writeln!(text, "  retired {age} ago"),
            Stage::Current { .. } | Stage::Next { .. } => writeln!(text, "  made {age} ago"),
        };
    }
    Ok(text)
}

fn master(add: Option<&Path>) -> Result<(), BoxError> {
    let Some(file) = add else {
        return Ok(output::print(MasterRing::generate()?.text().expose())?);
    };
    let at_file = |error| format!("{}: {error}", file.display());
    let ring = match fs::read_to_string(file) {
        Ok(text) => {
            let ring = MasterRing::parse(&Zeroizing::new(text));
            ring.ok_or_else(|| format!("{} is not a ring of master keys", file.display()))?.rotated()?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => MasterRing::generate()?,
        Err(error) => return Err(at_file(error).into()),
    };
    folder::write_private(file, ring.text().expose().as_bytes()).map_err(at_file)?;
    let (id, count) = (ring.0.first().map_or(0, |(id, _)| *id), ring.0.len());
    Ok(output::print(&format!("{}: key {id} is current, of {count}\n", file.display()))?)
}
