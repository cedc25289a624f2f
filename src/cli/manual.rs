//! `sidegate man` and `sidegate completions`: the command line told to `man` and to shells.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::output;
use crate::model::BoxError;

#[derive(Args)]
pub struct Pages {
    /// Write one page for each command into this folder, instead of the first page to standard output.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[derive(Args)]
pub struct Completions {
    /// The shell that is to complete.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn man(pages: &Pages, command: Command) -> ExitCode {
    output::finish(match &pages.folder {
        Some(folder) => write(folder, command),
        None => page(command),
    })
}

fn write(folder: &PathBuf, command: Command) -> Result<(), BoxError> {
    let failed = |error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    Ok(clap_mangen::generate_to(command, folder).map_err(failed)?)
}

fn page(command: Command) -> Result<(), BoxError> {
    let mut text = Vec::new();
    Man::new(command.disable_help_subcommand(true)).render(&mut text)?;
    Ok(output::print(&String::from_utf8(text)?)?)
}

pub fn completions(wanted: &Completions, mut command: Command) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(wanted.shell, &mut command, name, &mut script);
    let text = String::from_utf8(script).map_err(BoxError::from);
    output::finish(text.and_then(|text| Ok(output::print(&text)?)))
}
