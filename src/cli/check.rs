//! `sidegate check` and `sidegate schema`.

use std::{path::Path, process::ExitCode};

use clap::Args;

use super::{WRONG_SETTINGS, output, run};
use crate::{
    app::App,
    config::{self, KeyPath, Loaded, Origin, Segment, Warning},
};

/// Loads a configuration, holds it against everything that can be checked without starting, and prints the warnings.
pub fn load(file: &Path) -> Result<Loaded, ExitCode> {
    let loaded = read(file).map_err(|problems| {
        eprintln!("{problems}");
        ExitCode::from(WRONG_SETTINGS)
    })?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(loaded)
}

/// As [`load`], silently.
///
/// # Errors
/// Every problem, in words.
pub fn read(file: &Path) -> Result<Loaded, String> {
    let summary = |count| format!("\n{}: {count} problem(s)", file.display());
    let mut loaded = config::load(file, &run::environment())
        .map_err(|problems| format!("{problems}\n{}", summary(problems.list.len())))?;
    let gaps = App::check(&loaded.config).map_err(|conflicts| {
        let lines = conflicts.iter().map(|conflict| format!("{}: routes: {conflict}\n", file.display()));
        lines.chain([summary(conflicts.len())]).collect::<String>()
    })?;
    App::check_theme(&loaded.config)
        .map_err(|error| format!("{}: authority.{error}\n{}", file.display(), summary(1)))?;
    loaded.warnings.extend(gaps.iter().map(|gap| {
        let public = &loaded.config.routes[gap.public].name;
        Warning {
            path: KeyPath::from_iter([Segment::from("routes"), Segment::from(gap.protected)]),
            origin: Origin::File { name: file.display().to_string().into(), line: 0, column: 0 },
            message: format!("{gap} (route `{public}`)"),
            remedy: format!("protect `{}` in the same way", gap.path),
        }
    }));
    Ok(loaded)
}

pub fn check(file: &Path) -> ExitCode {
    crate::app::install_crypto();
    match load(file) {
        Ok(Loaded { config, warnings }) => {
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
