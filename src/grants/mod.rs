//! `issue`: a token request and what is given for it.

pub mod authorize;

use std::sync::Arc;

use crate::{authority::Authority, jose::SigningKeys, session::Sessions, telemetry::metrics::Metrics};

/// Everything that a grant needs, of one generation of the configuration.
pub struct Grants {
    pub authority: Arc<Authority>,
    pub sessions: Arc<Sessions>,
    pub signing: Arc<SigningKeys>,
    pub metrics: Arc<Metrics>,
}
