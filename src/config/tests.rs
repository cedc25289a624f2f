//! Whole files in, whole answers out.

use std::path::Path;

use super::*;

mod examples;

/// Loads `source` as `c.yaml` with these variables.
fn load_with(source: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    load_str(source, "c.yaml", Path::new("/nowhere"), &variables.iter().copied().collect())
}
