//! `sidegate check` and `sidegate schema`.

use std::{path::Path, process::ExitCode};

use clap::Args;

use super::{WRONG_SETTINGS, output, run};
use crate::{
    app::load,
    config::{self, Loaded},
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

pub fn check(file: &Path) -> ExitCode {
    crate::app::install_crypto();
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
