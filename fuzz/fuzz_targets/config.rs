//! A configuration: it is one, or there are problems that say where and what.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sidegate::config::{self, Environment};

fuzz_target!(|data: &[u8]| {
    let Ok(source) = std::str::from_utf8(data) else { return };
    // A configuration may name any file to read, and some of those never end.
    if source.contains("/dev") || source.contains("/proc") || source.contains("/sys") {
        return;
    }
    let environment: Environment = [("NAME", "value")].into_iter().collect();
    match config::load_str(source, "fuzz.yaml", Path::new("/nowhere"), &environment) {
        Ok(loaded) => {
            assert!(!loaded.config.listeners.is_empty());
            loaded.warnings.iter().for_each(|warning| assert!(!warning.to_string().is_empty()));
        }
        Err(problems) => {
            assert!(!problems.list.is_empty());
            assert!(problems.list.iter().all(|problem| !problem.message.is_empty()));
            assert!(!problems.to_string().is_empty());
        }
    }
});
