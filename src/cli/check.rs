//! `sidegate check` and `sidegate schema`.

use std::{path::Path, process::ExitCode};

use super::{WRONG_SETTINGS, run};
use crate::config::{self, Loaded};

/// Loads a configuration and holds it against everything that can be checked without starting.
pub fn load(file: &Path) -> Result<Loaded, ExitCode> {
    let loaded = config::load(file, &run::environment()).map_err(|problems| {
        eprintln!("{problems}");
        eprintln!("\n{}: {} problem(s)", file.display(), problems.list.len());
        ExitCode::from(WRONG_SETTINGS)
    })?;
    crate::app::App::check(&loaded.config).map_err(|conflicts| {
        for conflict in &conflicts {
            eprintln!("{}: routes: {conflict}", file.display());
        }
        eprintln!("\n{}: {} problem(s)", file.display(), conflicts.len());
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
        Ok(Loaded { config, warnings }) => {
            let public = config.routes.iter().filter(|route| route.policy.is_none()).count();
            println!(
                "{}: good. {} listener(s), {} issuer(s), {} upstream(s), {} route(s), {public} of them public; {} warning(s).",
                file.display(),
                config.listeners.len(),
                config.issuers.len(),
                config.upstreams.len(),
                config.routes.len(),
                warnings.len(),
            );
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

pub fn schema() -> ExitCode {
    println!("{:#}", config::schema());
    ExitCode::SUCCESS
}
