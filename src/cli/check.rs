//! `sidegate check` and `sidegate schema`.

use std::{path::Path, process::ExitCode};

use clap::Args;

use super::{ConfigFile, WRONG_SETTINGS, output, run};
use crate::{
    app::load,
    config::{self, Loaded, Warning},
};

/// Loads a configuration, holds it against everything that can be checked without starting, and prints the warnings.
pub fn load(file: &Path) -> Result<Loaded, ExitCode> {
    let loaded = load::load(file, &run::environment()).map_err(|unusable| {
        eprintln!("{}", unusable.problems);
        ExitCode::from(WRONG_SETTINGS)
    })?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(loaded)
}

#[derive(Args)]
pub struct CheckOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// Fail if there is a warning.
    #[arg(long)]
    deny_warnings: bool,
    /// With --deny-warnings: the path of a warning that is known and meant, e.g. `upstreams[0].url`; may be repeated.
    #[arg(long, value_name = "PATH", requires = "deny_warnings")]
    accept: Vec<String>,
}

pub fn check(options: &CheckOptions) -> ExitCode {
    crate::app::install_crypto();
    let file = &options.config.config;
    match load(file) {
        Ok(Loaded { config, warnings, .. }) => {
            let public = config.routes.iter().filter(|route| route.policy.is_none()).count();
            let summary = format!(
                "{}: good. {} listener(s), {} issuer(s), {} upstream(s), {} route(s), {public} of them public; {} warning(s).\n",
                file.display(),
                config.listeners.len(),
                config.issuers.len(),
                config.upstreams.len(),
                config.routes.len(),
                warnings.len(),
            );
            let denied = |warning: &Warning| !options.accept.contains(&warning.path.to_string());
            if options.deny_warnings && warnings.iter().any(denied) {
                eprintln!("{}: warnings are denied; --accept PATH lets one pass", file.display());
                return ExitCode::from(DENIED);
            }
            output::finish(output::print(&summary).map_err(Into::into))
        }
        Err(code) => code,
    }
}

#[derive(Args)]
pub struct SchemaOptions {
    /// As a page for people: the configuration reference.
    #[arg(long)]
    markdown: bool,
}

pub fn schema(options: &SchemaOptions) -> ExitCode {
    let text = if options.markdown { config::markdown() } else { format!("{:#}\n", config::schema()) };
    output::finish(output::print(&text).map_err(Into::into))
}

/// There are warnings, and they are denied.
const DENIED: u8 = 2;
