//! A configuration that can be run: checked by everything that needs no start.

use std::path::Path;

use super::App;
use crate::config::{self, Environment, Inputs, KeyPath, Loaded, Origin, Segment, Warning};

/// Why a configuration cannot be run, and what was read of it.
#[derive(Debug)]
pub struct Unusable {
    /// Every problem, in words.
    pub problems: String,
    pub inputs: Inputs,
}

/// Reads `file` and what it names, and holds it against everything that can be checked without starting.
///
/// # Errors
/// Every problem that could be found.
pub fn load(file: &Path, environment: &Environment) -> Result<Loaded, Unusable> {
    let summary = |count| format!("\n{}: {count} problem(s)", file.display());
    let loaded = config::load(file, environment);
    let mut loaded = loaded.map_err(|found| Unusable {
        problems: format!("{found}\n{}", summary(found.list.len())),
        inputs: found.inputs,
    })?;
    match problems(&loaded, file) {
        Ok(warnings) => {
            loaded.warnings.extend(warnings);
            Ok(loaded)
        }
        Err(lines) => {
            let count = lines.len();
            let lines = lines.iter().map(|line| format!("{}: {line}\n", file.display()));
            Err(Unusable { problems: lines.chain([summary(count)]).collect(), inputs: loaded.inputs })
        }
    }
}

/// What only the routes together and the theme can have wrong; otherwise what is to be warned of.
fn problems(loaded: &Loaded, file: &Path) -> Result<Vec<Warning>, Vec<String>> {
    let (gaps, overlaps) = App::check(&loaded.config)
        .map_err(|conflicts| conflicts.iter().map(|conflict| format!("routes: {conflict}")).collect::<Vec<_>>())?;
    App::check_theme(&loaded.config).map_err(|error| vec![format!("authority.{error}")])?;
    let origin = || Origin::File { name: file.display().to_string().into(), line: 0, column: 0 };
    let name = |route: usize| &loaded.config.routes[route].name;
    let at = |route: usize| KeyPath::from_iter([Segment::from("routes"), Segment::from(route)]);
    let gaps = gaps.iter().map(|gap| Warning {
        path: at(gap.protected),
        origin: origin(),
        message: format!("{gap} (route `{}`)", name(gap.public)),
        remedy: format!("protect `{}` in the same way", gap.path),
    });
    let overlaps = overlaps.iter().map(|overlap| Warning {
        path: at(overlap.public),
        origin: origin(),
        message: format!("{overlap} (route `{}`)", name(overlap.protected)),
        remedy: overlap.remedy().to_owned(),
    });
    Ok(gaps.chain(overlaps).collect())
}
