//! The files in `config/`: they load, and the reference is complete.

use std::path::Path;

use super::super::{Environment, load};

#[test]
fn the_reference_is_a_valid_configuration() {
    let loaded = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/reference.yaml"), &Environment::default())
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.routes.len(), 2);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}
