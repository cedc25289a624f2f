//! To come.
use std::process::ExitCode;
#[derive(clap::Args)]
pub struct Question {}
pub fn explain(_: &Question) -> ExitCode {
    ExitCode::SUCCESS
}
