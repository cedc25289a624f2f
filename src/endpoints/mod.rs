//! The endpoints that sidegate serves itself.

use std::sync::Arc;

use crate::grants::Grants;

/// Path to endpoint, of one generation of the configuration.
pub struct Endpoints {
    pub grants: Arc<Grants>,
}

impl Endpoints {
    pub fn new(grants: Arc<Grants>) -> Endpoints {
        Endpoints { grants }
    }
}
